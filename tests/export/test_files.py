"""The files of an export, read by the software that they are for."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from made_networks import small_iresnet
from safetensors import safe_open

from facekd import load_model
from facekd.errors import FacekdError
from facekd.export.check import agreement, expect
from facekd.export.facts import facts_of
from facekd.export.onnx import to_onnx
from facekd.export.prepare import prepare

GRAPHS = ("s.onnx", "s.int8.onnx", "s.fp16.onnx")


def outside(images):
    """What insightface makes of RGB images."""
    return ((images.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_are_valid_and_say_what_they_are(exported, name):
    model = onnx.load(exported.file(name))
    onnx.checker.check_model(model, full_check=True)
    (source,), (target,) = model.graph.input, model.graph.output
    dims = [d.dim_param or d.dim_value for d in source.type.tensor_type.shape.dim]
    assert (source.name, target.name, dims) == ("input", "embedding", ["batch", 3, 112, 112])
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [18]
    facts = {p.key: p.value for p in model.metadata_props}
    assert facts["recipe"] == "mine, stage student"
    assert (facts["facekd_format"], facts["embedding_dim"]) == ("1", "8")
    assert (facts["label_map_hash"], facts["architecture"]) == ("abc123", "mobilefacenet")
    assert facts["input"] == "float32 (n, 3, 112, 112), rgb, 0..255 as -1..1"
    assert ("quantization" in facts) == (name != "s.onnx")


@pytest.mark.parametrize("name", GRAPHS)
def test_insightface_finds_no_normalisation_in_the_graph(exported, name):
    nodes = onnx.load(exported.file(name)).graph.node
    assert not [n.name for n in nodes if n.name.startswith(("Sub", "Mul", "_minus", "_mul"))]
    assert load_model(exported.file(name)).preprocess.input_range == (-1.0, 1.0)


@pytest.mark.parametrize("name", [*GRAPHS, "s.pt2"])
def test_files_hold_no_traces_of_the_machine(exported, name):
    content = exported.file(name).read_bytes()
    for trace in (
        b"site-packages",
        b"facekd.backbones",
        b"/export/",
        str(exported.folder).encode(),
    ):
        assert trace not in content


def test_no_batch_norm_is_left_where_it_can_be_folded(exported):
    operations = [n.op_type for n in onnx.load(exported.file("s.onnx")).graph.node]
    assert "BatchNormalization" not in operations
    assert operations[:2] == ["Add", "Conv"]  # the offset stays in front of the padding
    model = small_iresnet(size=16)
    graph = to_onnx(prepare(model), 16, facts_of(model)).graph
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    left = [node for node in graph.node if node.op_type == "BatchNormalization"]
    assert len(left) <= 5
    assert not {made_by[node.input[0]] for node in left} & {"Conv", "Gemm", "MatMul"}


@pytest.mark.parametrize("count", [1, 5])
def test_graphs_give_the_networks_embeddings(exported, images, count):
    wanted = exported.model.embed(images[:count])
    for name, least in (("s.onnx", 0.9999999), ("s.fp16.onnx", 0.9999)):
        session = onnxruntime.InferenceSession(exported.file(name))
        (found,) = session.run(None, {"input": outside(images[:count])})
        assert found.dtype == np.float32
        assert cosines(found, wanted).min() >= least


def test_the_program_is_run_without_facekd(exported, images):
    extra = {"facekd.json": ""}
    program = torch.export.load(exported.file("s.pt2"), extra_files=extra)
    assert json.loads(extra["facekd.json"])["recipe"] == "mine, stage student"
    targets = {str(node.target) for node in program.graph.nodes}
    assert not any("autocast" in target or "batch_norm" in target for target in targets)
    for count in (1, 5):
        found = program.module()(torch.from_numpy(outside(images[:count]))).detach().numpy()
        np.testing.assert_allclose(found, exported.model.embed(images[:count]), atol=2e-5)


def test_weights_describe_themselves(exported, images):
    path = exported.file("weights.safetensors")
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(exported.model.backbone.state_dict())
    model = load_model(path)
    assert model.preprocess == exported.model.preprocess
    assert np.array_equal(model.embed(images), exported.model.embed(images))
    said = json.loads(exported.file("weights.json").read_text())
    assert (said["format"], said["weights"]) == (1, "weights.safetensors")
    assert said["input"] == "float32 (n, 3, 112, 112), bgr, 0..255 as 0..255"
    assert said["description"]["backbone"]["name"] == "mobilefacenet"


def test_weights_that_are_damaged(exported, tmp_path):
    content = exported.file("weights.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(content[:-8])
    with pytest.raises(FacekdError, match=r"a.safetensors is damaged or no safetensors file"):
        load_model(tmp_path / "a.safetensors")


def test_a_file_that_is_not_the_network_is_refused():
    ours = np.eye(3)
    expect(agreement(ours, ours + 1e-6), 1e-4, "a.onnx")
    with pytest.raises(FacekdError, match=r"a.onnx is not the network: .*0.0001 is allowed"):
        expect(agreement(ours, ours + 1e-3), 1e-4, "a.onnx")
    with pytest.raises(FacekdError, match=r"have the shape \(3, 2\), not \(3, 3\)"):
        agreement(ours, ours[:, :2])
    with pytest.raises(FacekdError, match="not finite"):
        agreement(ours, ours * np.nan)


def test_a_network_that_pytorch_cannot_write(monkeypatch):
    def fail(*_args, **_options):
        raise torch.onnx.OnnxExporterError("a page\nof advice") from ValueError("no such op\nmore")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(FacekdError, match=r"cannot write this network as ONNX \(no such op\)\.$"):
        to_onnx(torch.nn.Identity(), 16, {})
