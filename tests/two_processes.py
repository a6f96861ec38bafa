"""Run a piece of Python in processes that train together (gloo), and read what each found."""

import multiprocessing
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# They are forks of one process that has imported all: an import takes seconds.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["torch.distributed", "facekd.train.stages"])


def run_together(script: str, folder: Path, world: int = 2) -> list[dict[str, Tensor]]:
    """Run `script` in `world` processes of one group.

    Args:
        script: Python that may read `rank` and `world`, and puts tensors into the dict `result`.
        folder: An empty folder, where the processes meet; a hang of minutes is a failure.
        world: How many.

    Returns:
        Each rank's `result`.
    """
    running = [
        _PROCESSES.Process(target=_one, args=(script, folder, rank, world)) for rank in range(world)
    ]
    try:
        for process in running:
            process.start()
        for rank, process in enumerate(running):
            process.join(300)
            told = folder / f"{rank}.txt"
            assert process.exitcode == 0, told.read_text() if told.exists() else process.exitcode
    finally:
        for process in running:
            process.kill()
            process.join()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]


def _one(script: str, folder: Path, rank: int, world: int) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    try:
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
        torch.save(_result(script, rank, world), folder / f"{rank}.pt")
        dist.destroy_process_group()
    except BaseException:
        (folder / f"{rank}.txt").write_text(traceback.format_exc())
        raise


def in_this_process(script: str) -> dict[str, Tensor]:
    """What `script` finds where it trains alone."""
    return _result(script, 0, 1)


def _result(script: str, rank: int, world: int) -> dict[str, Tensor]:
    names: dict[str, Any] = {"torch": torch, "dist": dist, "rank": rank, "world": world}
    names["result"] = {}
    exec(script, names)
    return names["result"]
