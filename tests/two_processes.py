"""Run a piece of Python in processes that train together (gloo), and read what each found."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_FRAME = """
import torch
import torch.distributed as dist

rank, world = {rank}, {world}
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method="file://{folder}/meeting", rank=rank, world_size=world)
result = {{}}
{script}
torch.save(result, "{folder}/{{}}.pt".format(rank))
dist.destroy_process_group()
"""


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
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                _FRAME.format(rank=r, world=world, folder=folder, script=script),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for r in range(world)
    ]
    try:
        for process in running:
            errors = process.communicate(timeout=300)[1]
            assert process.returncode == 0, errors
    finally:
        for process in running:
            process.kill()
    return [torch.load(folder / f"{r}.pt", weights_only=True) for r in range(world)]


def in_this_process(script: str) -> dict[str, Tensor]:
    """What `script` finds where it trains alone."""
    names: dict[str, Any] = {"torch": torch, "rank": 0, "world": 1, "result": {}}
    exec(script, names)
    return names["result"]
