"""The processes that `torchrun` started: sums and gathers of numpy arrays."""

import os
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from facekd.errors import FacekdError
from facekd.eval.together import Alone, Together

_PATIENCE = timedelta(days=7)  # a slow rank is waited for; torchrun ends all when one dies


class Processes:
    """`torch.distributed`'s processes over gloo; see `facekd.eval.together.Together`."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.world = dist.get_world_size()

    def sum(self, array: NDArray[Any], /) -> NDArray[Any]:
        """See `Together.sum`."""
        total = torch.from_numpy(np.array(array))
        dist.all_reduce(total)
        return total.numpy()

    def gather(self, array: NDArray[Any], /) -> list[NDArray[Any]]:
        """See `Together.gather`."""
        lengths = np.zeros(self.world, dtype=np.int64)
        lengths[self.rank] = len(array)
        gathered = []
        for rank, length in enumerate(self.sum(lengths).tolist()):
            shape = (length, *array.shape[1:])
            part = np.array(array) if rank == self.rank else np.empty(shape, array.dtype)
            if part.size:
                dist.broadcast(torch.from_numpy(part), src=rank)
            gathered.append(part)
        return gathered

    def barrier(self) -> None:
        """See `Together.barrier`."""
        dist.barrier()

    def close(self) -> None:
        """See `Together.close`."""
        dist.destroy_process_group()


def start(backend: str = "gloo") -> Together:
    """Join the other processes if `torchrun` started several; alone otherwise.

    Close what this gives when done: `with contextlib.closing(start()) as together:`.

    Args:
        backend: Of `torch.distributed`; it must carry tensors on the CPU.

    Raises:
        FacekdError: The environment speaks of several processes but does not say how to meet them.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if world == "1":
        return Alone()
    try:
        dist.init_process_group(backend, timeout=_PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise FacekdError(
            f"WORLD_SIZE={world} speaks of several processes, which cannot meet ({error}); start "
            "them with torchrun, or unset WORLD_SIZE."
        ) from error
    return Processes()
