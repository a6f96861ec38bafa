"""Chosen images of labelled sets written as sets of their own, with a map of their labels."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FacekdError
from ..files import write_text
from .columns import Int64s
from .items import Item, Items
from .labelled import LabelledImages
from .select import Joined, join
from .staging import check_place, publish_folder, staging
from .writers import SetKind, write_set

_MAP_COLUMNS = ("old_label", "old_name", "name", "label", "images")
SPLIT_MAP = "labels.csv"


@dataclass(frozen=True)
class Chosen:
    """Images of one or more sets in the order of their new labels, to be written.

    Attributes:
        sets: The sets, by their names.
        of: int64 (n,), each image's set.
        rows: int64 (n,), its place there.
        labels: int64 (n,), its new label, from 0 without gaps.
        identities: Every identity of each set: its old and new label and name.
        renamed: Whether identities are written under their new names; else as the set has them.
    """

    sets: Mapping[str, LabelledImages]
    of: Int64s
    rows: Int64s
    labels: Int64s
    identities: Sequence[Joined]
    renamed: bool

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Item]:
        """Read the images one by one; the second of two of one name gets its set's name before."""
        sources = list(self.sets)
        items = [Items(one) for one in self.sets.values()]
        names = {one.label: one.name for one in self.identities}
        taken: set[str] = set()
        current = -1
        chosen = zip(self.of.tolist(), self.rows.tolist(), self.labels.tolist(), strict=True)
        for number, row, label in chosen:
            item = items[number][row]
            if label != current:
                current, taken = label, set()
            identity = names[label] if self.renamed else item.identity
            name = item.name
            if f"{identity}/{name}" in taken:
                name = f"{sources[number]}_{name}"
            taken.add(f"{identity}/{name}")
            vector = item.vector
            if vector is not None:
                vector = np.concatenate([np.array([label], dtype=np.float32), vector[1:]])
            yield Item(identity, name, label, item.encoded, None, vector)

    def table(self) -> list[tuple[str | int, ...]]:
        """The rows of the map of labels, one an identity of a source."""
        rows: list[tuple[str | int, ...]] = []
        for number, source in enumerate(self.sets):
            labels, counts = np.unique(self.labels[self.of == number], return_counts=True)
            count = dict(zip(labels.tolist(), counts.tolist(), strict=True))
            rows += [
                (source, one.old_label, one.old_name, one.name, one.label, count[one.label])
                for one in self.identities
                if one.source == source
            ]
        return rows


Show = Callable[[Chosen, str], Iterable[Item]]


def choose(source: LabelledImages, rows: Int64s, name: str | None = None) -> Chosen:
    """Some images of one set; labels are numbered anew in the order of the old ones.

    Args:
        source: The set.
        rows: Which of its images.
        name: What the map calls the set; its own name when None.
    """
    name = name or source.name
    old, new = np.unique(source.labels[rows], return_inverse=True)
    order = np.argsort(new, kind="stable")
    texts = identity_texts(source)
    identities = [
        Joined(name, label, texts[label], texts[label], i) for i, label in enumerate(old.tolist())
    ]
    nowhere = np.zeros(len(rows), dtype=np.int64)
    renamed = source.names is not None or "/" not in source.ids[0]
    return Chosen({name: source}, nowhere, rows[order], new[order], identities, renamed)


def merge(sources: Mapping[str, LabelledImages], same_names: bool = False) -> Chosen:
    """All images of several sets, with joint labels.

    Args:
        sources: The sets, by the names that keep their identities apart.
        same_names: Identities of equal name are one person; else `source__name` keeps them apart.

    Raises:
        FacekdError: `same_names`, and a set has no names; or two joint names are equal.
    """
    if same_names:
        for name, source in sources.items():
            if source.names is None:
                raise FacekdError(
                    f"{name} has no identity names, only label numbers, and equal numbers are not "
                    "equal people; leave --join out, or put a .lst with names beside it."
                )
    identities = join({name: identity_texts(one) for name, one in sources.items()}, same_names)
    new = {(one.source, one.old_label): one.label for one in identities}
    of, rows, labels = [], [], []
    for number, (name, source) in enumerate(sources.items()):
        old, place = np.unique(source.labels, return_inverse=True)
        of.append(np.full(len(place), number, dtype=np.int64))
        rows.append(np.arange(len(place), dtype=np.int64))
        labels.append(np.array([new[name, label] for label in old.tolist()])[place])
    joint = np.concatenate(labels)
    order = np.argsort(joint, kind="stable")
    return Chosen(
        sources,
        np.concatenate(of)[order],
        np.concatenate(rows)[order],
        joint[order],
        identities,
        renamed=True,
    )


def identity_texts(source: LabelledImages) -> dict[int, str]:
    """Label -> the identity's name, or the label's digits where it has none."""
    names = source.names
    labels = np.unique(source.labels).tolist()
    return {label: str(label) if names is None else names[label] for label in labels}


def write_split(
    parts: Mapping[str, Chosen], folder: Path, kind: SetKind, show: Show, force: bool = False
) -> None:
    """Write the parts into one folder, with `labels.csv`; it appears when all of it is whole.

    Args:
        parts: By name: `NAME.rec`, or the folder `NAME`.
        folder: Where they go.
        kind: What they are written as.
        show: Wraps each part for a progress bar.
        force: Replace a folder that this function wrote.

    Raises:
        FacekdError: Something stands there; or as `write_set`.
    """
    check_split_folder(folder, force)
    with staging(folder) as stage:
        for name, part in parts.items():
            write_set(show(part, name), part_path(stage, name, kind), kind)
        rows = [row for part in parts.values() for row in part.table()]
        write_map(stage / SPLIT_MAP, rows, "part")
        publish_folder(stage, folder)


def part_path(folder: Path, name: str, kind: SetKind) -> Path:
    """Where a part of a split lies."""
    return folder / (f"{name}.rec" if kind == "rec" else name)


def check_split_folder(folder: Path, force: bool) -> None:
    """Refuse a folder that holds something, or with `force` something that is no split.

    Raises:
        FacekdError: It does, or it cannot be made.
    """
    check_place(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FacekdError(f"{folder} is a file; give a folder's name.")
    if any(folder.iterdir()):
        if not force:
            raise FacekdError(f"{folder} is there already; give another name, or --force.")
        if not (folder / SPLIT_MAP).is_file():
            raise FacekdError(
                f"{folder} was not written by facekd-data split (it has no {SPLIT_MAP}) and is not "
                "replaced; remove it yourself, or give another name."
            )


def write_map(path: Path, rows: Sequence[Sequence[str | int]], first: str = "source") -> None:
    """Write a map of labels as CSV, atomically; `first` is the first column's name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([(first, *_MAP_COLUMNS), *rows])
    write_text(path, text.getvalue())


def map_path(out: Path) -> Path:
    """Where the map of a set's labels lies: beside the set, `NAME.labels.csv`."""
    return out.with_name(f"{out.stem if out.suffix in ('.rec', '.tar') else out.name}.labels.csv")
