"""The checkpoints of one stage: written whole or not at all, the last few and the best kept.

`<run>/<stage>/checkpoints/step-00001234/` appears by one rename, once all its files and their
folder entries are on the disk; until then it grows in a hidden folder beside. A stage that is
finished leaves none: its results hold what is wanted of it, the best network among them.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

from facekd import ranks
from facekd.data_tools.staging import staging
from facekd.errors import FacekdError
from facekd.files import flush
from facekd.train.checkpoint import (
    Training,
    check_whole,
    load_checkpoint,
    read_values,
    write_manifest,
    write_part,
)

T = TypeVar("T")
_NAME = re.compile(r"step-(\d{8,})")


class Checkpoints:
    """Where an unfinished stage stands, on the disk.

    Args:
        stage_folder: `<run>/<stage>`.
        keep: How many of the last ones stay, besides the best.
    """

    def __init__(self, stage_folder: Path, keep: int) -> None:
        self.folder = stage_folder / "checkpoints"
        self.format1 = stage_folder / "state.safetensors"
        self.keep = keep
        self._here: int | None = None  # the step that the newest one is of

    @property
    def begun(self) -> bool:
        """Whether there is something to go on from, whole or not."""
        return bool(self._newest_first())

    def values(self) -> dict[str, Any] | None:
        """Plain values of the newest one whose manifest can be read; None when there is none.

        Raises:
            FacekdError: There are some, all damaged.
        """
        found, _ = self._newest(read_values)
        return None if found is None else read_values(found)

    def find(self) -> Path | None:
        """The newest whole one, every byte checked; None when there is none. All ranks agree.

        Those that are damaged are named on the screen.

        Raises:
            FacekdError: There are some, all damaged.
        """

        def look() -> Path | None:
            found, faults = self._newest(check_whole)
            for fault in faults:
                print(f"{fault} The one before it is taken.")
            return found

        return _together(lambda: None if ranks.rank() else look(), self.folder)[0]

    def load(self, path: Path, training: Training) -> None:
        """Put a state back.

        Raises:
            FacekdError: As `load_checkpoint`.
        """
        try:
            load_checkpoint(path, training)
        except FacekdError as error:
            raise FacekdError(f"{error} Delete {self._all} to train the stage again.") from error
        self._here = training.step

    def save(self, training: Training, about: Mapping[str, Any]) -> None:
        """Write a checkpoint of this step, unless it is there; every rank calls this.

        Args:
            training: The state.
            about: Plain values to keep beside it: `settings`, compared on resume, and more.

        Raises:
            FacekdError: It cannot be written (a full disk), on any rank; the last one still stands.
        """
        if training.step == self._here:
            return
        path = self.path_of(training.step)
        lead = ranks.rank() == 0
        with ExitStack() as stack:
            place = staging(self.folder / "new")
            part = _together(lambda: stack.enter_context(place) if lead else None, path)[0]
            assert part is not None
            parts = _together(lambda: write_part(part, training), path)

            def publish() -> None:
                write_manifest(part, training, parts, about)
                if path.exists():  # damaged, or an earlier one would not have been taken
                    shutil.rmtree(path)
                part.rename(path)
                for folder in (self.folder, *self.folder.parents[:2]):
                    flush(folder)
                self._prune(training)

            _together(lambda: publish() if lead else None, path)
        self._here = training.step

    def clear(self) -> None:
        """Remove all."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.format1.unlink(missing_ok=True)

    def path_of(self, step: int) -> Path:
        """Where the checkpoint of a step is, or would be."""
        return self.folder / f"step-{step:08d}"

    @property
    def _all(self) -> Path:
        return self.folder if self.folder.exists() else self.format1

    def _by_step(self) -> dict[int, Path]:
        """Those there are, the newest first."""
        there = self.folder.iterdir() if self.folder.is_dir() else ()
        named = {int(m[1]): path for path in there if (m := _NAME.fullmatch(path.name))}
        return {step: named[step] for step in sorted(named, reverse=True)}

    def _newest_first(self) -> list[Path]:
        return [*self._by_step().values(), *([self.format1] if self.format1.is_file() else [])]

    def _newest(self, check: Callable[[Path], Any]) -> tuple[Path | None, list[str]]:
        faults = []
        for path in self._newest_first():
            try:
                check(path)
            except FacekdError as error:
                faults.append(str(error))
            else:
                return path, faults
        if faults:
            raise FacekdError(f"{' '.join(faults)} Delete {self._all} to train the stage again.")
        return None, []

    def _prune(self, training: Training) -> None:
        """Keep the last few up to this step, and the best; those of later steps were damaged."""
        there = self._by_step()
        kept = [step for step in there if step <= training.step][: self.keep]
        best = training.best["step"] if training.best else None
        for step, path in there.items():
            if step not in (*kept, best):
                shutil.rmtree(path, ignore_errors=True)
        self.format1.unlink(missing_ok=True)


def is_best(training: Training, looks: Mapping[str, Mapping[str, float | None]]) -> bool:
    """Whether a look at the verification sets is the best yet; remembers it if so.

    Args:
        training: What was looked at; its `best` is set.
        looks: Numbers by set, as rank 0 has them; the first set's accuracy counts.
    """
    bench, values = next(iter(ranks.each(dict(looks))[0].items()), ("", {}))
    accuracy = values.get("accuracy")
    before = training.best
    if accuracy is None or (before and before["bench"] == bench and before["accuracy"] >= accuracy):
        return False
    training.best = {"bench": bench, "step": training.step, "accuracy": accuracy}
    return True


def _together(work: Callable[[], T], path: Path) -> list[T]:
    """Do it on every rank; what all found, or the first fault of any, raised on all."""
    found: T | None = None
    fault = ""
    try:
        found = work()
    except FacekdError as error:
        fault = str(error)
    except OSError as error:
        fault = (
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder. "
            "The last good checkpoint is untouched."
        )
    said = ranks.each((found, fault))
    for _, fault in said:
        if fault:
            raise FacekdError(fault)
    return [answer for answer, _ in said]  # type: ignore[misc]
