"""Feature maps of a network's stages, read while it runs."""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Staged(Protocol):
    """A backbone that says where its stages end."""

    def stage_ends(self) -> tuple[nn.Module, ...]:
        """The modules whose outputs are the maps of stages 1, 2, ...

        Those of a face network are 1/2, 1/4, 1/8 and 1/16 of the input's side; those of the CIFAR
        family are what RepDistiller and HeadSharingKD number (`hint_layer`).
        """
        ...


@contextmanager
def tapped(backbone: nn.Module, stages: Set[int]) -> Iterator[dict[int, Tensor]]:
    """Keep what the chosen stages put out while the block runs.

    Args:
        backbone: A `Staged` network.
        stages: Their numbers, from 1.

    Yields:
        Filled when the block ends: stage -> (n, c, h, w), the batches of several forward passes
        one after the other.
    """
    maps: dict[int, Tensor] = {}
    parts: dict[int, list[Tensor]] = {stage: [] for stage in sorted(stages)}
    if not parts:
        yield maps
        return
    assert isinstance(backbone, Staged)
    ends = dict(enumerate(backbone.stage_ends(), 1))
    handles = []
    for stage, kept in parts.items():

        def keep(_m: nn.Module, _i: object, output: Tensor, kept: list[Tensor] = kept) -> None:
            kept.append(output)

        handles.append(ends[stage].register_forward_hook(keep))
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
    for stage, kept in parts.items():
        maps[stage] = kept[0] if len(kept) == 1 else torch.cat(kept)


def stage_channels(backbone: nn.Module, input_size: int) -> dict[int, int]:
    """Stage -> channels of its feature map; empty for a network whose stages are not known."""
    if not isinstance(backbone, Staged):
        return {}
    stages = range(1, len(backbone.stage_ends()) + 1)
    training = backbone.training
    device = next(backbone.parameters()).device
    backbone.eval()
    with torch.no_grad(), tapped(backbone, set(stages)) as maps:
        backbone(torch.zeros(1, 3, input_size, input_size, device=device))
    backbone.train(training)
    return {stage: maps[stage].shape[1] for stage in stages}
