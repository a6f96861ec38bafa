"""What kind of thing a file or folder is, by its name and by what lies in it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import FacekdError, did_you_mean
from .folder import SUFFIXES

Kind = Literal[
    "records",
    "list",
    "bin",
    "folder",
    "shards",
    "image",
    "pairs",
    "cfp",
    "ijbb",
    "ijbc",
    "array",
    "scores",
    "report",
    "json",
    "model",
]

_BY_SUFFIX: dict[str, Kind] = {
    ".rec": "records",
    ".lst": "list",
    ".bin": "bin",
    ".tar": "shards",
    ".txt": "pairs",
    ".csv": "pairs",
    ".npy": "array",
    ".npz": "scores",
    ".json": "json",
    **dict.fromkeys((".pt", ".pth", ".safetensors", ".params", ".onnx"), "model"),
    **dict.fromkeys(sorted(SUFFIXES), "image"),
}


@dataclass(frozen=True)
class Place:
    """A thing that facekd knows how to look at.

    Attributes:
        kind: What it is.
        path: The file or folder that stands for it: the `.rec` for its `.idx` or its folder.
    """

    kind: Kind
    path: Path


def locate(path: str | Path) -> Place:
    """Tell what a path is; nothing is opened but folders, to see the names in them.

    A folder with a single `.rec` file in it (as MS1MV2 and MS1MV3 come) stands for that file, and
    so do the `.idx` and the `.lst` beside a `.rec`.

    Raises:
        FacekdError: There is nothing of that name, it is empty or may not be read, or it is of no
            known kind.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _folder(path)
        if not path.exists():
            if "*" in path.name or "{" in path.name:
                if path.suffix == ".rec":
                    raise FacekdError(f"{path} means several .rec files: name one of them.")
                return Place("shards", path)
            raise FacekdError(f"{path} does not exist.")
        if not path.is_file():
            raise FacekdError(f"{path} is neither a file nor a folder.")
        return _file(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FacekdError(f"cannot read {path}: {reason}.") from error


def _file(path: Path) -> Place:
    suffix = path.suffix.lower()
    records = path.with_suffix(".rec")
    if suffix in (".idx", ".lst") and records.is_file():
        return Place("records", records)
    if suffix == ".idx":
        raise FacekdError(
            f"{path} is an index, and there is no {records.name} beside it: it says nothing alone."
        )
    if suffix not in _BY_SUFFIX:
        raise FacekdError(
            f"{path} is of no kind that is known by its suffix {suffix!r}; "
            f"{did_you_mean(suffix, _BY_SUFFIX)}"
        )
    with path.open("rb") as file:
        if not file.read(1):
            raise FacekdError(f"{path} is empty: copy it again.")
    if path.name == "results.json":
        return Place("report", path.parent)
    if suffix == ".json" and path.with_suffix(".npy").is_file():
        return Place("array", path.with_suffix(".npy"))
    return Place(_BY_SUFFIX[suffix], path)


def _folder(path: Path) -> Place:
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries)
    if not names:
        raise FacekdError(f"{path} is an empty folder.")
    if "results.json" in names:
        return Place("report", path)
    for name in ("ijbc", "ijbb"):
        if (path / "meta" / f"{name}_face_tid_mid.txt").is_file():
            return Place("ijbc" if name == "ijbc" else "ijbb", path)
    if (path / "Protocol" / "Pair_list_F.txt").is_file():
        return Place("cfp", path)
    records = [path / name for name in names if name.endswith(".rec") and (path / name).is_file()]
    if len(records) > 1:
        raise FacekdError(
            f"{path} holds {len(records)} .rec files: name one of them, such as {records[0]}."
        )
    if records:
        return Place("records", records[0])
    if any(name.endswith(".tar") and (path / name).is_file() for name in names):
        return Place("shards", path)
    return Place("folder", path)
