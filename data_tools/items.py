"""Images on their way from one labelled set to another: name, label, untouched bytes."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..errors import FacekdError
from .columns import Int64s
from .folder import UNKNOWN_SUFFIX
from .images import Encoded
from .label_vectors import Vector
from .labelled import LabelledImages, RecordImages
from .texts import Digits

_MAGIC = (
    (b"\xff\xd8", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"BM", ".bmp"),
    (b"RIFF", ".webp"),
    (b"P5", ".pgm"),
    (b"P6", ".ppm"),
)


class Item(NamedTuple):
    """One image to be written.

    Attributes:
        identity: The identity's name: the folder it goes to.
        name: The file name.
        label: The class label.
        encoded: The image's bytes, written as they are.
        key: Its record number; counted where None.
        vector: All its labels, where it has several.
    """

    identity: str
    name: str
    label: int
    encoded: Encoded
    key: int | None = None
    vector: Vector | None = None


class Items(Sequence[Item]):
    """The images of a labelled set as they can be written, read one at a time; picklable.

    Where the set names neither identities nor files, those are numbers: label and record.

    Args:
        source: The set.
        rows: int64 (n,), which of its images, in this order; None: all.
        keys: int64 (n,), the record numbers they get; None: those they have.
    """

    def __init__(
        self, source: LabelledImages, rows: Int64s | None = None, keys: Int64s | None = None
    ) -> None:
        self.source = source
        self._rows, self._keys = rows, keys
        self._label_digits = len(str(source.labels.max()))
        self._nameless = isinstance(source.ids, Digits)
        self._key_digits = 0 if source.keys is None else len(str(source.keys.max()))

    def __len__(self) -> int:
        return len(self.source.images) if self._rows is None else len(self._rows)

    def __getitem__(self, i: int) -> Item:  # type: ignore[override]
        """Read image i, with its record number.

        Raises:
            FacekdError: It cannot be read, or is empty.
        """
        source = self.source
        row = i if self._rows is None else self._rows.item(i)
        vector: Vector | None
        encoded: Encoded
        if isinstance(source.images, RecordImages):
            header, encoded = source.images.records.read(row)
            vector = None if isinstance(header.label, float) else header.label
        else:
            encoded, vector = source.images.encoded(row), source.vectors.get(row)
        if not len(encoded):
            raise FacekdError(f"{source.images.where(row)} holds no image bytes.")
        label = source.labels.item(row)
        key = None if source.keys is None else source.keys.item(row)
        identity, name = self._place(row)
        if self._nameless:
            name = f"{key:0{self._key_digits}d}{image_suffix(encoded)}"
        if self._keys is not None:
            key = self._keys.item(i)
        return Item(identity, name, label, encoded, key, vector)

    def __iter__(self) -> Iterator[Item]:
        return (self[i] for i in range(len(self)))

    def take(self, part: slice) -> "Items":
        """Some of these alone, small enough to be sent to another process."""
        source = self.source
        rows = np.arange(*part.indices(len(self))) if self._rows is None else self._rows[part]
        chosen = copy.copy(self)
        chosen._rows, chosen._keys = None, None if self._keys is None else self._keys[part]
        chosen.source = replace(
            source,
            images=source.images.take(rows),
            labels=source.labels[rows],
            names=None,  # they stand in the ids now
            ids=["/".join(self._place(row)) for row in rows.tolist()],
            keys=None if source.keys is None else source.keys[rows],
            vectors={
                i: source.vectors[row]
                for i, row in enumerate(rows.tolist() if source.vectors else ())
                if row in source.vectors
            },
        )
        return chosen

    def _place(self, row: int) -> tuple[str, str]:
        """The identity's name and the image's."""
        identity, _, name = self.source.ids[row].rpartition("/")
        if identity:
            return identity, name
        label, names = self.source.labels.item(row), self.source.names
        return f"{label:0{self._label_digits}d}" if names is None else names[label], name


def image_suffix(encoded: Encoded) -> str:
    """The file name's end that goes with an image's bytes; `.img` for another kind."""
    head = bytes(encoded[:4])
    return next((suffix for magic, suffix in _MAGIC if head.startswith(magic)), UNKNOWN_SUFFIX)
