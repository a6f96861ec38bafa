"""What a training run tells: a progress bar, metrics.csv, TensorBoard where it is installed."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from facekd.errors import FacekdError
from facekd.files import write_text

EVERY = 20  # steps between two rows of metrics.csv


class Log:
    """One stage's log; a context manager.

    Args:
        folder: Where metrics.csv, validation.csv and tensorboard/ go.
        title: Name on the progress bar.
        step: Steps already done; later rows of an interrupted run are dropped from the files.
        total_steps: Steps of the whole stage.
    """

    def __init__(self, folder: Path, title: str, step: int, total_steps: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        _keep_rows(folder / "metrics.csv", step)
        _keep_rows(folder / "validation.csv", min(step, total_steps - 1))  # the last look is redone
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

    def step(self, step: int, epoch: float, images: int, values: Mapping[str, Any]) -> None:
        """Tell of a finished step; every twentieth becomes a row.

        Args:
            step: Steps done.
            epoch: The same in epochs.
            images: Images in this step.
            values: lr, loss, grad_norm and the terms; tensors are read only for a row.
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
        row["images_per_second"] = round(rate, 1)
        _append(self.folder / "metrics.csv", row)
        self._to_board("train", step, row)
        self.bar.set_postfix_str(f"loss {row['loss']:.3f}, {rate:.0f} img/s", refresh=False)

    def validation(
        self, step: int, epoch: float, bench: str, values: Mapping[str, float | None]
    ) -> None:
        """Write one look at a verification set; None is a number that it is too small for."""
        _append(
            self.folder / "validation.csv",
            {"step": step, "epoch": round(epoch, 4), "bench": bench, **values},
        )
        known = {key: value for key, value in values.items() if value is not None}
        self._to_board(bench, step, known)
        shown = ", ".join(f"{key} {100 * value:.2f} %" for key, value in known.items())
        self.bar.write(f"{self.bar.desc}: epoch {epoch:.2f}, {bench}: {shown}")
        self._since = time.perf_counter()

    def _to_board(self, group: str, step: int, row: Mapping[str, Any]) -> None:
        if self.board is None:
            return
        for key, value in row.items():
            if key not in ("step", "epoch"):
                self.board.add_scalar(f"{group}/{key}", value, step)


def _append(path: Path, row: Mapping[str, Any]) -> None:
    try:
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
    except OSError as error:
        raise FacekdError(
            f"cannot write {path}: {error.strerror or error}; free space, and the same command "
            "goes on from the last checkpoint."
        ) from error


def _keep_rows(path: Path, step: int) -> None:
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
