"""Sizes, shapes and number formats of the networks."""

import numpy as np
import pytest
import torch

from facekd.backbones import BACKBONES, count, create_backbone
from facekd.backbones.taps import stage_channels
from facekd.errors import FacekdError

# name, embedding, width, parameters, GMAC: the first five from the papers and their codebases
COUNTS = [
    ("mobilefacenet", 128, 1.0, 1_002_880, 0.221),
    ("mobilefacenet", 512, 1.0, 1_199_488, 0.221),
    ("mobilefacenet_w2", 512, None, 2_059_520, 0.438),
    ("mobilefacenet_large", 512, None, 6_314_880, 1.816),
    ("iresnet18", 512, None, 24_025_600, 2.610),
    ("iresnet34", 512, None, 34_139_328, 4.460),
    ("iresnet50", 512, None, 43_590_848, 6.309),
    ("iresnet100", 512, None, 65_156_160, 12.090),
    ("iresnet200", 512, None, 118_833_920, 23.419),
    ("mobilefacenet", 128, 0.5, 288_448, 0.059),
    ("mobilefacenet", 512, 0.5, 386_752, 0.059),
    ("mobilefacenet", 128, 0.25, 90_976, 0.017),
    ("mobilefacenet", 512, 0.25, 140_128, 0.017),
]
PUBLISHED = {
    ("mobilefacenet", 128, 1.0): "1.003",
    ("mobilefacenet", 512, 1.0): "1.199",
    ("mobilefacenet_w2", 512, None): "2.060",
    ("mobilefacenet_large", 512, None): "6.315",
    ("iresnet18", 512, None): "24.03",
    ("iresnet34", 512, None): "34.14",
    ("iresnet50", 512, None): "43.59",
    ("iresnet100", 512, None): "65.16",
    ("iresnet200", 512, None): "118.83",
}


@pytest.mark.parametrize(("name", "embedding_dim", "width", "parameters", "gmac"), COUNTS)
def test_counts(name, embedding_dim, width, parameters, gmac):
    kwargs = {} if width is None else {"width": width}
    model = create_backbone(name, embedding_dim, **kwargs)
    params, macs = count(model, 112)
    assert params == parameters
    assert f"{macs / 1e9:.3f}" == f"{gmac:.3f}"
    if (published := PUBLISHED.get((name, embedding_dim, width))) is not None:
        digits = len(published.split(".")[1])
        assert f"{params / 1e6:.{digits}f}" == published


def macs_by_hand(stages, size, embedding_dim, width):
    """The 2018 table, layer by layer: (inner, outputs, repeats, stride) in full-width channels."""
    macs, inputs = 0, 64
    size //= 2
    macs += size**2 * 64 * width * 3 * 9 + size**2 * 64 * width * 9
    for inner, outputs, repeats, stride in stages:
        for i in range(repeats):
            step = stride if i == 0 else 1
            macs += size**2 * inputs * inner * width**2
            size //= step
            macs += size**2 * (9 * inner * width + inner * outputs * width**2)
            inputs = outputs
    macs += size**2 * inputs * 512 * width**2 + size**2 * 512 * width
    return macs + 512 * width * embedding_dim


@pytest.mark.parametrize("width", [1.0, 0.5])
@pytest.mark.parametrize("size", [64, 112])
def test_macs_follow_the_papers_table(size, width):
    stages = [(128, 64, 1, 2), (128, 64, 4, 1), (256, 128, 1, 2), (256, 128, 6, 1)]
    stages += [(512, 128, 1, 2), (256, 128, 2, 1)]
    model = create_backbone("mobilefacenet", 128, input_size=size, width=width)
    assert count(model, size)[1] == macs_by_hand(stages, size, 128, width)


def test_half_the_depth():
    stages = [(128, 64, 1, 2), (128, 64, 2, 1), (256, 128, 1, 2), (256, 128, 3, 1)]
    stages += [(512, 128, 1, 2), (256, 128, 1, 1)]
    model = create_backbone("mobilefacenet", 512, blocks=[1, 2, 3, 1])
    assert count(model, 112) == (884_096, macs_by_hand(stages, 112, 512, 1.0))


@pytest.mark.parametrize("blocks", [3, [1, 4, 6], [1, 4, 0, 2], [1, 4, 6.5, 2]])
def test_blocks_that_make_no_network_are_told(blocks):
    with pytest.raises(FacekdError, match="give four whole numbers of at least 1"):
        create_backbone("mobilefacenet", blocks=blocks)


@pytest.mark.parametrize("name", ["mobilefacenet", "mbf", "r18"])
@pytest.mark.parametrize("size", [32, 64])
def test_input_size(name, size):
    model = create_backbone(name, 16, input_size=size).eval()
    assert model(torch.zeros(2, 3, size, size)).shape == (2, 16)
    if name != "r18":
        assert model.features.layers[0].layers[0].kernel_size == (size // 16, size // 16)
    else:
        assert model.fc.in_features == 512 * (size // 16) ** 2


def test_count_leaves_the_model_as_it_was():
    model = create_backbone("mobilefacenet", 8, input_size=32, width=0.25)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    count(model, 32)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_aliases():
    assert BACKBONES.canonical("mbf") == "mobilefacenet_w2"
    assert BACKBONES.canonical("mbf_large") == "mobilefacenet_large"
    for depth in (18, 34, 50, 100, 200):
        assert BACKBONES.canonical(f"r{depth}") == f"iresnet{depth}"


@pytest.mark.parametrize("name", ["mobilefacenet", "r18"])
def test_autocast_keeps_the_tail_in_float32(name):
    torch.manual_seed(0)
    model = create_backbone(name, 16, input_size=32).eval()
    seen = []
    tail = model.features if name == "r18" else model.features.layers[2]
    tail.register_forward_hook(lambda m, inputs, output: seen.append((inputs[0], output)))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        embeddings = model(x)
    assert embeddings.dtype == torch.float32
    assert {t.dtype for t in seen[0]} == {torch.float32}
    with torch.no_grad():
        exact = model(x)
    cosine = torch.nn.functional.cosine_similarity(embeddings, exact)
    assert cosine.min() > 0.99
    assert not torch.equal(embeddings, exact)  # the trunk did run in bfloat16


@pytest.mark.parametrize("name", ["mobilefacenet", "r18"])
def test_channels_last_gives_the_same(name):
    torch.manual_seed(0)
    model = create_backbone(name, 16, input_size=32).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(x)
        model.to(memory_format=torch.channels_last)
        found = model(x.to(memory_format=torch.channels_last))
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.abs().max())


def test_last_batch_norms():
    assert create_backbone("mobilefacenet").features.layers[3].weight is None
    assert create_backbone("mobilefacenet", affine=True).features.layers[3].bias.requires_grad
    resnet = create_backbone("r18")
    assert not resnet.features.weight.requires_grad
    assert resnet.features.bias.requires_grad


def test_bn_eps_reaches_every_batch_norm():
    for name in ("mobilefacenet", "mbf_large", "r18"):
        model = create_backbone(name, 8, input_size=32, bn_eps=1e-3)
        norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        assert len(norms) > 10
        assert {m.eps for m in norms} == {1e-3}


def test_every_parameter_learns():
    torch.manual_seed(0)
    for name in ("mobilefacenet", "mbf_large", "r18"):
        model = create_backbone(name, 8, input_size=32)
        weights = torch.randn(8, 8)
        (model(torch.randn(8, 3, 32, 32)) * weights).sum().backward()
        for key, parameter in model.named_parameters():
            assert not parameter.requires_grad or parameter.grad.abs().max() > 0, key


def test_adafaces_variants_of_iresnet_learn():
    torch.manual_seed(0)
    kwargs = {"affine": False, "se": True, "subsample": True}
    model = create_backbone("r18", 8, input_size=32, **kwargs)
    first = model.layer1[0].downsample
    assert list(first.parameters()) == []
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(first(x), x[:, :, ::2, ::2])
    (model(torch.randn(8, 3, 32, 32)) * torch.randn(8, 8)).sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 0, key
    assert stage_channels(model, 32) == {1: 64, 2: 128, 3: 256, 4: 512}


@pytest.mark.parametrize(
    ("name", "kwargs", "told"),
    [
        ("mobilefacenett", {}, "did you mean 'mobilefacenet'"),
        ("mobilefacenet", {"widht": 0.5}, "did you mean 'width'"),
        ("mbf", {"width": 0.5}, "no argument 'width'"),
        ("mobilefacenet", {"width": 0.3}, "width 0.3"),
        ("mobilefacenet", {"width": 0.0}, "width 0"),
        ("mobilefacenet", {"input_size": 100}, "multiple of 16"),
        ("r18", {"input_size": 0}, "multiple of 16"),
        ("r18", {"embedding_dim": 0}, "embedding_dim 0"),
        ("r18", {"bn_eps": -1.0}, "bn_eps -1.0"),
    ],
)
def test_wrong_arguments(name, kwargs, told):
    with pytest.raises(FacekdError, match=told):
        create_backbone(name, **kwargs)
