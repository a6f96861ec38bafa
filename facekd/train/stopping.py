"""Why a stage may stop early, agreed by all processes before each step: signals, a dead loader."""

import signal
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from torch.utils.data import DataLoader

from facekd.data.loader import Batch
from facekd.errors import FacekdError
from facekd.eval.together import Together

_STOPS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818  # not an error: the user asked for it
    """A signal stopped the stage after its state was saved.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


class Stopping:
    """Hands out the batches until one process has to stop; then all stop before the same step.

    A context manager: inside it SIGINT and SIGTERM are noted instead of obeyed. Alone, a second one
    of a kind does its usual work; among several processes it is `torchrun`'s own, and ignored.

    Args:
        together: The processes.
        save_minutes: Between two saves that `save_due` asks for.

    Attributes:
        save_due: Whether the state is to be saved after this step; equal in all processes.
        asked: Whether all stop.
    """

    def __init__(self, together: Together, save_minutes: float) -> None:
        self.together, self.save_minutes = together, save_minutes
        self.save_due = self.asked = False
        self._received: list[int] = []
        self._before: dict[int, Any] = {}
        self._saved_at = time.monotonic()
        self._signum = 0
        self._death: Exception | None = None

    def __enter__(self) -> Self:
        for signum in _STOPS:
            self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failed = kind is not None
        parting = (self.asked or failed) and self.together.world > 1  # torchrun signals the others
        for signum, handler in self._before.items():
            stop = parting and signum in _STOPS
            signal.signal(signum, signal.SIG_IGN if stop else handler)

    def batches(self, loader: DataLoader[Batch], check: Callable[[Batch], None]) -> Iterator[Batch]:
        """The loader's batches, each after all processes agreed to go on.

        Args:
            loader: Gives as many batches in every process.
            check: Raises where a batch may not be trained on.
        """
        found = iter(loader)
        # torch's own handler would raise in the middle of a step; `next` finds a dead loader, too
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            batch = self._next(loader, found)
            if batch is not None:
                check(batch)
            self.agree()
            if batch is None or self.asked:
                return
            yield batch

    def saved(self) -> None:
        """Tell that the state was just saved."""
        self._saved_at = time.monotonic()

    def reason(self, stage: str, step: int, total_steps: int) -> Exception:
        """What to raise, the state being saved."""
        told = f"stage {stage!r} stopped at step {step} of {total_steps}"
        goes_on = "its state is saved; the same command goes on from there."
        if self._signum:
            return Interrupted(self._signum, f"{told}, and {goes_on}")
        lines = str(self._death).splitlines() if self._death else ["of another process"]
        why = lines[0] if lines else type(self._death).__name__
        return FacekdError(
            f"{told} because a loader process died ({why}); {goes_on} With too little memory, set "
            "data.workers lower."
        )

    def _note(self, signum: int, frame: object) -> None:
        self._received.append(signum)
        if self.together.world == 1:
            signal.signal(signum, self._before[signum])

    def _next(self, loader: DataLoader[Batch], found: Iterator[Batch]) -> Batch | None:
        try:
            return next(found, None)
        except (RuntimeError, EOFError, OSError) as error:  # as what it was just doing fails
            if not loader.num_workers or not _of_a_dead_process(error):
                raise
            self._death = error
            return None

    def agree(self) -> None:
        """Hear of all processes' reasons to stop or to save; every process calls this."""
        due = time.monotonic() - self._saved_at > 60 * self.save_minutes
        mine = [
            *(signum in self._received for signum in _STOPS),
            self._death is not None,
            due and self.together.rank == 0,
        ]
        interrupts, terminations, deaths, saves = self.together.sum(np.array(mine, np.int64))
        self._signum = _STOPS[1] if terminations else _STOPS[0] if interrupts else 0
        self.asked = bool(interrupts or terminations or deaths)
        self.save_due = bool(saves)


def _of_a_dead_process(error: Exception) -> bool:
    return "DataLoader worker" in str(error) or isinstance(
        error, EOFError | ConnectionError | FileNotFoundError
    )
