"""torchvision's classifiers as backbones: `torchvision/resnet50`, without the last linear layer.

Any name of `torchvision.models` whose last linear layer names the classes; what that layer reads
is the embedding. torchvision is imported when one is asked for.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from facekd.errors import FacekdError, did_you_mean

PREFIX = "torchvision/"
STAGES = ("layer1", "layer2", "layer3", "layer4")
_MARK = 7  # classes, to tell the layer that names them from others


class TorchvisionNetwork(nn.Module):
    """One of torchvision's networks; what its classifier would read is the output.

    Args:
        name: torchvision's name.
        input_size: Side of the input, pixels.

    Attributes:
        classifier: Name of the linear layer that was taken off.

    Raises:
        FacekdError: The network does not end in a linear layer, or not with this input.
    """

    def __init__(self, name: str, input_size: int = 224) -> None:
        super().__init__()
        self.net = _whole(name, input_size)
        linear = [key for key, module in self.net.named_modules() if isinstance(module, nn.Linear)]
        last = self.net.get_submodule(linear[-1]) if linear else None
        if not isinstance(last, nn.Linear) or last.out_features != _MARK or _looks_aside(self.net):
            raise FacekdError(
                f"{PREFIX}{name} does not end in one linear layer over its features, so it has no "
                "embedding; use another of torchvision's networks, such as torchvision/resnet18."
            )
        self.classifier = linear[-1]
        self.embedding_dim = last.in_features
        parent, _, own = self.classifier.rpartition(".")
        setattr(self.net.get_submodule(parent), own, nn.Identity())
        self._try(name, input_size)

    def _try(self, name: str, input_size: int) -> None:
        """Run it on shapes alone."""
        shapes = {k: torch.empty_like(v, device="meta") for k, v in self.net.state_dict().items()}
        image = torch.empty(1, 3, input_size, input_size, device="meta")
        self.net.eval()
        try:
            with torch.no_grad():
                found = torch.func.functional_call(self.net, shapes, (image,)).shape
        except (RuntimeError, ValueError, AssertionError) as error:
            raise FacekdError(
                f"{PREFIX}{name} takes no input of {input_size} pixels ({_first(error)}); use "
                "another input_size."
            ) from error
        assert tuple(found) == (1, self.embedding_dim), (name, found)
        self.net.train()

    def stage_ends(self) -> tuple[nn.Module, ...]:
        """See `facekd.backbones.taps.Staged`: the four stages of ResNets; none of other networks.

        Their maps are 1/4, 1/8, 1/16 and 1/32 of the input's side.
        """
        if not all(hasattr(self.net, name) for name in STAGES):
            return ()
        return tuple(self.net.get_submodule(name) for name in STAGES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (n, 3, s, s) -> float32 (n, embedding_dim)."""
        return self.net(x).float()  # type: ignore[no-any-return]


def builder_of(name: str) -> Callable[..., nn.Module]:
    """The builder of one of torchvision's networks.

    Raises:
        FacekdError: torchvision has none of that name.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise FacekdError(f"torchvision has no classifier {name!r}; {did_you_mean(name, known)}")

    def build(input_size: int = 224) -> nn.Module:
        return TorchvisionNetwork(name, input_size)

    return build


def _whole(name: str, input_size: int) -> nn.Module:
    from torchvision import models

    settings: dict[str, Any] = {"num_classes": _MARK}
    if name == "maxvit_t":
        settings["input_size"] = (input_size, input_size)
    elif name.startswith("vit_"):
        settings["image_size"] = input_size
    device = torch.get_default_device()
    # RegNet's constructor reads numbers from tensors, which those without content do not give
    made_on = "cpu" if name.startswith("regnet_") and device.type == "meta" else device
    try:
        with warnings.catch_warnings(), torch.device(made_on):
            warnings.simplefilter("ignore")  # of initial weights, which are not what is asked for
            network: nn.Module = models.get_model(name, weights=None, **settings)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise FacekdError(
            f"{PREFIX}{name} takes no input of {input_size} pixels ({_first(error)}); use another "
            "input_size."
        ) from error
    return network.to(device)


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _looks_aside(network: nn.Module) -> bool:
    """Whether it has further classifiers on its way, in training (GoogLeNet, Inception)."""
    return bool(getattr(network, "aux_logits", False))
