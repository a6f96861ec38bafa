"""FaceModel: the file that describes itself, and embedding."""

import json
import resource
import subprocess
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import facekd
from facekd import FaceModel, load_model
from facekd.cli.model import main
from facekd.errors import FacekdError
from facekd.preprocess import Preprocess

FIXTURES = Path(__file__).parent / "fixtures"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 32, 32, 3), np.uint8)


def small(**kwargs):
    torch.manual_seed(0)
    return FaceModel.create("mobilefacenet", 8, 32, width=0.125, **kwargs)


def trained():
    """A model whose batch norms have seen data."""
    model = small()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the plain mean over what it saw
    for _ in range(2):
        model(torch.from_numpy(RNG.integers(0, 256, (16, 3, 32, 32), np.uint8)))
    return model


def test_format_1_loads_for_ever():
    model = FaceModel.load(FIXTURES / "format1_tiny.pt")
    expected = np.load(FIXTURES / "format1_tiny.npz")
    images = expected["images"]
    np.testing.assert_allclose(model.embed(images), expected["plain"], atol=1e-4)
    np.testing.assert_allclose(model.embed(images, flip=True), expected["flip"], atol=1e-4)
    assert model.preprocess == Preprocess(32, (-0.5, 0.5), "bgr")
    assert model.description == {
        "backbone": {"name": "mobilefacenet", "kwargs": {"width": 0.125, "bn_eps": 1e-3}},
        "embedding_dim": 8,
        "preprocess": {"input_size": 32, "input_range": [-0.5, 0.5], "channels": "bgr"},
        "facekd_version": "0.1.0",
        "recipe": {
            "name": "tiny",
            "epochs": 2,
            "rate": 0.1,
            "flip": True,
            "terms": ["margin", "l2e"],
        },
        "label_map_hash": "0123456789abcdef",
    }


def test_saved_and_loaded_are_the_same(tmp_path):
    model = trained()
    model.save(tmp_path / "student.pt", label_map_hash="abc")
    for loaded in (FaceModel.load(tmp_path / "student.pt"), load_model(tmp_path / "student.pt")):
        assert np.array_equal(loaded.embed(IMAGES), model.embed(IMAGES))
        assert loaded.name == "student"
        assert not loaded.training
        assert loaded.description == model.description | {"label_map_hash": "abc"}
        assert {k: v.requires_grad for k, v in loaded.named_parameters()} == {
            k: v.requires_grad for k, v in model.named_parameters()
        }
    content = torch.load(tmp_path / "student.pt", weights_only=True)
    assert content["format"] == 1
    assert content["description"]["facekd_version"] == facekd.__version__


def test_an_alias_is_saved_under_the_full_name(tmp_path):
    FaceModel.create("mbf", 8, 32).save(tmp_path / "a.pt")
    assert FaceModel.load(tmp_path / "a.pt").backbone_name == "mobilefacenet_w2"


def test_saving_again_keeps_what_is_not_said_anew(tmp_path):
    small().save(tmp_path / "a.pt", recipe={"name": "first"}, label_map_hash="abc")
    FaceModel.load(tmp_path / "a.pt").save(tmp_path / "b.pt", label_map_hash="def")
    description = FaceModel.load(tmp_path / "b.pt").description
    assert description["recipe"] == {"name": "first"}
    assert description["label_map_hash"] == "def"


@pytest.mark.parametrize("extra", [np.float64(1), np.zeros(2), Path("x"), {1.5: 2}, [object()]])
def test_only_plain_values_are_saved(tmp_path, extra):
    with pytest.raises(FacekdError, match="recipe"):
        small().save(tmp_path / "a.pt", recipe=extra)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def largest_file(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_last_good_file(tmp_path):
    model = small()
    model.save(tmp_path / "a.pt", recipe="good")
    with largest_file(100_000), pytest.raises(FacekdError, match=r"cannot write .*a\.pt"):
        model.save(tmp_path / "a.pt", recipe="bad")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]
    assert FaceModel.load(tmp_path / "a.pt").description["recipe"] == "good"


def test_embed_kinds_and_layouts():
    model = trained()
    plain = model.embed(IMAGES)
    assert (plain.dtype, plain.shape) == (np.float32, (5, 8))
    nchw = np.ascontiguousarray(IMAGES.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(model.embed(nchw), plain, atol=1e-5)
    tensor = model.embed(torch.from_numpy(nchw))
    assert isinstance(tensor, torch.Tensor)
    assert not tensor.requires_grad
    np.testing.assert_allclose(tensor.numpy(), plain, atol=1e-5)
    mirrored = model.embed(IMAGES[:, :, ::-1])
    np.testing.assert_allclose(model.embed(IMAGES, flip=True), plain + mirrored, atol=1e-5)
    assert np.abs(plain - mirrored).max() > 0.1
    assert model.embed(IMAGES[:0]).shape == (0, 8)


def test_embed_takes_read_only_arrays_quietly():
    images = IMAGES.copy()
    images.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().embed(images)


def test_embed_by_sub_batches():
    model = trained()
    images = RNG.integers(0, 256, (131, 3, 32, 32), np.uint8)
    one_by_one = np.concatenate([model.embed(images[i : i + 1]) for i in range(131)])
    np.testing.assert_allclose(model.embed(images), one_by_one, atol=1e-4)


def test_embed_leaves_the_model_as_it_was():
    model = trained()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    model.embed(IMAGES)
    assert model.training
    assert model.backbone.training
    model.eval()
    model.embed(IMAGES)
    assert not model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_embed_is_the_normalised_forward_in_evaluation_mode():
    model = small(input_range=(0.0, 1.0), channels="bgr").eval()
    bgr = torch.from_numpy(IMAGES[..., ::-1].copy()).permute(0, 3, 1, 2)
    with torch.no_grad():
        np.testing.assert_allclose(model.embed(IMAGES), model.backbone(bgr / 255), atol=1e-5)
    rgb = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    embeddings = model(rgb)
    assert embeddings.requires_grad
    np.testing.assert_allclose(model.embed(IMAGES), embeddings.detach(), atol=1e-5)


def test_preprocess_range():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    values = Preprocess(16, (-0.5, 2.0)).normalize(pixels)
    assert (values.dtype, values.min(), values.max()) == (torch.float32, -0.5, 2.0)
    np.testing.assert_allclose(values[0, 0].flatten(), np.linspace(-0.5, 2, 256), atol=1e-6)
    exact = Preprocess(16, (0.0, 255.0)).normalize(pixels)
    assert torch.equal(exact, pixels.float())


@pytest.mark.parametrize(
    "arguments", [(0,), (16, (1.0, -1.0)), (16, (0.0, float("nan"))), (16, (0.0, 1.0), "gray")]
)
def test_impossible_preprocessing(arguments):
    with pytest.raises(FacekdError):
        Preprocess(*arguments)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (IMAGES.astype(np.float32), "float32: give uint8"),
        (torch.from_numpy(IMAGES).float(), "float32: give uint8"),
        (IMAGES[0], r"shape \(32, 32, 3\)"),
        (np.zeros((2, 112, 112, 3), np.uint8), "resize them first"),
        (np.zeros((2, 32, 32, 1), np.uint8), "resize them first"),
        (IMAGES.tolist(), "are a list"),
    ],
)
def test_other_images_are_refused(images, told):
    with pytest.raises(FacekdError, match=told):
        small().embed(images)


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("pwned"),))


def damaged(data):
    """One byte changed in the largest tensor."""
    data = bytearray(data)
    data[len(data) // 2] ^= 0x40
    return bytes(data)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: b"", "damaged"),
        (lambda data: data[:50], "damaged"),
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data[:-40], "damaged"),
        (damaged, "fails its checksum"),
        (lambda data: b"hello world, this is no model", "damaged"),
    ],
)
def test_damaged_files(tmp_path, change, told):
    path = tmp_path / "a.pt"
    small().save(path)
    path.write_bytes(change(path.read_bytes()))
    for load in (FaceModel.load, load_model):
        with pytest.raises(FacekdError, match=told) as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "description": Evil()}, "evil.pt")
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    for name in ("evil.pt", "module.pt"):
        with pytest.raises(FacekdError, match="objects or code, none of which was run"):
            load_model(name)
    assert not Path("pwned").exists()


def in_description(**items):
    return lambda content: content["description"].update(items)


def in_preprocess(**items):
    return lambda content: content["description"]["preprocess"].update(items)


def in_kwargs(**items):
    return lambda content: content["description"]["backbone"]["kwargs"].update(items)


def first_weight(value):
    return lambda content: content["state_dict"].update({"layers.0.layers.0.weight": value})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.update(format=2), "format 2 .* reads format 1"),
        (lambda c: c.pop("description"), "incomplete"),
        (lambda c: c.pop("state_dict"), "incomplete"),
        (lambda c: c["description"].pop("preprocess"), "incomplete"),
        (in_description(backbone={"name": "resnext", "kwargs": {}}), "unknown backbone 'resnext'"),
        (in_description(backbone="mobilefacenet"), "incomplete or wrong"),
        (in_description(embedding_dim="8"), "incomplete or wrong"),
        (in_description(embedding_dim=16), r"\(8, 64\), this network has .*\(16, 64\)"),
        (in_description(embedding_dim=2**62), "wrong|this network has"),
        (in_kwargs(width=0.25), "this network has"),
        (in_kwargs(depth=3), "no argument 'depth'"),
        (in_preprocess(input_range=[1]), "incomplete or wrong"),
        (in_preprocess(channels="rgba"), "'rgba'"),
        (in_preprocess(input_size=48), "this network has"),
        (lambda c: c["state_dict"].popitem(), "1 missing"),
        (lambda c: c["state_dict"].update(other=torch.zeros(1)), r"1 unexpected \(other\)"),
        (first_weight([1.0]), "is a list, not a tensor"),
        (first_weight(torch.zeros(8, 3, 3, 3).half()), "float16"),
        (lambda c: c.update(state_dict=[1]), "incomplete or wrong|missing"),
    ],
)
def test_files_that_contradict_themselves(tmp_path, change, told):
    path = tmp_path / "a.pt"
    small().save(path)
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(FacekdError, match=told) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_paths_that_are_no_model(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(FacekdError, match="does not exist"):
        load_model(tmp_path / "missing.pt")
    with pytest.raises(FacekdError, match="is a folder"):
        load_model(tmp_path)
    with pytest.raises(FacekdError, match="no suffix of a network's file"):
        load_model(tmp_path / "a.txt")
    torch.save(small().backbone.state_dict(), tmp_path / "bare.pt")
    with pytest.raises(FacekdError, match="facekd-model import"):
        FaceModel.load(tmp_path / "bare.pt")


def test_a_file_that_describes_itself_is_not_overruled(tmp_path):
    small(input_range=(0.0, 1.0)).save(tmp_path / "a.pt")
    with pytest.raises(FacekdError, match="says itself that 0 and 255 become 0 and 1; leave"):
        load_model(tmp_path / "a.pt", input_range=(0.0, 255.0))
    with pytest.raises(FacekdError, match="says itself that it takes rgb; leave"):
        load_model(tmp_path / "a.pt", channels="bgr")
    model = load_model(tmp_path / "a.pt", input_range=(0.0, 1.0), channels="rgb")
    assert model.preprocess == Preprocess(32, (0.0, 1.0), "rgb")


def test_command_help_does_not_wait_for_torch():
    code = "import sys; from facekd.cli.model import main\ntry: main(['--help'])\n"
    code += "except SystemExit: sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "facekd-model import" in done.stdout


def test_command_info(tmp_path, capsys):
    small().save(tmp_path / "a.pt", recipe={"name": "quick", "epochs": 3}, label_map_hash="abc")
    assert main(["info", str(tmp_path / "a.pt")]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["architecture"] == "mobilefacenet"
    assert shown["recipe"] == "quick"
    assert shown["parameters"] == "0.022 M"
    assert main(["info", str(tmp_path / "a.pt"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["parameters"], facts["label_map_hash"]) == (21616, "abc")
    assert facts["macs"] == 419_584
    assert facts["recipe"]["epochs"] == 3


def test_command_import(tmp_path, capsys):
    model = FaceModel.create("mbf", 8, 32)
    torch.save({"state_dict": model.backbone.state_dict()}, tmp_path / "theirs.pth")
    ours = tmp_path / "ours.pt"
    arguments = ["import", str(tmp_path / "theirs.pth"), str(ours), "--input-range", "0,1"]
    assert main([*arguments, "--channels", "bgr"]) == 0
    assert "mobilefacenet_w2" in capsys.readouterr().out
    imported = FaceModel.load(ours)
    assert imported.preprocess == Preprocess(32, (0.0, 1.0), "bgr")
    assert imported.description["imported_from"] == "arcface_torch"
    assert main([*arguments, "--channels", "rgb"]) == 2
    assert f"{ours} is there already; give another name, or --force" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    assert FaceModel.load(ours).preprocess.channels == "rgb"
    assert main(["info", str(ours), "--input-range=-1,1"]) == 2
    assert "ours.pt says itself that 0 and 255 become 0 and 1; leave" in capsys.readouterr().err
    assert main(["info", str(ours), "--channels", "bgr"]) == 2
    assert "ours.pt says itself that it takes rgb; leave --channels" in capsys.readouterr().err
    assert main(["info", str(ours), "--input-range", "0,1", "--channels", "rgb"]) == 0
    assert main(["import", str(tmp_path / "theirs.pth"), str(tmp_path / "ours.bin")]) == 2
    assert "give a .pt file" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "missing.pt")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
