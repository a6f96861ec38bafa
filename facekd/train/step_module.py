"""What one forward pass of a step runs: the network, then the objective, as one module.

One module, because DistributedDataParallel averages the gradients of what it wraps, and heads and
projectors learn beside the network.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from facekd.backbones.taps import tapped
from facekd.distill.objective import Objective
from facekd.model import FaceModel
from facekd.train.precision import autocast


class StepModule(nn.Module):
    """Images to the loss.

    Args:
        network: The network.
        objective: Heads, projector, terms.

    Attributes:
        compiled: Used in the network's place where it is set.
    """

    def __init__(self, network: FaceModel, objective: Objective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.compiled: Callable[[Tensor], Tensor] | None = None

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        position: Tensor,
        teacher_embeddings: Tensor | None,
        teacher_maps: Mapping[int, Tensor],
        epoch: float,
        precision: str,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, a scalar with gradient, and its terms; see `Objective.forward`.

        Args:
            images: uint8 RGB (b, 3, s, s).
            labels: (b,) int64.
            position: (b,) int64.
            teacher_embeddings: (b, d_t) floating point, or None.
            teacher_maps: The teacher's feature maps by stage.
            epoch: Epochs done.
            precision: fp32, bf16 or fp16, of the network; the objective is always in float32.
        """
        with (
            autocast(precision, images.device),
            tapped(self.network.backbone, self.objective.maps) as student_maps,
        ):
            embeddings = (self.compiled or self.network)(images)
        return self.objective(  # type: ignore[no-any-return]
            embeddings.float(),
            labels,
            position,
            teacher_embeddings,
            student_maps=student_maps,
            teacher_maps=teacher_maps,
            epoch=epoch,
        )


def set_training(network: nn.Module, objective: nn.Module, freeze_bn: bool) -> None:
    """Training mode; with `freeze_bn`, batch norm as in evaluation (its affine part still learns).

    Its running statistics, of the network as of a projector, are used and stay as they are: what
    fine-tuning with small batches needs, and what makes an image's embedding independent of the
    images beside it, so of the number of processes.
    """
    for module in (network, objective):
        module.train()
        for inner in module.modules():
            if freeze_bn and isinstance(inner, nn.modules.batchnorm._BatchNorm):
                inner.eval()


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Only kernels that give the same bits each time, while the block runs.

    An operation that has none raises torch's own error. Where it is not wanted, cuDNN may try its
    kernels and keep the fastest, as all batches have one size.
    """
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(wanted or before[0])
    cudnn.deterministic, cudnn.benchmark = wanted or before[1], not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]


@torch.no_grad()
def first_not_finite(module: nn.Module) -> str:
    """The name of the first parameter or buffer that is not finite; "" where all are."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return next((n for n, t in named if t.is_floating_point() and not t.isfinite().all()), "")
