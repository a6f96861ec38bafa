"""The copy that leaves: batch norm folded, insightface's input whatever the network's own."""

import copy

import numpy as np
import pytest
import torch
from made_networks import drawn, small_iresnet, stir
from torch import nn

from facekd.errors import FacekdError
from facekd.export.prepare import prepare
from facekd.model import FaceModel
from facekd.preprocess import STATISTICS

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
OUTSIDE = (torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float() - 127.5) / 127.5


def norms(net):
    return [
        name for name, m in net.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)
    ]


def same(net, model):
    found, wanted = net(OUTSIDE).numpy(), model.embed(IMAGES)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("affine", [False, True])
def test_no_batch_norm_is_left_in_a_mobilefacenet(affine):
    model = drawn(affine=affine)
    before = copy.deepcopy(model.state_dict())
    net = prepare(model)
    assert norms(net) == []
    same(net, model)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(p.requires_grad for p in net.parameters())


def test_grouped_convolutions_and_a_wider_trunk():
    model = drawn("mobilefacenet_w2")
    net = prepare(model)
    assert norms(net) == []
    same(net, model)


def test_an_iresnet_keeps_the_batch_norms_that_stand_before_convolutions():
    model = small_iresnet()
    net = prepare(model)
    assert norms(net) == [*(f"layer{i}.0.bn1" for i in (1, 2, 3, 4)), "bn2"]
    same(net, model)


def test_an_imported_adaface():
    """BGR, gates, a first shortcut without weights and a last batch norm without them."""
    kwargs = {"affine": False, "se": True, "subsample": True}
    model = drawn("iresnet18", preprocess={"channels": "bgr"}, **kwargs)
    net = prepare(model)
    assert norms(net) == [*(f"layer{i}.{n}.bn1" for i in (1, 2, 3, 4) for n in (0, 1)), "bn2"]
    same(net, model)


@pytest.mark.parametrize("input_range", [(-1.0, 1.0), (0.0, 255.0), (0.0, 1.0), (-0.3, 2.0)])
@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_other_inputs_are_folded_exactly(input_range, channels):
    """Drawn images are as bright at the border, where the first convolution pads, as inside."""
    model = drawn(preprocess={"input_range": input_range, "channels": channels})
    net = prepare(model)
    same(net, model)
    in_front = hasattr(net, "offset")
    assert in_front == (sum(input_range) != 0)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_mean_and_deviation_are_folded_exactly(channels):
    mean, std = STATISTICS["cifar100"]
    numbers = {"input_range": (0.0, 1.0), "mean": mean, "std": std, "channels": channels}
    model = drawn(preprocess=numbers)
    same(prepare(model), model)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "shufflenet_v2", "torchvision/resnet18"])
def test_networks_of_classes(name):
    """Of wrn_16_1 the first convolution's output is read by a batch norm and by a sum."""
    model = stir(FaceModel.create(name, input_size=32)).eval()
    net = prepare(model)
    assert ("block1.layer.0.bn1" in norms(net)) == (name == "wrn_16_1")
    same(net, model)


class Odd(nn.Module):
    """Batch norms after a convolution that is used twice, after a ReLU, and first of all."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()
        self.after_conv, self.after_relu = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.first = nn.BatchNorm2d(3)
        self.last = nn.Linear(3, 8)
        self.tail = nn.BatchNorm1d(8)

    def forward(self, x):
        y = self.conv(self.first(x))
        both = self.after_conv(y) + self.relu(y)
        return self.tail(self.last(self.after_relu(self.relu(both)).mean((2, 3))))


def odd(**preprocess):
    numbers = {"input_size": 32, "input_range": [-1.0, 1.0], "channels": "rgb"} | preprocess
    about = {"backbone": {"name": "odd"}, "embedding_dim": 8, "preprocess": numbers}
    return stir(FaceModel(Odd(), about)).eval()


def test_only_what_alone_follows_is_folded():
    model = odd()
    net = prepare(model)
    assert norms(net) == ["after_conv", "after_relu", "first"]
    same(net, model)


def test_a_network_that_does_not_begin_with_a_convolution():
    with pytest.raises(FacekdError, match=r"odd takes bgr in \(-1.0, 1.0\), and its first layer"):
        prepare(odd(channels="bgr"))
