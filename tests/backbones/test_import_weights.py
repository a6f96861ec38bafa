"""arcface_torch's weights, by key, against the embeddings arcface_torch itself gives."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from facekd import load_model
from facekd.backbones import create_backbone
from facekd.errors import FacekdError

FIXTURES = Path(__file__).parents[1] / "fixtures"
MAKE = runpy.run_path(str(FIXTURES / "make_arcface_torch.py"), run_name="make_arcface_torch")
THEIRS = np.load(FIXTURES / "arcface_torch.npz")
FULL = {"mbf": "mobilefacenet_w2", "mbf_large": "mobilefacenet_large"}
FULL |= {f"r{depth}": f"iresnet{depth}" for depth in (18, 34, 50, 100, 200)}


def weights_of(name, embedding_dim=512, **kwargs):
    """The state_dict that the fixture's script gave to their network."""
    with torch.device("meta"):
        model = create_backbone(name, embedding_dim, **kwargs)
    return MAKE["fill"](MAKE["shapes_of"](model))


@pytest.mark.parametrize("name", ["mobilefacenet", "mbf", "mbf_large", "r18", "r50"])
def test_gives_their_embeddings(tmp_path, name):
    kwargs = {"embedding_dim": 128, "affine": True} if name == "mobilefacenet" else {}
    torch.save(weights_of(name, **kwargs), tmp_path / "theirs.pt")
    model = load_model(tmp_path / "theirs.pt")
    expected = THEIRS[f"{name}.embeddings"]
    found = model.embed(MAKE["images"]())
    assert model.backbone_name == FULL.get(name, name)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.std())


@pytest.mark.parametrize("name", ["mobilefacenet", "mbf", "mbf_large", *FULL])
def test_has_their_keys_and_parameters(name):
    kwargs = {"affine": True, "embedding_dim": 128} if name == "mobilefacenet" else {}
    with torch.device("meta"):
        model = create_backbone(name, **kwargs)
    assert MAKE["key_hash"](model) == str(THEIRS[f"{name}.keys"])
    assert sum(p.numel() for p in model.parameters()) == THEIRS[f"{name}.parameters"]


@pytest.fixture(scope="module")
def tiny():
    return weights_of("mobilefacenet", 8, input_size=32, width=0.25, affine=True)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict_backbone": state, "epoch": 3},
        lambda state: {"state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {f"module.{k}": v for k, v in state.items()},
        lambda state: {"state_dict": {f"module.backbone.{k}": v for k, v in state.items()}},
        lambda state: {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
    ],
    ids=["plain", "state_dict_backbone", "state_dict", "module", "module.backbone", "float16"],
)
def test_wrappings(tmp_path, tiny, wrap):
    torch.save(tiny, tmp_path / "plain.pth")
    torch.save(wrap(tiny), tmp_path / "wrapped.pth")
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    plain, wrapped = load_model(tmp_path / "plain.pth"), load_model(tmp_path / "wrapped.pth")
    assert wrapped.description["backbone"]["kwargs"] == {"width": 0.25, "affine": True}
    assert (wrapped.embedding_dim, wrapped.preprocess.input_size) == (8, 32)
    np.testing.assert_allclose(wrapped.embed(image), plain.embed(image), rtol=0.05, atol=0.05)


def test_safetensors(tmp_path, tiny):
    torch.save(tiny, tmp_path / "a.pt")
    save_file(tiny, tmp_path / "b.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    a, b = load_model(tmp_path / "a.pt"), load_model(tmp_path / "b.safetensors")
    assert np.array_equal(a.embed(image), b.embed(image))
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "b.safetensors").read_bytes()[:5000])
    with pytest.raises(FacekdError, match=r"c\.safetensors is damaged"):
        load_model(tmp_path / "c.safetensors")


def test_input_of_a_file_that_does_not_say(tmp_path, tiny):
    torch.save(tiny, tmp_path / "a.pt")
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    rgb = load_model(tmp_path / "a.pt")
    bgr = load_model(tmp_path / "a.pt", channels="bgr", input_range=(0.0, 1.0))
    assert (rgb.preprocess.input_range, rgb.preprocess.channels) == ((-1.0, 1.0), "rgb")
    values = torch.from_numpy(image[..., ::-1].copy()).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        np.testing.assert_allclose(bgr.embed(image), bgr.backbone(values), atol=1e-5)


def test_loading_draws_no_random_numbers(tmp_path, tiny):
    torch.save(tiny, tmp_path / "a.pt")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(tmp_path / "a.pt")
    assert torch.equal(torch.rand(3), expected)


def without(state, name):
    return {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: {}, "holds a dict, not weights"),
        (lambda s: [1, 2], "holds a list, not weights"),
        (
            lambda s: {"x.weight": torch.zeros(3)},
            r"tried arcface_torch mobilefacenet \(which has layers\.0.*\), .* adaface iresnet \(.*"
            r" and facexzoo .*; its weights begin with x\.weight \(3,\)",
        ),
        (lambda s: s | {"extra.weight": torch.zeros(1)}, r"1 unexpected \(extra\.weight\)"),
        (lambda s: without(s, "layers.4.layers.2.layers.0.weight"), r"1 missing \(layers\.4"),
        (
            lambda s: s | {"conv_sep.layers.2.weight": torch.zeros(7)},
            r"conv_sep\.layers\.2.*\(7,\)",
        ),
        (lambda s: s | {"conv_sep.layers.0.weight": torch.zeros(())}, "has 4 dimensions"),
        (lambda s: s | {"conv_sep.layers.0.weight": torch.zeros(4, 4, 1, 1)}, "has scale 16"),
        (lambda s: {k: v for k, v in s.items() if "layers.3.layers.3" not in k}, r"\(1, 3, 6, 2\)"),
        (
            lambda s: {k: v for k, v in s.items() if "layers.3.layers.2" not in k},
            r"32 missing \(layers\.3\.layers\.2",
        ),
        (lambda s: s | {"name": "mbf"}, "'name' is a str, not a tensor"),
    ],
)
def test_unknown_networks(tmp_path, tiny, change, told):
    torch.save(change(tiny), tmp_path / "a.pt")
    with pytest.raises(FacekdError, match=told) as caught:
        load_model(tmp_path / "a.pt")
    assert "a.pt" in str(caught.value)


def test_iresnet_of_unknown_depth(tmp_path):
    state = weights_of("r18", 8, input_size=32)
    state = {k: v for k, v in state.items() if not k.startswith("layer3.1")}
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(FacekdError, match=r"none of which has \(2, 2, 1, 2\) blocks"):
        load_model(tmp_path / "a.pt")


def test_iresnet_input_size_from_its_linear_layer(tmp_path):
    torch.save(weights_of("r18", 8, input_size=32), tmp_path / "a.pt")
    model = load_model(tmp_path / "a.pt")
    assert (model.backbone_name, model.preprocess.input_size) == ("iresnet18", 32)
