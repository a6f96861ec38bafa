"""Networks in ONNX files: what the graph says of its input, and real ones."""

import builtins

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from facekd import load_model
from facekd.cli.model import main
from facekd.errors import FacekdError
from facekd.teacher.onnx import OnnxEmbedder

SIZE, WIDTH = 8, 6
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((WIDTH, 3, SIZE, SIZE)).astype(np.float32)
IMAGES = RNG.integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)


def constant(name, value):
    return numpy_helper.from_array(np.float32(value), name)


def graph_file(
    path, *, normalizes=False, named=True, shape=("n", 3, SIZE, SIZE), flat=True, weight=WEIGHT
):
    """A network of one convolution over the whole image, with insightface's (x - 127.5) / 128."""
    nodes, source = [], "data"
    if normalizes:
        names = ("Sub_0", "Mul_1") if named else ("", "")
        nodes.append(helper.make_node("Sub", ["data", "mean"], ["centred"], name=names[0]))
        nodes.append(helper.make_node("Mul", ["centred", "scale"], ["scaled"], name=names[1]))
        source = "scaled"
    nodes.append(helper.make_node("Conv", [source, "weight"], ["map"], name="Conv_2"))
    if flat:
        nodes.append(helper.make_node("Flatten", ["map"], ["out"]))
    outputs = [shape[0], WIDTH] if flat else [shape[0], WIDTH, 1, 1]
    constants = [constant("mean", 127.5), constant("scale", 1 / 128)] if normalizes else []
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out" if flat else "map", TensorProto.FLOAT, outputs)],
        [*constants, numpy_helper.from_array(weight, "weight")],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def expected(images, lo, hi):
    values = images.astype(np.float64) / 255 * (hi - lo) + lo
    return np.einsum("nhwc,dchw->nd", values, WEIGHT)


@pytest.mark.parametrize("named", [True, False])
def test_a_graph_that_normalises_is_given_0_to_255(tmp_path, named):
    model = OnnxEmbedder(graph_file(tmp_path / "a.onnx", normalizes=True, named=named))
    assert model.preprocess.input_range == (0.0, 255.0)
    found = model.embed(IMAGES)
    np.testing.assert_allclose(found, expected(IMAGES, -127.5 / 128, 127.5 / 128), atol=1e-4)


def test_any_other_graph_is_given_minus_1_to_1(tmp_path):
    model = load_model(graph_file(tmp_path / "net.onnx"))
    assert model.preprocess.input_range == (-1.0, 1.0)
    assert (model.name, model.embedding_dim, model.preprocess.input_size) == ("net", WIDTH, SIZE)
    found = model.embed(IMAGES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(IMAGES, -1, 1), atol=1e-4)
    np.testing.assert_allclose(
        model.embed(IMAGES, flip=True),
        expected(IMAGES, -1, 1) + expected(IMAGES[:, :, ::-1], -1, 1),
        atol=1e-4,
    )


def test_what_the_caller_says_goes_first(tmp_path):
    path = graph_file(tmp_path / "a.onnx", normalizes=True)
    model = load_model(path, input_range=(0.0, 1.0), channels="bgr")
    scaled = (IMAGES[..., ::-1] / 255 - 127.5) / 128
    np.testing.assert_allclose(
        model.embed(IMAGES), np.einsum("nhwc,dchw->nd", scaled, WEIGHT), atol=1e-4
    )


def test_a_graph_for_one_image_at_a_time(tmp_path):
    model = OnnxEmbedder(graph_file(tmp_path / "a.onnx", shape=(1, 3, SIZE, SIZE)))
    tensor = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    found = model.embed(tensor)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found, expected(IMAGES, -1, 1), atol=1e-4)
    assert model.embed(IMAGES[:0]).shape == (0, WIDTH)


@pytest.mark.parametrize("normalizes", [True, False])
@pytest.mark.parametrize("batch", ["None", 1])
def test_gives_what_insightface_does(tmp_path, normalizes, batch):
    zoo = pytest.importorskip(
        "insightface.model_zoo.arcface_onnx", reason="the extra align is not installed"
    )
    side = 112
    weight = RNG.standard_normal((WIDTH, 3, side, side)).astype(np.float32) / side
    shape = (batch, 3, side, side)
    path = graph_file(tmp_path / "w.onnx", normalizes=normalizes, shape=shape, weight=weight)
    images = RNG.integers(0, 256, (3, side, side, 3), np.uint8)
    theirs = zoo.ArcFaceONNX(str(path))
    features = [theirs.get_feat(image[..., ::-1])[0] for image in images]  # it takes BGR
    np.testing.assert_allclose(load_model(path).embed(images), features, atol=1e-4)


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        ({"shape": (4, 3, SIZE, SIZE)}, r"data \[4, 3, 8, 8\]; .* one image input"),
        ({"shape": ("n", 3, "h", "w")}, "one image input"),
        ({"flat": False}, r"first output has the shape \(2, 6, 1, 1\)"),
    ],
)
def test_other_graphs(tmp_path, graph, told):
    with pytest.raises(FacekdError, match=told):
        OnnxEmbedder(graph_file(tmp_path / "a.onnx", **graph))


def test_damaged_files(tmp_path):
    path = graph_file(tmp_path / "a.onnx")
    data = path.read_bytes()
    for content in (b"", data[: len(data) // 2], b"no graph at all"):
        path.write_bytes(content)
        with pytest.raises(FacekdError, match=r"a\.onnx"):
            OnnxEmbedder(path)
    with pytest.raises(FacekdError, match="is not a file"):
        OnnxEmbedder(tmp_path / "missing.onnx")


def test_without_onnxruntime(tmp_path, monkeypatch):
    path = graph_file(tmp_path / "a.onnx")
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError("No module named 'onnxruntime'", name=name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FacekdError, match=r"onnxruntime, .* pip install facekd\[onnx\]"):
        OnnxEmbedder(path)


def test_cuda_without_it_in_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.warns(UserWarning, match="runs on the CPU"):
        model = load_model(graph_file(tmp_path / "a.onnx"), device="cuda")
    np.testing.assert_allclose(model.embed(IMAGES), expected(IMAGES, -1, 1), atol=1e-4)


def test_command_info(tmp_path, capsys):
    assert main(["info", str(graph_file(tmp_path / "a.onnx", normalizes=True))]) == 0
    assert "0..255 -> 0..255" in capsys.readouterr().out
    assert main(["import", str(tmp_path / "a.onnx"), str(tmp_path / "a.pt")]) == 2
    assert "is a graph, not weights" in capsys.readouterr().err
