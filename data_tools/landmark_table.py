"""Landmarks as a CSV: image, five points, score and box; written by `align`, read by it again."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..files import atomic_path
from .csv_table import CsvTable, read_csv
from .detect import Detections

_POINTS = [f"{axis}{i}" for i in range(1, 6) for axis in "xy"]
_BOX = ["left", "top", "right", "bottom"]
COLUMNS = ["image", *_POINTS, "score", *_BOX, "crop"]


@dataclass(frozen=True)
class Face:
    """A face that was cut out.

    Attributes:
        crop: The crop's path below the target folder.
        numbers: x1, y1 ... x5, y5, score, left, top, right, bottom: float32 each.
    """

    crop: str
    numbers: list[float]


def faces_of(found: Detections, crops: Iterable[str]) -> list[Face]:
    """One `Face` a crop, of the first faces found."""
    rows = np.concatenate([found.landmarks.reshape(-1, 10), found.scores[:, None], found.boxes], 1)
    return [Face(crop, row.tolist()) for crop, row in zip(crops, rows, strict=False)]


def write_landmarks(path: str | Path, rows: Iterable[tuple[str, Face]]) -> None:
    """Write one line a face, with as many digits as a float32 needs to come back unchanged."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for image, face in rows:
            numbers = np.asarray(face.numbers, np.float32)
            writer.writerow([image, *("" if np.isnan(x) else str(x) for x in numbers), face.crop])


def read_landmarks(path: str | Path) -> dict[str, Detections]:
    """Read a CSV with the columns `image,x1,y1,...,x5,y5[,score][,left,top,right,bottom]`.

    An image may have several lines, one a face. Without the last four columns a face's box is its
    landmarks' own. Other columns are not read.

    Returns:
        Faces by image, in the order of the file.

    Raises:
        FacekdError: It cannot be read, lacks a column, or holds something that is no number.
    """
    table = read_csv(path)
    landmarks = _numbers(table, _POINTS).reshape(-1, 5, 2)
    if "score" in table.columns:
        scores = _numbers(table, ["score"], empty=True)[:, 0]
    else:
        scores = np.full(len(table), np.nan, np.float32)
    if set(_BOX) <= set(table.columns):
        boxes = _numbers(table, _BOX)
    else:
        boxes = np.concatenate([landmarks.min(axis=1), landmarks.max(axis=1)], axis=1)
    every = Detections(boxes, landmarks, scores)
    lines: dict[str, list[int]] = {}
    for i, image in enumerate(table.column("image")):
        lines.setdefault(image, []).append(i)
    return {image: every.take(np.array(rows)) for image, rows in lines.items()}


def _numbers(table: CsvTable, columns: list[str], empty: bool = False) -> NDArray[np.float32]:
    """float32 (rows, columns); an empty field is nan where it may be."""
    values = np.empty((len(table), len(columns)), np.float32)
    for j, name in enumerate(columns):
        for i, text in enumerate(table.column(name)):
            try:
                values[i, j] = float("nan" if empty and not text else text)
            except ValueError:
                raise FacekdError(f"{table.where(i)}: {name} is {text!r}, no number.") from None
            if not np.isfinite(values[i, j]) and not (empty and not text):
                raise FacekdError(f"{table.where(i)}: {name} is {text!r}, no finite number.")
    return values
