"""Running a study: methods x seeds, by one process or several, from where it stopped."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from facekd.study.grid import Grid, describe, make_grid
from facekd.study.work import failures, work
from facekd.train.loop import Interrupted


def run_study(path: str, overrides: Sequence[str] = (), jobs: int = 1, check: bool = False) -> int:
    """Make every run of a study that is not in its table yet.

    Args:
        path: The study file.
        overrides: `key.path=value` over the study.
        jobs: Processes at once; each has its share of the cores.
        check: Say what would be done, and train nothing.

    Returns:
        0, or 2 where runs failed.

    Raises:
        FacekdError: Something is wrong with the study; nothing was trained.
        facekd.train.loop.Interrupted: A signal stopped it; everything is saved.
    """
    threads, loaders = _share(jobs)
    grid = make_grid(path, overrides, loaders)
    print(describe(grid, jobs), flush=True)
    if check:
        print("The study is sound; nothing was trained.")
        return 0
    if all(run.key in grid.done() for run in grid.runs):
        return 0
    sitting = f"{datetime.now(UTC).isoformat()} {os.getpid()}"
    threads = grid.study.threads or threads
    if jobs > 1:
        _in_processes(path, overrides, jobs, threads, sitting)
    else:
        if grid.study.threads:
            torch.set_num_threads(threads)
        work(grid, sitting, jobs)
    return _end(grid, sitting)


def study_worker(path: str, overrides: Sequence[str], jobs: int, sitting: str) -> None:
    """One of the processes that `run_study` starts.

    Raises:
        facekd.train.loop.Interrupted: A signal stopped it; everything is saved.
    """
    threads, loaders = _share(jobs)
    grid = make_grid(path, overrides, loaders)
    torch.set_num_threads(grid.study.threads or threads)
    work(grid, sitting, jobs)


def _share(jobs: int) -> tuple[int, int]:
    """Threads and loader processes of one of so many processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = max(1, (cores or 1) // jobs)
    return threads, threads - 1 if threads > 2 else 0


def _end(grid: Grid, sitting: str) -> int:
    done = grid.done()
    failed = failures(grid, sitting)
    left = [run.words for run in grid.runs if run.key not in done]
    if not left:
        print(f"all {len(grid.runs)} runs are done; --table shows them")
        return 0
    print(f"error: {len(left)} of {len(grid.runs)} runs are not done", file=sys.stderr)
    for line in failed or left:
        print(f"  {line}", file=sys.stderr)
    print("the same command tries them again", file=sys.stderr)
    return 2


def _in_processes(
    path: str, overrides: Sequence[str], jobs: int, threads: int, sitting: str
) -> None:
    """Start the processes, hand signals on to them, and wait for all.

    They have process groups of their own: Ctrl-C reaches each of them once, through this one.
    """
    command = [sys.executable, "-m", "facekd.cli.train", "--study", path, *overrides]
    command += ["--jobs", str(jobs), "--sitting", sitting]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    children: list[subprocess.Popen[bytes]] = []
    received: list[int] = []

    def hand_on(signum: int, frame: object) -> None:
        received.append(signum)
        for child in children:
            child.send_signal(signum)

    before: dict[int, Any] = {}
    for stop in (signal.SIGINT, signal.SIGTERM):
        before[stop] = signal.signal(stop, hand_on)
    try:
        for _ in range(jobs):
            if not received:
                children.append(subprocess.Popen(command, env=environment, process_group=0))
        for child in children:
            child.wait()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if received:
        raise Interrupted(
            received[0], "the study stopped, and its state is saved; the same command goes on."
        )
