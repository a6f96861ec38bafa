"""Training and judging the runs of a study, by one process or several that share the work.

A process takes a run by locking its folder, so two never make the same one. What a run builds on
is locked and made in the same way. A run is done when its row is in the table; everything before
that can be interrupted at any time and goes on from its last checkpoint.
"""

import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from facekd.errors import FacekdError
from facekd.files import write_text
from facekd.locks import locked
from facekd.study.bench import judge
from facekd.study.grid import Grid, Run, left_words
from facekd.study.jobs import Job
from facekd.study.judged import Judged
from facekd.study.results import FORMAT, Row
from facekd.study.source import version
from facekd.train.loop import Interrupted
from facekd.train.stages import run_recipe

_WAIT = 2.0  # seconds between two looks whether another process has finished


def work(grid: Grid, sitting: str, jobs: int) -> None:
    """Make every run that has no row and that no other process is making.

    A run that fails leaves its error in its folder, and the others go on; `failures` lists them.

    Args:
        grid: The study.
        sitting: What this sitting is called; a run that failed in it is not tried again.
        jobs: Processes that share the work, for the time that is left.

    Raises:
        facekd.train.loop.Interrupted: A signal stopped it; everything is saved.
    """
    commit = version()
    while True:
        done = grid.done()
        left = [run for run in grid.runs if run.key not in done and not _failed(run, sitting)]
        if not left:
            return
        if not any(_try(grid, run, sitting, commit, jobs) for run in left):
            time.sleep(_WAIT)


def failures(grid: Grid, sitting: str) -> list[str]:
    """The runs that failed in this sitting, a line each."""
    found = []
    for run in grid.runs:
        content = _failed(run, sitting)
        if content:
            found.append(f"{run.words}: {content['error']} ({_error_path(run)})")
    return found


def _try(grid: Grid, run: Run, sitting: str, commit: str, jobs: int) -> bool:
    """Make a run unless another process is at it, or at what it builds on; whether it did."""
    needed = [job for job in run.job.all_built_on().values() if not job.finished]
    with ExitStack() as stack:
        for job in (run.job, *needed):
            if not stack.enter_context(locked(job.folder.with_name(f"{job.folder.name}.lock"))):
                return False
        if run.key in grid.done() or _failed(run, sitting):  # since the list was made
            return True
        try:
            row, told = _make(grid, run, commit)
        except Interrupted:
            raise
        except Exception as error:
            _fail(run, sitting, error)
            return True
        grid.results.add(row)
        _error_path(run).unlink(missing_ok=True)
    done = len(grid.done() & {one.key for one in grid.runs})
    print(f"[{done} of {len(grid.runs)}] {run.words}: {told}; {left_words(grid, jobs)}", flush=True)
    return True


def _make(grid: Grid, run: Run, commit: str) -> tuple[Row, str]:
    """Train what is not trained, and judge; gives the row and a line about it."""
    for job in run.job.all_built_on().values():
        _train(job)
    _train(run.job)
    with _into_log(run.job):
        numbers = judge(run.job, run.method, grid.benches, run.scores_folder)
    row = _row(run, numbers, commit)
    parts = [f"{name} {found.told}" for name, found in numbers.items()]
    return row, f"{', '.join(parts)}; {row['minutes']} min, {row['images_per_second']} images/s"


def _train(job: Job) -> None:
    if job.finished:
        return
    with _into_log(job):
        run_recipe(job.recipe)


def _row(run: Run, numbers: dict[str, Judged], commit: str) -> Row:
    summary = run.job.summary()
    before = sum(float(job.summary()["minutes"]) for job in run.job.all_built_on().values())
    row: dict[str, Any] = {
        "format": FORMAT,
        "study": run.study,
        "method": run.method,
        "seed": run.job.seed,
        "settings_hash": run.settings_hash,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit,
        "images": summary["images_seen"],
        "steps": summary["steps"],
        "minutes": summary["minutes"],
        "minutes_built_on": round(before, 2),
        "images_per_second": summary["images_per_second"],
        "threads": torch.get_num_threads(),
        "params": run.job.plan.params,
    }
    for name, found in numbers.items():
        row |= {f"{name}_{column}": value for column, value in found.columns.items()}
    return {key: str(value) for key, value in {**row, "settings": run.settings}.items()}


@contextmanager
def _into_log(job: Job) -> Iterator[None]:
    """What the training prints goes into the run's folder: the study tells one line a run."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with (
        (job.folder / "log.txt").open("a", encoding="utf-8") as file,
        redirect_stdout(file),
        redirect_stderr(file),
    ):
        yield


def _error_path(run: Run) -> Path:
    return run.job.folder / "error.json"


def _fail(run: Run, sitting: str, error: Exception) -> None:
    text = str(error) if isinstance(error, FacekdError) else f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    content = {"format": 1, "sitting": sitting, "error": text, "traceback": trace}
    write_text(_error_path(run), json.dumps(content, indent=2) + "\n")
    print(f"{run.words} failed: {text}", file=sys.stderr, flush=True)


def _failed(run: Run, sitting: str) -> dict[str, str]:
    """What is known of a failure in this sitting; empty where there was none."""
    path = _error_path(run)
    if not path.exists():
        return {}
    content: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return content if content.get("sitting") == sitting else {}
