"""Other toolkits' networks, against the embeddings that their own code gives."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from test_mxnet import params_bytes

from facekd import FaceModel, load_model
from facekd.backbones import create_backbone
from facekd.backbones.families import FAMILIES, MXNET_FAMILIES
from facekd.backbones.import_weights import fitted
from facekd.cli.model import main
from facekd.errors import FacekdError

FIXTURES = Path(__file__).parents[1] / "fixtures"
MAKE = runpy.run_path(str(FIXTURES / "make_arcface_torch.py"), run_name="make_arcface_torch")
MXNET = runpy.run_path(str(FIXTURES / "make_imported_mxnet.py"), run_name="make_imported_mxnet")
BY_128 = (-127.5 / 128, 127.5 / 128)


def theirs(family):
    return np.load(FIXTURES / f"imported_{family}.npz")


def shapes_of(family, network):
    return {k: tuple(v) for k, v in json.loads(str(theirs(family)[f"{network}.shapes"])).items()}


def weights_of(family, network):
    """The state_dict that the fixture's script gave to their network."""
    return MAKE["fill"](shapes_of(family, network))


def wrapped(state, name):
    return {f"{name}.{key}": value for key, value in state.items()}


# family, network, how its training program wraps the weights; then what must be found
NETWORKS = [
    (
        "adaface",
        "ir_18",
        lambda s: {"state_dict": wrapped(s, "model") | {"head.kernel": torch.zeros(512, 3)}},
        ("iresnet18", {"affine": False, "subsample": True}, "adaface", (-1, 1), "bgr"),
    ),
    (
        "adaface",
        "ir_se_50",
        lambda s: s,
        ("iresnet50", {"affine": False, "se": True, "subsample": True}, "adaface", (-1, 1), "bgr"),
    ),
    (
        "cvlface",
        "ir18",
        lambda s: wrapped(s, "net"),
        ("iresnet18", {"affine": False, "subsample": True}, "cvlface", (-1, 1), "rgb"),
    ),
    (
        "cavaface",
        "gdc",
        lambda s: wrapped(s, "module"),
        ("mobilefacenet", {"width": 1.0, "affine": True}, "cavaface", (-1, 1), "rgb"),
    ),
    (
        "tface",
        "mobilefacenet",
        lambda s: s,
        ("mobilefacenet", {"width": 1.0, "affine": False}, "cavaface", (-1, 1), "rgb"),
    ),
    (
        "adadistill",
        "mobilefacenet",
        lambda s: s,
        ("mobilefacenet", {"width": 1.0, "affine": False}, "cavaface", (-1, 1), "rgb"),
    ),
    (
        "adadistill_iresnet",
        "r18_se",
        lambda s: s,
        ("iresnet18", {"se": True}, "arcface_torch", (-1, 1), "rgb"),
    ),
    (
        "facexzoo",
        "mobilefacenet",
        lambda s: {"state_dict": wrapped(s, "backbone") | {"head.weight": torch.zeros(3, 512)}},
        ("mobilefacenet", {"width": 1.0, "affine": True}, "facexzoo", BY_128, "bgr"),
    ),
]


@pytest.mark.parametrize(("family", "network", "wrap", "expected"), NETWORKS)
def test_gives_their_embeddings(tmp_path, family, network, wrap, expected):
    torch.save(wrap(weights_of(family, network)), tmp_path / "theirs.ckpt")
    model = load_model(tmp_path / "theirs.ckpt")
    backbone = model.description["backbone"]
    input_range, channels = model.preprocess.input_range, model.preprocess.channels
    source = model.description["imported_from"]
    assert (backbone["name"], backbone["kwargs"], source, input_range, channels) == expected
    found, embeddings = model.embed(MAKE["images"]()), theirs(family)[f"{network}.embeddings"]
    np.testing.assert_allclose(found, embeddings, rtol=0, atol=1e-4 * embeddings.std())


@pytest.mark.parametrize(
    ("network", "name"), [("lresnet18", "iresnet18"), ("mobilefacenet_y1", "mobilefacenet")]
)
def test_gives_mxnets_embeddings(tmp_path, network, name):
    arrays = {k: MXNET["draw"](k, v) for k, v in shapes_of("mxnet", network).items()}
    (tmp_path / "model-0000.params").write_bytes(params_bytes(arrays))
    model = load_model(tmp_path / "model-0000.params")
    assert model.backbone_name == name
    assert model.preprocess.input_range == BY_128
    found, embeddings = model.embed(MXNET["images"]()), theirs("mxnet")[f"{network}.embeddings"]
    np.testing.assert_allclose(found, embeddings, rtol=0, atol=1e-4 * embeddings.std())


# the names and shapes of networks too large to run here
LARGE = [
    ("adaface", "ir_34", "adaface", "iresnet34"),
    ("adaface", "ir_50", "adaface", "iresnet50"),
    ("adaface", "ir_101", "adaface", "iresnet100"),
    ("cvlface", "ir50", "cvlface", "iresnet50"),
    ("cvlface", "ir101", "cvlface", "iresnet100"),
    ("adadistill_iresnet", "r50", "arcface_torch", "iresnet50"),
    ("mxnet", "lresnet34", "mxnet", "iresnet34"),
    ("mxnet", "lresnet50", "mxnet", "iresnet50"),
    ("mxnet", "lresnet100", "mxnet", "iresnet100"),
]


@pytest.mark.parametrize(("family", "network", "source", "name"), LARGE)
def test_has_all_their_names_and_shapes(family, network, source, name):
    (known,) = (
        f for f in (*FAMILIES, *MXNET_FAMILIES) if (f.name, f.network) == (source, "iresnet")
    )
    state = {
        key.removeprefix("arg:").removeprefix("aux:"): torch.empty(shape, device="meta")
        for key, shape in shapes_of(family, network).items()
    }
    for key in list(state):
        if key.endswith("_moving_var"):  # MXNet does not count batches
            state[key.replace("moving_var", "num_batches_tracked")] = torch.empty((), device="meta")
    state |= {k: v.long() for k, v in state.items() if k.endswith("num_batches_tracked")}
    affine = {"affine": False} if source in ("adaface", "cvlface") else {}
    with torch.device("meta"):
        backbone = create_backbone(name, 512, **known.kwargs, **affine)
    ours = fitted(backbone, state, known.names(state))
    assert ours.keys() == backbone.state_dict().keys()


def without(state, *names):
    return {k: v for k, v in state.items() if k not in names}


@pytest.fixture(scope="module")
def mobile():
    return weights_of("tface", "mobilefacenet")


@pytest.fixture(scope="module")
def ir():
    return weights_of("adaface", "ir_18")


MOBILE_BAD = [
    (
        lambda s: without(s, "conv_3.model.2.conv_dw.prelu.weight"),
        r"1 missing \(conv_3\.model\.2\.conv_dw\.prelu\.weight\)",
    ),
    (
        lambda s: s | {"conv_23.attention_layer.fc.weight": torch.zeros(1)},
        r"1 unexpected \(conv_23\.attention_layer",
    ),
    (
        lambda s: without(s, "output_layer.linear.weight"),
        r"cavaface mobilefacenet \(which has output_layer\.linear\.weight\) and facexzoo "
        r"mobilefacenet \(which has conv_6_dw\.conv\.weight\)",
    ),
    (
        lambda s: s | {"output_layer.bn1.running_mean": torch.zeros(512)},
        r"cavaface's mobilefacenet, but it ends in norm-aware pooling",
    ),
]
IR_BAD = [
    (
        lambda s: without(s, "body.3.res_layer.5.bias"),
        r"a\.pth \(taken for adaface's iresnet18\): .* 1 missing \(body\.3\.res_layer\.5\.bias\)",
    ),
    (
        lambda s: {k: v for k, v in s.items() if not k.startswith("body.7.")},
        r"adaface iresnet \(none of which has 7 blocks",
    ),
    (  # face.evoLVe's blocks: no batch norm between the convolutions
        lambda s: {k: v for k, v in s.items() if ".res_layer.5." not in k},
        r"40 missing \(body\.0\.res_layer\.5\.weight",
    ),
    (lambda s: {"input_layer.0.weight": torch.zeros(64, 3, 3, 3)}, r"\(which has body\)"),
]


@pytest.mark.parametrize(("change", "told"), MOBILE_BAD)
def test_mobilefacenets_that_are_refused(tmp_path, mobile, change, told):
    torch.save(change(mobile), tmp_path / "a.pth")
    with pytest.raises(FacekdError, match=told) as caught:
        load_model(tmp_path / "a.pth")
    assert "a.pth" in str(caught.value)


@pytest.mark.parametrize(("change", "told"), IR_BAD)
def test_irs_that_are_refused(tmp_path, ir, change, told):
    torch.save(change(ir), tmp_path / "a.pth")
    with pytest.raises(FacekdError, match=told):
        load_model(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ("lresnet18_se", r"40 unexpected \(stage1_unit1_se_conv1_weight"),
        ("mobilefacenet_y2", r"none of which has scale 1 and blocks \(2, 8, 16, 4\)"),
    ],
)
def test_other_mxnet_networks(tmp_path, network, told):
    shapes = shapes_of("mxnet", network)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    (tmp_path / "a.params").write_bytes(params_bytes(zeros))
    with pytest.raises(FacekdError, match=told):
        load_model(tmp_path / "a.params")


def test_cavafaces_attention_is_refused(tmp_path):
    torch.save(weights_of("cavaface", "se"), tmp_path / "a.pth")
    with pytest.raises(FacekdError, match=r"60 unexpected \(conv_23\.attention_layer"):
        load_model(tmp_path / "a.pth")


def test_without_counts_of_batches(tmp_path, mobile):
    """As the first versions of PyTorch saved."""
    old = {k: v for k, v in mobile.items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    torch.save(mobile, tmp_path / "new.pth")
    image = MAKE["images"]()[:1]
    old, new = (load_model(tmp_path / f"{name}.pth").embed(image) for name in ("old", "new"))
    assert np.array_equal(old, new)


def test_what_is_said_goes_before_the_family(tmp_path, ir):
    torch.save(ir, tmp_path / "a.pth")
    model = load_model(tmp_path / "a.pth", channels="rgb", input_range=(0.0, 1.0))
    assert (model.preprocess.channels, model.preprocess.input_range) == ("rgb", (0.0, 1.0))


def test_imported_is_a_model_of_ours(tmp_path, capsys, ir):
    torch.save({"state_dict": wrapped(ir, "model")}, tmp_path / "ada.ckpt")
    ours = tmp_path / "ada.pt"
    assert main(["import", str(tmp_path / "ada.ckpt"), str(ours)]) == 0
    assert main(["info", str(ours)]) == 0
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["channels", "bgr"] in told
    assert ["imported", "from", "adaface"] in told
    image = MAKE["images"]()[:1]
    again = FaceModel.load(ours)
    assert np.array_equal(again.embed(image), load_model(tmp_path / "ada.ckpt").embed(image))
