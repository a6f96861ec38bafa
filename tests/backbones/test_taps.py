"""Feature maps of the four stages, read while a network runs."""

import pytest
import torch

from facekd.backbones import create_backbone
from facekd.backbones.taps import stage_channels, tapped

CHANNELS = {
    "mobilefacenet": {1: 64, 2: 64, 3: 128, 4: 128},
    "iresnet18": {1: 64, 2: 128, 3: 256, 4: 512},
}


@pytest.mark.parametrize("name", CHANNELS)
def test_maps_halve_in_side_and_carry_the_gradient(name):
    backbone = create_backbone(name, 32, input_size=64).eval()
    images = torch.randn(2, 3, 64, 64)
    with tapped(backbone, {2, 4}) as maps:
        backbone(images)
    assert {k: tuple(v.shape) for k, v in maps.items()} == {
        2: (2, CHANNELS[name][2], 16, 16),
        4: (2, CHANNELS[name][4], 4, 4),
    }
    maps[4].sum().backward()
    assert all(p.grad is not None for p in list(backbone.parameters())[:3])
    assert stage_channels(backbone, 64) == CHANNELS[name]
    assert not any(m._forward_hooks for m in backbone.modules())


def test_several_passes_are_joined_and_the_embedding_follows_from_the_last_map():
    backbone = create_backbone("iresnet18", 32, input_size=64).eval()
    images = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        with tapped(backbone, {4}) as maps:
            embeddings = torch.cat([backbone(images[:2]), backbone(images[2:])])
        flat = backbone.bn2(maps[4]).flatten(1)
        again = torch.cat([backbone._embed(flat[:2]), backbone._embed(flat[2:])])
    torch.testing.assert_close(again, embeddings)


def test_a_network_without_stages_has_no_channels():
    assert stage_channels(torch.nn.Flatten(), 64) == {}
