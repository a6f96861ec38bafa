"""torchvision's classifiers as backbones, against torchvision itself."""

import pytest
import torch
from torchvision import models

from facekd.backbones import BACKBONES, create_backbone, own_width, usual_size, usual_width
from facekd.backbones.taps import stage_channels
from facekd.errors import FacekdError

# a member of each family: its width, and an input that it takes
FAMILIES = {
    "alexnet": (4096, 64),
    "convnext_tiny": (768, 32),
    "densenet121": (1024, 32),
    "efficientnet_b0": (1280, 33),
    "maxvit_t": (512, 224),
    "mnasnet0_5": (1280, 32),
    "mobilenet_v2": (1280, 32),
    "mobilenet_v3_small": (1024, 40),
    "regnet_x_400mf": (400, 32),
    "resnet18": (512, 40),
    "shufflenet_v2_x0_5": (1024, 32),
    "swin_t": (768, 32),
    "vgg11": (4096, 32),
    "vit_b_32": (768, 64),
}
COMPARED = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5")
REFUSED = ("googlenet", "inception_v3", "squeezenet1_1")


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_width(name):
    width, size = FAMILIES[name]
    with torch.device("meta"):
        network = create_backbone(f"torchvision/{name}", width, input_size=size)
    assert own_width(network) == width
    assert all(p.is_meta for p in network.parameters())


@pytest.mark.parametrize("name", COMPARED)
def test_the_classifier_reads_the_embedding(name):
    """logits = classifier(backbone(x)), with torchvision's weights under torchvision's names."""
    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None, num_classes=11)
    theirs(torch.randn(4, 3, 64, 64))  # running statistics of its own
    theirs.eval()
    ours = create_backbone(f"torchvision/{name}", input_size=64).eval()
    state = theirs.state_dict()
    weight, bias = (state.pop(f"{ours.classifier}.{key}") for key in ("weight", "bias"))
    ours.net.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images) @ weight.T + bias, theirs(images))
        with torch.autocast("cpu", torch.bfloat16):
            assert ours(images).dtype == torch.float32


@pytest.mark.parametrize("name", REFUSED)
def test_networks_without_an_embedding_are_told(name):
    told = f"torchvision/{name} does not end in one linear layer"
    with torch.device("meta"), pytest.raises(FacekdError, match=told):
        create_backbone(f"torchvision/{name}")


@pytest.mark.parametrize(("name", "size"), [("vgg11", 8), ("vit_b_32", 33), ("maxvit_t", 64)])
def test_inputs_that_do_not_fit_are_told(name, size):
    with (
        torch.device("meta"),
        pytest.raises(FacekdError, match=f"takes no input of {size} pixels") as caught,
    ):
        create_backbone(f"torchvision/{name}", input_size=size)
    assert "\n" not in str(caught.value)


def test_names():
    assert "torchvision/resnet18" in BACKBONES
    assert "torchvision/resnet181" not in BACKBONES
    assert BACKBONES.canonical("torchvision/resnet18") == "torchvision/resnet18"
    assert (usual_width("torchvision/resnet18"), usual_size("torchvision/resnet18")) == (512, 224)
    with pytest.raises(FacekdError, match=r"'resnet181'; did you mean 'resnet18'"):
        create_backbone("torchvision/resnet181")
    with pytest.raises(FacekdError, match=r"width of its own, 512, and embedding_dim says 256"):
        create_backbone("torchvision/resnet18", 256)


def test_stages_of_resnets_alone_are_known():
    channels = {1: 64, 2: 128, 3: 256, 4: 512}
    assert stage_channels(create_backbone("torchvision/resnet18"), 64) == channels
    with torch.device("meta"):
        assert create_backbone("torchvision/vgg11").stage_ends() == ()
