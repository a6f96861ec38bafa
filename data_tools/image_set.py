"""Images of any file that holds faces: labelled or in pairs, with identities where it has them."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .binfile import read_bin
from .file_images import FileImages
from .images import Encoded, decode_rgb
from .in_order import in_order
from .labelled import open_labelled
from .pair_files import from_cfp, from_csv, from_lfw_pairs
from .pairs import EncodedImages, Images, PairSet
from .perceptual import WORDS, Hashes, perceptual_hash

_LISTS = {".csv": from_csv, ".txt": from_lfw_pairs}


@dataclass(frozen=True)
class ImageSet:
    """The images of a file or folder, each once.

    Attributes:
        path: What was opened.
        images: The n images, decoded lazily.
        encoded: Image number to its encoded bytes.
        ids: What the source calls each image; of a `.bin` its number.
        names: Identities; a `.rec` without names has its labels as text.
        people: int64 (n,), each image's place in `names`; None where nobody is named.
        named: Whether names are people's names, the same in another set, and not mere numbers.
        fingerprint: Sixteen hex digits of what the images are; "" where it is not known.
    """

    path: str
    images: Images
    encoded: Callable[[int], Encoded]
    ids: Sequence[str]
    names: Sequence[str]
    people: NDArray[np.int64] | None
    named: bool
    fingerprint: str

    def __len__(self) -> int:
        return len(self.images)

    def identity(self, image: int) -> str:
        """Whom an image shows; "" where the source does not say."""
        return "" if self.people is None else self.names[self.people[image]]

    def known_people(self) -> NDArray[np.int64]:
        """`people`, where the source says who they are.

        Raises:
            FacekdError: It does not.
        """
        if self.people is None:
            raise FacekdError(
                f"{self.path} does not say whom its images show: give a set with identities, or "
                "ask for its images only."
            )
        return self.people

    def identities_of(self, images: NDArray[np.int64]) -> int | None:
        """How many identities these images show; None where the source does not say."""
        return None if self.people is None else len(np.unique(self.people[images]))


def open_images(path: str | Path) -> ImageSet:
    """Open a folder of NAME/*.jpg, a `.rec`, tar shards, a `.bin`, or a list of pairs.

    A list is a `.csv`, LFW's `.txt`, or `LIST:FOLDER` with its images' folder; also the folder of
    CFP. An image that a `.bin` holds several times, byte for byte the same, is taken once.

    Raises:
        FacekdError: There is no such file, or it cannot be read as one.
    """
    file, root = _split_root(str(path))
    if file.suffix == ".bin":
        return _from_bin(file)
    if file.suffix in _LISTS:
        return _from_pairs(_LISTS[file.suffix](file, root, duplicates=True), str(path))
    if (file / "Protocol").is_dir():
        return _from_pairs(from_cfp(file), str(path))
    return open_labelled_set(path)


def open_labelled_set(path: str | Path) -> ImageSet:
    """Open images of known identities; arguments and errors as `open_labelled`."""
    found = open_labelled(path)
    labels, people = np.unique(found.labels, return_inverse=True)
    names = [str(label) for label in labels.tolist()]
    if found.names is not None:
        names = [found.names[label] for label in labels.tolist()]
    return ImageSet(
        path=str(path),
        images=found.images,
        encoded=found.images.encoded,
        ids=found.ids,
        names=names,
        people=people,
        named=found.names is not None and not all(name.isdecimal() for name in names),
        fingerprint=found.fingerprint,
    )


def image_marks(
    images: ImageSet, workers: int, tick: Callable[[int], object] = int
) -> tuple[NDArray[Any], Hashes]:
    """Read every image once: what its bytes and its picture are known by.

    Args:
        images: n images.
        workers: Threads that read, decode and hash.
        tick: Told how many images have been read since it was last told.

    Returns:
        SHA-256 of the encoded bytes, bytes (n,) of 32; perceptual hashes, uint64 (n, 4).

    Raises:
        FacekdError: An image does not decode; it names the image.
    """
    digests = np.empty(len(images), dtype="S32")
    hashes = np.empty((len(images), WORDS), dtype=np.uint64)

    def read(i: int) -> None:
        encoded = images.encoded(i)
        try:
            hashes[i] = perceptual_hash(decode_rgb(encoded))
        except FacekdError as error:
            raise FacekdError(f"{images.path}, image {images.ids[i]}: {error}") from error
        digests[i] = sha256(encoded).digest()

    for _ in in_order(read, range(len(images)), workers):
        tick(1)
    return digests, hashes


def normal_name(name: str) -> str:
    """A name without what files write differently: case, blanks or underscores, Unicode forms."""
    words = re.split(r"[\s_]+", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(word for word in words if word)


def _split_root(text: str) -> tuple[Path, Path | None]:
    """FILE, or FILE:FOLDER."""
    head, mark, tail = text.rpartition(":")
    if not mark or Path(text).exists() or Path(head).suffix not in _LISTS:
        return Path(text), None
    return Path(head), Path(tail)


def _from_bin(path: Path) -> ImageSet:
    content = read_bin(path).encoded
    first: dict[bytes, int] = {}
    for i, image in enumerate(content):
        first.setdefault(bytes(image), i)
    kept, numbers = list(first), list(first.values())
    return ImageSet(
        path=str(path),
        images=EncodedImages(kept, str(path), numbers),
        encoded=kept.__getitem__,
        ids=[str(number) for number in numbers],
        names=(),
        people=None,
        named=False,
        fingerprint=sha256(b"".join(sha256(image).digest() for image in kept)).hexdigest()[:16],
    )


def _from_pairs(pairs: PairSet, path: str) -> ImageSet:
    """Where all images are listed as NAME/FILE, they show the people so named."""
    assert isinstance(pairs.images, FileImages)
    assert pairs.ids is not None
    parts = [one.split("/") for one in pairs.ids]
    named = all(len(part) == 2 for part in parts)
    names, people = np.unique([part[0] for part in parts], return_inverse=True)
    return ImageSet(
        path=path,
        images=pairs.images,
        encoded=pairs.images.encoded,
        ids=pairs.ids,
        names=names.tolist() if named else (),
        people=people if named else None,
        named=named,
        fingerprint=pairs.fingerprint,
    )
