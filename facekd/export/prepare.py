"""A copy of a network as it leaves facekd: folded, and fed as insightface feeds its own."""

import copy
from collections import Counter

import torch
from torch import Tensor, nn

from facekd.errors import FacekdError
from facekd.model import FaceModel
from facekd.preprocess import Preprocess

Call = tuple[nn.Module, Tensor, Tensor]


class _Shifted(nn.Module):
    """A network on its input plus a constant, which zero padding keeps out of a convolution."""

    def __init__(self, backbone: nn.Module, offset: float) -> None:
        super().__init__()
        self.backbone, self.offset = backbone, offset

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x + self.offset)  # type: ignore[no-any-return]


def prepare(model: FaceModel) -> nn.Module:
    """A copy with batch norm folded, for RGB images as `(x - 127.5) / 127.5`.

    Batch norm that follows a convolution or a linear layer goes into its weights. What the network
    wants otherwise (another range, BGR) goes into its first convolution: with the range (lo, hi)
    it takes y (hi - lo) / 2 + (hi + lo) / 2 where y is in [-1, 1]. The factor goes into the
    weights; the summand, over the factor, is added to y in front: a bias would be wrong where the
    convolution pads with zeros.

    Args:
        model: Any; it is left as it is.

    Returns:
        Float32 (n, 3, s, s) -> (n, embedding_dim), on the CPU, in evaluation mode, no gradients.

    Raises:
        FacekdError: The network wants another range or BGR and does not begin with a convolution.
    """
    net = copy.deepcopy(model.backbone).cpu().eval().requires_grad_(False)
    size = model.preprocess.input_size
    image = torch.zeros(1, 3, size, size)
    calls = _calls(net, image)
    offset = 0.0
    if model.preprocess != Preprocess(size):
        offset = _fold_input(calls, image, model.preprocess, model.name)
    _fold_batch_norm(net, calls)
    return _Shifted(net, offset).eval() if offset else net


def _calls(net: nn.Module, image: Tensor) -> list[Call]:
    """Each call of a module without children: the module, its input, its output."""
    calls: list[Call] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append((module, inputs[0], output))

    leaves = (module for module in net.modules() if not list(module.children()))
    handles = [module.register_forward_hook(note) for module in leaves]
    try:
        with torch.no_grad():
            net(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _fold_input(calls: list[Call], image: Tensor, wanted: Preprocess, name: str) -> float:
    """Change the first convolution's weights; returns what is to be added to its input."""
    takers = [module for module, source, _ in calls if source is image]
    first = takers[0] if len(takers) == 1 else None
    if not isinstance(first, nn.Conv2d) or first.groups != 1 or first.padding_mode != "zeros":
        raise FacekdError(
            f"{name} takes {wanted.channels} in {wanted.input_range}, and its first layer is no "
            "convolution that this could be folded into; train it on rgb in -1..1 to export it."
        )
    lo, hi = wanted.input_range
    factor = (hi - lo) / 2
    weight = first.weight.flip(1) if wanted.channels == "bgr" else first.weight
    first.weight = nn.Parameter(weight * factor, requires_grad=False)
    return (hi + lo) / 2 / factor


def _fold_batch_norm(net: nn.Module, calls: list[Call]) -> None:
    """Put every batch norm that alone follows a convolution or linear layer into its weights."""
    names = {module: name for name, module in net.named_modules()}
    times = Counter(module for module, _, _ in calls)
    made_by = {id(output): module for module, _, output in calls}
    taken = Counter(id(source) for _, source, _ in calls)
    for norm, source, _ in calls:
        layer = made_by.get(id(source))
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if taken[id(source)] > 1 or times[layer] > 1 or times[norm] > 1:
            continue
        if norm.running_mean is None:  # it normalises by the batch
            continue
        _fold(layer, norm)
        parent, _, leaf = names[norm].rpartition(".")
        setattr(net.get_submodule(parent), leaf, nn.Identity())


def _fold(layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
    """Outputs: s (x - mean) + b with s = gamma / sqrt(var + eps), in float64."""
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    scale = (var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    bias = -mean.double() if layer.bias is None else layer.bias.double() - mean.double()
    shift = bias * scale + (norm.bias.double() if norm.affine else 0.0)
    weight = layer.weight.double() * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    layer.weight = nn.Parameter(weight.float(), requires_grad=False)
    layer.bias = nn.Parameter(shift.float(), requires_grad=False)
