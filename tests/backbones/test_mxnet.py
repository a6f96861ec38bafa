"""MXNet's parameter files: the bytes, the names, and a real network's embeddings."""

import struct

import numpy as np
import pytest
import torch

from facekd import FaceModel, load_model
from facekd.backbones import create_backbone
from facekd.backbones.mxnet_params import read_params
from facekd.cli.model import main
from facekd.errors import FacekdError

DTYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


def params_bytes(arrays):
    """The file as MXNet writes it."""
    parts = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        parts.append(struct.pack("<IiI", 0xF993FAC9, 0, array.ndim))
        head = (*array.shape, 1, 0, DTYPES[array.dtype.name])
        parts += [struct.pack(f"<{array.ndim}qiii", *head), array.tobytes()]
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        parts += [struct.pack("<Q", len(name)), name.encode()]
    return b"".join(parts)


ARRAYS = {
    "arg:a_weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "arg:b": np.array([1.5, -2], np.float64),
    "aux:half": np.array([[0.5]], np.float16),
    "aux:steps": np.array([7], np.int64),
}


def test_arrays_come_back(tmp_path):
    (tmp_path / "a.params").write_bytes(params_bytes(ARRAYS))
    found = read_params(tmp_path / "a.params")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_every_truncation_is_told(tmp_path):
    data = params_bytes(ARRAYS)
    path = tmp_path / "a.params"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(FacekdError, match=r"a\.params: .* at byte \d+"):
            read_params(path)
    path.write_bytes(data + b"x")
    with pytest.raises(FacekdError, match="1 bytes too many"):
        read_params(path)


@pytest.mark.parametrize(
    ("offset", "value", "told"),
    [
        (0, struct.pack("<Q", 0x113), "no list of arrays begins at byte 0"),
        (16, struct.pack("<Q", 2**60), "1152921504606846976 entries"),
        (24, struct.pack("<I", 1), "no dense array begins at byte 24"),
        (28, struct.pack("<i", 1), "no dense array begins at byte 24"),
        (32, struct.pack("<I", 2**31), "no dense array begins at byte 24"),
        (36, struct.pack("<q", -1), r"shape \(-1, 3, 4\)"),
        (36, struct.pack("<q", 2**62), "are left at byte"),
        (68, struct.pack("<i", 12), "dtype number 12"),
    ],
)
def test_damage_is_told(tmp_path, offset, value, told):
    data = bytearray(params_bytes(ARRAYS))
    data[offset : offset + len(value)] = value
    (tmp_path / "a.params").write_bytes(data)
    with pytest.raises(FacekdError, match=told):
        read_params(tmp_path / "a.params")


def mxnet_arrays(rng):
    """A 0.125-wide network of random weights under MXNet's names, layer by layer."""
    arrays = {}

    def unit(name, inputs, outputs, kernel, groups=1, prelu=True):
        shape = (outputs, inputs // groups, kernel, kernel)
        arrays[f"arg:{name}_conv2d_weight"] = rng.standard_normal(shape) * (2 / shape[1]) ** 0.5
        for part, low in (("arg:%s_gamma", 0.5), ("arg:%s_beta", -0.5)):
            arrays[part % f"{name}_batchnorm"] = rng.uniform(low, low + 1, outputs)
        arrays[f"aux:{name}_batchnorm_moving_mean"] = rng.uniform(-0.5, 0.5, outputs)
        arrays[f"aux:{name}_batchnorm_moving_var"] = rng.uniform(0.5, 1.5, outputs)
        if prelu:
            arrays[f"arg:{name}_relu_gamma"] = rng.uniform(0, 0.5, outputs)

    def bottleneck(name, inputs, inner, outputs):
        unit(f"{name}_conv_sep", inputs, inner, 1)
        unit(f"{name}_conv_dw", inner, inner, 3, groups=inner)
        unit(f"{name}_conv_proj", inner, outputs, 1, prelu=False)

    unit("conv_1", 3, 8, 3)
    unit("conv_2_dw", 8, 8, 3, groups=8)
    bottleneck("dconv_23", 8, 16, 8)
    for i in range(4):
        bottleneck(f"res_3_block{i}", 8, 16, 8)
    bottleneck("dconv_34", 8, 32, 16)
    for i in range(6):
        bottleneck(f"res_4_block{i}", 16, 32, 16)
    bottleneck("dconv_45", 16, 64, 16)
    for i in range(2):
        bottleneck(f"res_5_block{i}", 16, 32, 16)
    unit("conv_6sep", 16, 64, 1)
    unit("conv_6dw7_7", 64, 64, 2, groups=64, prelu=False)
    arrays["arg:fc1_weight"] = rng.standard_normal((8, 64)) * 0.2
    arrays["arg:pre_fc1_bias"] = rng.standard_normal(8)
    arrays["arg:fc1_gamma"] = np.full(8, 3.0)  # MXNet holds it at 1, whatever stands here
    arrays["arg:fc1_beta"] = rng.standard_normal(8)
    arrays["aux:fc1_moving_mean"] = rng.standard_normal(8)
    arrays["aux:fc1_moving_var"] = rng.uniform(1e-3, 2e-3, 8)  # so small that eps matters
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def test_names_and_the_last_batch_norm(tmp_path):
    arrays = mxnet_arrays(np.random.default_rng(0))
    (tmp_path / "a.params").write_bytes(params_bytes(arrays))
    model = load_model(tmp_path / "a.params")
    assert isinstance(model, FaceModel)
    assert model.description["backbone"] == {
        "name": "mobilefacenet",
        "kwargs": {"width": 0.125, "affine": True, "bn_eps": 1e-3},
    }
    assert model.preprocess.input_range == (-127.5 / 128, 127.5 / 128)
    # the tail as MXNet computes it, from what our network puts into it
    inputs = []
    model.backbone.features.layers[2].register_forward_hook(lambda m, i, o: inputs.append(i[0]))
    found = model.embed(np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8))
    linear = inputs[0].numpy() @ arrays["arg:fc1_weight"].T + arrays["arg:pre_fc1_bias"]
    scale = np.sqrt(arrays["aux:fc1_moving_var"] + 2e-5)
    expected = (linear - arrays["aux:fc1_moving_mean"]) / scale + arrays["arg:fc1_beta"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    theirs, state = np.sort(arrays["arg:conv_6sep_relu_gamma"]), model.backbone.state_dict()
    np.testing.assert_array_equal(np.sort(state["conv_sep.layers.2.weight"]), theirs)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a.update({"arg:fc7_weight": np.zeros(1, np.float32)}), r"1 unexpected \(fc7_w"),
        (
            lambda a: a.pop("aux:fc1_moving_mean"),
            r"1 missing \(fc1_moving_mean\).* \(pre_fc1_bias\)",
        ),
        (lambda a: a.pop("arg:conv_1_relu_gamma"), r"1 missing \(conv_1_relu_gamma\)"),
        (
            lambda a: a.clear(),
            r"mobilefacenet \(which has conv_1_conv2d_weight\) and mxnet iresnet",
        ),
    ],
)
def test_other_networks(tmp_path, change, told):
    arrays = mxnet_arrays(np.random.default_rng(0))
    change(arrays)
    (tmp_path / "a.params").write_bytes(params_bytes(arrays))
    with pytest.raises(FacekdError, match=told):
        load_model(tmp_path / "a.params")


@pytest.mark.data
def test_real_weights_give_the_onnx_files_embeddings(data_dir, tmp_path):
    from facekd.data_tools.binfile import read_bin
    from facekd.data_tools.images import decode_rgb

    encoded = read_bin(data_dir / "lfw" / "lfw.bin").encoded[:48]
    crops = np.stack([decode_rgb(item) for item in encoded])
    weights = data_dir / "weights"
    onnx = load_model(weights / "mobilefacenet_arcface128.onnx")
    model = load_model(weights / "model-0000.params")
    assert onnx.preprocess.input_range == (0.0, 255.0)
    assert (model.embedding_dim, onnx.embedding_dim) == (128, 128)
    expected = onnx.embed(crops)
    assert np.linalg.norm(expected, axis=1).min() > 5
    np.testing.assert_allclose(model.embed(crops), expected, rtol=0, atol=1e-4)
    assert main(["import", str(weights / "model-0000.params"), str(tmp_path / "a.pt")]) == 0
    ours = FaceModel.load(tmp_path / "a.pt")
    np.testing.assert_allclose(
        ours.embed(crops, flip=True), onnx.embed(crops, flip=True), rtol=0, atol=1e-4
    )


def test_our_network_takes_the_whole_file():
    with torch.device("meta"):
        model = create_backbone("mobilefacenet", 8, input_size=32, width=0.125, affine=True)
    arrays = mxnet_arrays(np.random.default_rng(0))
    floats = sum(v.numel() for k, v in model.state_dict().items() if not k.endswith("tracked"))
    # their file has the linear layer's bias besides
    assert floats + 8 == sum(array.size for array in arrays.values())
