"""Start the training command as a user does: `torchrun -m facekd.cli.train RECIPE`."""

import os
import subprocess
import sys

RUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
TRAIN = ["-m", "facekd.cli.train"]


def start_together(world, *command):
    """Start `command` (`*TRAIN, recipe` or a script) in so many processes."""
    return subprocess.Popen(
        [*RUN, f"--nproc-per-node={world}", *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process, code=0):
    """Wait for it; gives what it wrote."""
    try:
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == code, f"{out}\n{err}"
    return out, err


def children(pid):
    """The processes that a process started."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
