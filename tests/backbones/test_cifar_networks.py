"""The networks of small images against the authors' code; networks with their own width."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from facekd.backbones import create_backbone, usual_size, usual_width
from facekd.backbones.taps import stage_channels, tapped
from facekd.errors import FacekdError
from facekd.model import FaceModel
from facekd.preprocess import STATISTICS, Preprocess

FIXTURES = Path(__file__).parents[1] / "fixtures"
sys.path.insert(0, str(FIXTURES))
from make_arcface_torch import fill, key_hash, shapes_of  # noqa: E402
from make_cifar_networks import CLASSES, inputs  # noqa: E402

AUTHORS = np.load(FIXTURES / "cifar_networks.npz")
NAMES = sorted(key.removesuffix(".keys") for key in AUTHORS if key.endswith(".keys"))


class WithClassifier(torch.nn.Module):
    """A network and a linear layer under the name it has in the authors' files."""

    def __init__(self, name, network):
        super().__init__()
        self.network = network
        self.at = str(AUTHORS[f"{name}.classifier"])
        self.linear = torch.nn.Linear(network.embedding_dim, CLASSES)

    def state_dict(self):
        linear = {f"{self.at}.{key}": value for key, value in self.linear.state_dict().items()}
        return self.network.state_dict() | linear


@pytest.mark.parametrize("name", NAMES)
def test_the_authors_networks(name):
    """Names and shapes of all weights, number of parameters, logits and feature maps."""
    network = create_backbone(name).eval()
    whole = WithClassifier(name, network)
    assert key_hash(whole) == AUTHORS[f"{name}.keys"]
    assert sum(p.numel() for p in whole.parameters()) == AUTHORS[f"{name}.parameters"]
    assert network.embedding_dim == usual_width(name) == AUTHORS[f"{name}.embedding_dim"]
    weights = fill(shapes_of(whole))
    weight, bias = (weights.pop(f"{whole.at}.{key}") for key in ("weight", "bias"))
    network.load_state_dict(weights)
    stages = range(1, 1 + sum(key.startswith(f"{name}.map") for key in AUTHORS) // 2)
    with torch.no_grad(), tapped(network, set(stages)) as maps:
        logits = network(inputs()) @ weight.T + bias
    expected = AUTHORS[f"{name}.logits"]
    np.testing.assert_allclose(logits, expected, atol=2e-5 * np.abs(expected).max())
    for stage in stages:
        assert tuple(maps[stage].shape) == tuple(AUTHORS[f"{name}.map{stage}.shape"])
        means = AUTHORS[f"{name}.map{stage}"]
        found = maps[stage][0, :8].mean((1, 2))
        np.testing.assert_allclose(found, means, atol=2e-5 * np.abs(means).max())


@pytest.mark.parametrize("name", ["resnet8x4", "wrn_16_1", "vgg8", "ShuffleV1", "MobileNetV2"])
def test_other_inputs_and_a_step(name):
    """Inputs that are no multiple of 16, gradients for all weights, a float32 end in bfloat16."""
    torch.manual_seed(0)
    network = create_backbone(name, input_size=36)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = network(torch.randn(3, 3, 36, 36))
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == (3, network.embedding_dim)
    embeddings.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_vgg_halves_a_large_image_once_more():
    with torch.device("meta"):
        small, large = (create_backbone("vgg8", input_size=size) for size in (32, 64))
    assert (small.pools, large.pools) == (3, 4)
    assert stage_channels(small, 32) == {1: 128, 2: 256, 3: 512, 4: 512}


def test_width_and_size_of_its_own():
    assert (usual_width("resnet20"), usual_size("resnet20")) == (64, 32)
    assert (usual_width("mobilefacenet"), usual_size("mobilefacenet")) == (512, 112)
    assert create_backbone("resnet8", 64).embedding_dim == 64
    with pytest.raises(FacekdError, match=r"'resnet8' has a width of its own, 64, .* 512;"):
        create_backbone("resnet8", 512)
    with pytest.raises(FacekdError, match="input_size 3 is below 4 pixels"):
        create_backbone("resnet8", input_size=3)
    with pytest.raises(FacekdError, match="has no argument 'width'"):
        create_backbone("resnet8", width=0.5)


def test_a_model_with_mean_and_deviation_comes_back_from_its_file(tmp_path):
    mean, std = STATISTICS["cifar100"]
    model = FaceModel.create("resnet8", mean=mean, std=std).eval()
    assert (model.embedding_dim, model.preprocess.input_size) == (64, 32)
    model.save(tmp_path / "net.pt")
    again = FaceModel.load(tmp_path / "net.pt")
    assert again.preprocess == model.preprocess == Preprocess(32, (0.0, 1.0), "rgb", mean, std)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(again(images), model(images))
        torch.testing.assert_close(model(images[:, :, :30, :30]).shape, torch.Size([2, 64]))
