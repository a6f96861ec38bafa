"""Recipes small enough to train inside a test, and a network that takes a millisecond a step."""

import csv
import json

import pytest
import torch
from torch import nn

from facekd.backbones import BACKBONES
from facekd.recipe_file import load_recipe
from facekd.train.log import OF_THE_MACHINE

IDENTITIES, EACH = 4, 6
COMMON = {
    "model": {"backbone": "tiny", "embedding_dim": 8, "input_size": 32},
    "loss": {"preset": "arcface", "scale": 16.0},
    "batch_size": 8,
    "optimizer": {"lr": 0.05},
    "schedule": {"epochs": 2},
    "precision": "fp32",
    "device": "cpu",
}
DATA = {
    "source": "synthetic",
    "synthetic": {"identities": IDENTITIES, "images_per_identity": EACH},
    "workers": 0,
}


def tiny(embedding_dim: int, input_size: int) -> nn.Module:
    """Convolution, batch norm, PReLU, dropout (it draws random numbers), linear, batch norm."""
    side = input_size // 4
    return nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=4),
        nn.BatchNorm2d(4),
        nn.PReLU(4),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(4 * side**2, embedding_dim, bias=False),
        nn.BatchNorm1d(embedding_dim),
    )


@pytest.fixture(scope="module", autouse=True)
def tiny_network():
    """The tiny network is known while the tests of a folder run, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES._entries, "tiny", tiny)
        yield
    torch.set_num_threads(threads)


def write_recipe(folder, stages, *, data=None, common=None, **top):
    """Write `<folder>/mine.yaml`, whose runs go to `<folder>/run`."""
    content = {
        "output": str(folder / "run"),
        "data": DATA | (data or {}),
        "common": COMMON | (common or {}),
        "stages": stages,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mine.yaml"
    path.write_text(json.dumps(content | top, indent=1))  # JSON is YAML
    return path


def recipe(folder, stages, **settings):
    """The same, read."""
    return load_recipe(str(write_recipe(folder, stages, **settings)))


def weights(path):
    """The tensors of a saved network."""
    return torch.load(path, weights_only=True)["state_dict"]


def same_weights(a, b):
    """Whether two saved networks are equal bit by bit."""
    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def rows(path):
    """The rows of a CSV file, without the columns that tell the machine's speed."""
    with path.open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in OF_THE_MACHINE}
            for row in csv.DictReader(file)
        ]
