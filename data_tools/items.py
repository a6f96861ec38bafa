"""Images on their way from one labelled set to another: name, label, untouched bytes."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import FacekdError
from .images import Encoded
from .labelled import LabelledImages, RecordImages
from .lst import Vector

_MAGIC = (
    (b"\xff\xd8", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"BM", ".bmp"),
    (b"RIFF", ".webp"),
    (b"GIF8", ".gif"),
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
    """

    def __init__(self, source: LabelledImages) -> None:
        self.source = source
        self._label_digits = len(str(source.labels.max()))
        self._key_digits = 0 if source.keys is None else len(str(source.keys.max()))

    def __len__(self) -> int:
        return len(self.source.images)

    def __getitem__(self, i: int) -> Item:  # type: ignore[override]
        """Read image i, with its record number.

        Raises:
            FacekdError: It cannot be read, or is empty.
        """
        source = self.source
        vector: Vector | None
        encoded: Encoded
        if isinstance(source.images, RecordImages):
            header, encoded = source.images.records.read(i)
            vector = None if isinstance(header.label, float) else header.label
        else:
            encoded, vector = source.images.encoded(i), source.vectors.get(i)
        if not len(encoded):
            raise FacekdError(f"{source.images.where(i)} holds no image bytes.")
        label = source.labels.item(i)
        key = None if source.keys is None else source.keys.item(i)
        identity, _, name = source.ids[i].rpartition("/")
        if not identity:
            identity = self._identity(label)
        if name == str(key):
            name = f"{key:0{self._key_digits}d}{image_suffix(encoded)}"
        return Item(identity, name, label, encoded, key, vector)

    def __iter__(self) -> Iterator[Item]:
        return (self[i] for i in range(len(self)))

    def _identity(self, label: int) -> str:
        names = self.source.names
        return f"{label:0{self._label_digits}d}" if names is None else names[label]


def image_suffix(encoded: Encoded) -> str:
    """The file name's end that goes with an image's bytes; `.img` for an unknown kind."""
    head = bytes(encoded[:4])
    return next((suffix for magic, suffix in _MAGIC if head.startswith(magic)), ".img")
