"""`facekd-model import` of RepDistiller's and torchvision's files: network and last layer."""

import json
import re

import pytest
import torch
from tiny_classes import NAMES, write_classes
from tiny_runs import recipe
from torchvision import models

from facekd import load_model
from facekd.backbones import create_backbone
from facekd.cli.eval import main as evaluate
from facekd.cli.model import main
from facekd.heads.classifier import load_head
from facekd.preprocess import STATISTICS
from facekd.train.stages import run_recipe

CIFAR100 = STATISTICS["cifar100"]


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("classes") / "set")


def checkpoint(name, layer):
    """As RepDistiller's train_teacher.py leaves it, and the network."""
    torch.manual_seed(1)
    network = create_backbone(name).eval()
    state = network.state_dict()
    state[f"{layer}.weight"] = torch.randn(len(NAMES), network.embedding_dim)
    state[f"{layer}.bias"] = torch.randn(len(NAMES))
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
    content = {"epoch": 240, "model": state, "best_acc": torch.tensor(79.4), "optimizer": optimizer}
    return content, network


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet20", "fc"),
        ("resnet8x4", "fc"),
        ("wrn_16_2", "fc"),
        ("vgg8", "classifier"),
        ("mobilenet_v2_half", "classifier.0"),
        ("shufflenet_v1", "linear"),
        ("shufflenet_v2", "linear"),
    ],
)
def test_repdistiller(name, layer, classes, tmp_path, capsys):
    content, network = checkpoint(name, layer)
    source, destination = tmp_path / "ckpt_epoch_240.pth", tmp_path / "teacher.pt"
    torch.save(content, source, _use_new_zipfile_serialization=False)  # as torch 1.0 did
    assert main(["import", str(source), str(destination), "--data", str(classes)]) == 0
    assert re.search(rf"architecture +{name}\n", out := capsys.readouterr().out)
    assert "teacher.head.safetensors" in out
    model = load_model(destination)
    assert model.preprocess == load_model(source).preprocess
    assert (model.preprocess.mean, model.preprocess.std) == CIFAR100
    assert model.description["imported_from"] == "repdistiller"
    head, label_map = load_head(tmp_path / "teacher.head.safetensors")
    assert torch.equal(head.weight, content["model"][f"{layer}.weight"])
    assert torch.equal(head.bias, content["model"][f"{layer}.bias"])
    stored = json.loads((tmp_path / "teacher.label_map.json").read_text())
    assert (label_map, stored["names"]) == (stored["hash"], list(NAMES))
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in CIFAR100)
    with torch.no_grad():
        expected = network((images / 255 - mean) / std)
        torch.testing.assert_close(model(images), expected)


def test_an_imported_network_teaches_and_is_judged(classes, tmp_path, capsys):
    content, _ = checkpoint("resnet8", "fc")
    torch.save(content, tmp_path / "theirs.pth")
    teacher = tmp_path / "teacher.pt"
    assert main(["import", f"{tmp_path}/theirs.pth", str(teacher), "--data", str(classes)]) == 0
    common = {
        "task": "classification",
        "model": {"backbone": "resnet8", "normalize": "cifar100"},
        "loss": {"preset": "kdth", "beta": 1.0},
        "schedule": {"epochs": 1},
    }
    stages = {"student": {"teacher": str(teacher)}}
    run_recipe(recipe(tmp_path, stages, data={"source": str(classes)}, common=common))
    kept, _ = load_head(tmp_path / "run" / "student.teacher.head.safetensors")
    assert torch.equal(kept.weight, content["model"]["fc.weight"])
    arguments = ["--classes", str(classes), "--model", str(teacher), "--no-figures"]
    assert evaluate([*arguments, "--out", str(tmp_path / "report")]) == 0
    assert "24 images of 6 classes" in capsys.readouterr().out


def test_torchvision(classes, tmp_path, capsys):
    torch.manual_seed(0)
    theirs = models.resnet18(weights=None, num_classes=len(NAMES)).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    destination = tmp_path / "net.pt"
    arguments = ["import", f"{tmp_path}/resnet18.pth", str(destination)]
    named = [*arguments, "--as", "torchvision/resnet18"]
    assert main(arguments) == 2
    assert main(named) == 0
    assert "(6 classes) is left behind; --data DATA" in capsys.readouterr().out
    assert not (tmp_path / "net.head.safetensors").exists()
    assert main([*named, "--data", str(classes)]) == 2
    assert "net.pt is there already" in capsys.readouterr().err
    assert main([*named, "--data", str(classes), "--force"]) == 0
    model, (head, _) = load_model(destination), load_head(tmp_path / "net.head.safetensors")
    images = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in STATISTICS["imagenet"])
    with torch.no_grad():
        expected = theirs((images / 255 - mean) / std)
        torch.testing.assert_close(head.logits(model(images)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "more", "told"),
    [
        ({}, ["--as", "torchvision/resnet18"], "are not torchvision/resnet18's: "),
        ({}, ["--as", "resnet20"], r"resnet20's: \d+ missing \(layer1.1.conv1.weight"),
        ({}, ["--as", "vgg8"], "vgg8's: "),
        ({}, ["--as", "resnet80"], "unknown backbone 'resnet80'; did you mean 'resnet8'"),
        ({}, ["--as", "iresnet18"], "is a network of faces; leave --as out"),
        ({"fc.weight": None}, ["--as", "resnet8"], "hold no classifier of resnet8"),
        ({"more": torch.zeros(1)}, ["--as", "resnet8"], "they hold more than it has"),
        ({"conv1.weight": torch.zeros(4, 3, 3, 3)}, ["--as", "resnet8"], "conv1.weight is"),
        ({"more": torch.zeros(1)}, [], "no network known here"),
        ({"more": torch.zeros(1)}, ["--data", "DATA"], "is none that is known here; say --as"),
        ({}, ["--data", "DATA"], "names 6 classes and .* has 5"),
    ],
)
def test_what_does_not_fit_is_told(change, more, told, tmp_path, capsys):
    content, _ = checkpoint("resnet8", "fc")
    state = {k: v for k, v in (content["model"] | change).items() if v is not None}
    torch.save(state, tmp_path / "theirs.pth")
    if "DATA" in more:
        write_classes(tmp_path / "set", each=1, names=NAMES[:5])
        more = [str(tmp_path / "set") if word == "DATA" else word for word in more]
    assert main(["import", f"{tmp_path}/theirs.pth", f"{tmp_path}/net.pt", *more]) == 2
    assert re.search(told, capsys.readouterr().err)
    assert not (tmp_path / "net.pt").exists()
