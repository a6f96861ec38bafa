"""A copy of a network as it leaves facekd: folded, and fed as insightface feeds its own."""

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from facekd.errors import FacekdError
from facekd.model import FaceModel
from facekd.preprocess import Preprocess

Call = tuple[nn.Module, Tensor, Tensor]


class _Shifted(nn.Module):
    """A network on its input plus a constant, which zero padding keeps out of a convolution.

    Args:
        backbone: The network.
        offset: The constant of each channel, (3, 1, 1).
    """

    offset: Tensor

    def __init__(self, backbone: nn.Module, offset: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        return self.backbone(x + self.offset)  # type: ignore[no-any-return]


def prepare(model: FaceModel) -> nn.Module:
    """A copy with batch norm folded, for RGB images as `(x - 127.5) / 127.5`.

    Batch norm that follows a convolution or a linear layer goes into its weights. What the network
    wants otherwise (another range, BGR, mean and deviation) goes into its first convolution: with
    the range (lo, hi) it takes y (hi - lo) / 2 + (hi + lo) / 2 where y is in [-1, 1], less the mean
    and over the deviation. The factor goes into the weights; the summand, over the factor, is added
    to y in front: a bias would be wrong where the convolution pads with zeros.

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
    calls, uses = _calls(net, image)
    offset = torch.zeros(3, 1, 1)
    if model.preprocess != Preprocess(size):
        offset = _fold_input(calls, image, model.preprocess, model.name)
    _fold_batch_norm(net, calls, uses)
    return _Shifted(net, offset).eval() if offset.any() else net


class _Uses(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """How many operations read each tensor, inside of modules or between them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[int] = Counter()
        self._kept: list[Tensor] = []  # so that no other tensor takes a number

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        read = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        self.count.update(map(id, read))
        self._kept += read
        return func(*args, **(kwargs or {}))


def _calls(net: nn.Module, image: Tensor) -> tuple[list[Call], Counter[int]]:
    """Each call of a module without children (itself, input, output), and how often each is read.

    The second counts, by the `id` of a tensor, the operations that read it.
    """
    calls: list[Call] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append((module, inputs[0], output))

    leaves = (module for module in net.modules() if not list(module.children()))
    handles = [module.register_forward_hook(note) for module in leaves]
    try:
        with torch.no_grad(), _Uses() as uses:
            net(image)
    finally:
        for handle in handles:
            handle.remove()
    return calls, uses.count


def _fold_input(calls: list[Call], image: Tensor, wanted: Preprocess, name: str) -> Tensor:
    """Change the first convolution's weights; returns what to add to its input, (3, 1, 1)."""
    takers = [module for module, source, _ in calls if source is image]
    first = takers[0] if len(takers) == 1 else None
    if not isinstance(first, nn.Conv2d) or first.groups != 1 or first.padding_mode != "zeros":
        raise FacekdError(
            f"{name} takes {wanted.channels} in {wanted.input_range}, and its first layer is no "
            "convolution that this could be folded into; train it on rgb in -1..1 to export it."
        )
    lo, hi = wanted.input_range
    mean, std = wanted.mean or (0.0, 0.0, 0.0), wanted.std or (1.0, 1.0, 1.0)
    factors = torch.tensor([(hi - lo) / 2 / one for one in std]).view(3, 1, 1)
    offset = torch.tensor([((hi + lo) / 2 - one) * 2 / (hi - lo) for one in mean]).view(3, 1, 1)
    weight = first.weight.flip(1) if wanted.channels == "bgr" else first.weight
    first.weight = nn.Parameter(weight * factors, requires_grad=False)
    return offset


def _fold_batch_norm(net: nn.Module, calls: list[Call], uses: Counter[int]) -> None:
    """Put every batch norm that alone follows a convolution or linear layer into its weights."""
    names = {module: name for name, module in net.named_modules()}
    times = Counter(module for module, _, _ in calls)
    made_by = {id(output): module for module, _, output in calls}
    for norm, source, _ in calls:
        layer = made_by.get(id(source))
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if uses[id(source)] > 1 or times[layer] > 1 or times[norm] > 1:
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
