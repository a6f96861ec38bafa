"""The processes that train a stage together: how they meet and part, and what wraps the network.

`torchrun --nproc-per-node=N -m facekd.cli.train RECIPE` starts them, on one host or on several;
all must see the same run folder. `torch.distributed` does the rest: gloo between CPUs, NCCL between
CUDA devices, one device a process.
"""

import io
import os
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from facekd import ranks
from facekd.errors import FacekdError
from facekd.eval.together import Together
from facekd.recipe import Stage
from facekd.together import start
from facekd.train.step_module import StepModule
from facekd.train.stopping import Interrupted

Module = TypeVar("Module", bound=nn.Module)
_RANK_SEEDS = 1_000_003  # between the seeds of two processes


@contextmanager
def joined(stages: list[Stage]) -> Iterator[Together]:
    """Meet the processes that `torchrun` started; alone otherwise. Only the first one prints.

    Args:
        stages: What will be trained; with a CUDA device among them each process takes its own.

    Raises:
        FacekdError: They cannot meet, a host has too few devices, or another process ended.
    """
    backend = "gloo"
    if torch.cuda.is_available() and any(stage.device != "cpu" for stage in stages):
        _take_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "cpu:gloo,cuda:nccl"
    together = start(backend)
    nowhere = redirect_stdout(io.StringIO()) if together.rank else nullcontext()
    try:
        with nowhere, lost_process_told(together):
            yield together
    except Interrupted:
        together.close()
        raise
    except FacekdError as error:
        if together.rank:
            raise FacekdError(f"process {together.rank}: {error}") from error
        raise
    together.close()


@contextmanager
def lost_process_told(together: Together) -> Iterator[None]:
    """A collective that fails because another process ended, as a sentence.

    Raises:
        FacekdError: In place of the backend's own error.
    """
    try:
        yield
    except RuntimeError as error:
        if together.world == 1 or not _of_a_lost_process(error):
            raise
        raise FacekdError(
            f"one of the {together.world} processes ended, so the others stopped; what it printed "
            "says why. The same command goes on from the last checkpoint."
        ) from error


def _take_device(local: int) -> None:
    count = torch.cuda.device_count()
    if local >= count:
        raise FacekdError(
            f"{local + 1} processes or more were started on this host, and it has {count} CUDA "
            f"devices; give torchrun --nproc-per-node={count}."
        )
    torch.cuda.set_device(local)


def _of_a_lost_process(error: RuntimeError) -> bool:
    told = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in told or "nccl" in told


def check_batch(stage: Stage) -> None:
    """Make sure that a stage can be shared among the processes that were started.

    Raises:
        FacekdError: The batch cannot be cut into equal parts, or `sync_bn` is set on the CPU.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    parts = world * stage.accumulate
    cut = f"{world} processes x accumulate {stage.accumulate} = {parts} parts"
    if stage.batch_size % parts:
        raise FacekdError(
            f"batch_size {stage.batch_size} is the batch of all processes, and {cut} do not divide "
            "it; choose a multiple."
        )
    if stage.batch_size < 2 * parts and not stage.freeze_bn:
        raise FacekdError(
            f"batch_size {stage.batch_size} in {cut} leaves one image for a batch norm; raise it, "
            "or set freeze_bn."
        )
    if stage.sync_bn and (stage.device == "cpu" or not torch.cuda.is_available()):
        raise FacekdError(
            "sync_bn is torch's SyncBatchNorm, which runs on CUDA devices only; leave it out here, "
            "or set freeze_bn."
        )


def share_network(whole: StepModule, not_shared: Collection[str] = ()) -> nn.Module:
    """Wrap what a step runs so that gradients are averaged over processes; alone: as it is.

    Buffers stay each process's own: batch norm's running statistics are saved from the first.

    Args:
        whole: Network and objective, equal in every process.
        not_shared: Parameters that differ between processes by design, such as a sharded head's,
            as `whole.named_parameters()` calls them.
    """
    if ranks.world() == 1:
        return whole
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(  # type: ignore[no-untyped-call]
        whole, not_shared
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of a new name that older torch lacks
        return DistributedDataParallel(
            whole,
            broadcast_buffers=False,
            find_unused_parameters=bool(whole.objective.maps),  # they may leave layers unused
        )


def sync_batch_norm(module: Module) -> Module:
    """The module with every batch norm inside it over the images of all processes."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-any-return,no-untyped-call]


def seed_this_process(seed: int) -> None:
    """Give each process but the first its own random numbers; call when all weights are made."""
    if ranks.rank():
        torch.manual_seed((seed + _RANK_SEEDS * ranks.rank()) % 2**63)


def refuse_processes(what: str) -> None:
    """Stop where several processes make no sense.

    Raises:
        FacekdError: `torchrun` started several.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise FacekdError(f"{what}; start it without torchrun.")
