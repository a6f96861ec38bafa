"""What a training run tells: a progress bar, CSV and JSONL files, TensorBoard where installed."""

import csv
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from facekd.errors import FacekdError
from facekd.files import write_text
from facekd.train.timing import PARTS, StepTimer, peak_memory_mib

EVERY = 20  # steps between two rows of metrics.csv
OF_THE_MACHINE = ("images_per_second", *(f"{part}_ms" for part in PARTS), "memory_mib")


class Log:
    """One stage's log; a context manager.

    Args:
        folder: Where metrics.csv, validation.csv, log.jsonl (both) and tensorboard/ go.
        title: Name on the progress bar.
        step: Steps already done; later rows of an interrupted run are dropped from the files.
        total_steps: Steps of the whole stage.
    """

    def __init__(self, folder: Path, title: str, step: int, total_steps: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        keep_rows(folder / "metrics.csv", step)
        keep_rows(folder / "validation.csv", min(step, total_steps - 1))  # the last look is redone
        _keep_lines(folder / "log.jsonl", step, total_steps)
        self.bar = tqdm(
            total=total_steps, initial=step, desc=title, unit="step", dynamic_ncols=True
        )
        self.board = _tensorboard(folder / "tensorboard", step)
        self._since, self._images = time.perf_counter(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()
        if self.board is not None:
            self.board.close()

    def step(
        self, step: int, epoch: float, images: int, values: Mapping[str, Any], timer: StepTimer
    ) -> None:
        """Tell of a finished step; every twentieth becomes a row.

        Args:
            step: Steps done.
            epoch: The same in epochs.
            images: Images in this step, of all processes.
            values: lr, loss, grad_norm and the terms; tensors are read only for a row.
            timer: Where the time went; read only for a row.
        """
        self.bar.update(1)
        self._images += images
        if step % EVERY and step != self.bar.total:
            return
        now = time.perf_counter()
        rate = self._images / max(now - self._since, 1e-9)
        self._since, self._images = now, 0
        row = {"step": step, "epoch": round(epoch, 4)}
        row |= {key: float(f"{float(v):.6g}") for key, v in values.items()}
        parts = timer.read().values()
        machine = (round(rate, 1), *parts, peak_memory_mib(timer.device))
        row |= dict(zip(OF_THE_MACHINE, machine, strict=True))
        append_rows(self.folder / "metrics.csv", [row])
        self._to_lines({"what": "training", **row})
        self._to_board("train", step, row)
        self.bar.set_postfix_str(f"loss {row['loss']:.3f}, {rate:.0f} img/s", refresh=False)

    def validation(
        self, step: int, epoch: float, bench: str, values: Mapping[str, float | None]
    ) -> None:
        """Write one look at a verification set; None is a number that it is too small for."""
        row = {"step": step, "epoch": round(epoch, 4), "bench": bench, **values}
        append_rows(self.folder / "validation.csv", [row])
        self._to_lines({"what": "validation", **row})
        known = {key: value for key, value in values.items() if value is not None}
        self._to_board(bench, step, known)
        shown = ", ".join(f"{key} {100 * value:.2f} %" for key, value in known.items())
        self.bar.write(f"{self.bar.desc}: epoch {epoch:.2f}, {bench}: {shown}")
        self._since = time.perf_counter()

    def _to_lines(self, entry: Mapping[str, Any]) -> None:
        path = self.folder / "log.jsonl"
        with _told(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def _to_board(self, group: str, step: int, row: Mapping[str, Any]) -> None:
        if self.board is None:
            return
        for key, value in row.items():
            if key not in ("step", "epoch"):
                self.board.add_scalar(f"{group}/{key}", value, step)


class Quiet(Log):
    """The log of every process but the first: it tells nothing."""

    def __init__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def step(
        self, step: int, epoch: float, images: int, values: Mapping[str, Any], timer: StepTimer
    ) -> None:
        """Tell nothing."""
        if step % EVERY == 0:
            timer.read()  # it keeps events until it is read


def append_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Append rows to a CSV file, under the columns that it has; a new file gets the rows' own.

    Raises:
        FacekdError: It cannot be written.
    """
    with _told(path):
        header = _first_line(path)
        columns = next(csv.reader([header])) if header else list(rows[0])
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            if not header:
                writer.writeheader()
            writer.writerows(rows)


def _first_line(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open(encoding="utf-8") as file:
        return file.readline()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FacekdError(
            f"cannot write {path}: {error.strerror or error}; free space, and the same command "
            "goes on from the last checkpoint."
        ) from error


def _keep_lines(path: Path, step: int, total_steps: int) -> None:
    """As `keep_rows`, of both kinds."""
    if not path.exists():
        return
    last = {"training": step, "validation": min(step, total_steps - 1)}
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            entry = json.loads(line)
            kept += [line] if entry["step"] <= last[entry["what"]] else []
    write_text(path, "".join(kept))


def keep_rows(path: Path, step: int) -> None:
    """Drop rows that a resumed run is going to write again."""
    if not path.exists():
        return
    header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    whole = [row for row in rows if row.endswith("\n") and int(row.partition(",")[0]) <= step]
    write_text(path, header + "".join(whole))


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step)
