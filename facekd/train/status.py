"""`<run>/<stage>/status.json`: whether a stage is running, was interrupted, failed or finished."""

import json
import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from facekd.files import write_text
from facekd.train.checkpoint import Training
from facekd.train.stopping import Interrupted


@contextmanager
def told_status(folder: Path, run: Training, total_steps: int) -> Iterator[None]:
    """Write what becomes of a stage while the block runs; for the first process only.

    A stage that says `running` while its process does not run was killed.

    Args:
        folder: The stage's.
        run: Its state.
        total_steps: Steps of the whole stage.
    """

    def tell(status: str, **more: Any) -> None:
        content: dict[str, Any] = {
            "format": 1,
            "status": status,
            "step": run.step,
            "total_steps": total_steps,
        }
        content |= {"host": platform.node(), "pid": os.getpid()}
        write_text(folder / "status.json", json.dumps(content | more, indent=2) + "\n")

    tell("running")
    try:
        yield
    except Interrupted as stopped:
        tell("interrupted", signal=signal.Signals(stopped.signum).name)
        raise
    except Exception as error:
        tell("failed", reason=str(error) or type(error).__name__)
        raise
    tell("finished")
