"""Where training images come from: a `.rec` file, an image folder, or drawn synthetic faces."""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from facekd.data_tools.facerec import FaceRecords
from facekd.data_tools.folder import list_folder
from facekd.data_tools.images import decode_rgb
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.errors import FacekdError
from facekd.fingerprint import fingerprint
from facekd.recipe import Data


class Source(Protocol):
    """Labelled images in a fixed order, before any selection.

    Attributes:
        names: Identity names; the raw label of an image is a position in it.
        labels: int64 (n,), raw labels.
        index: int64 (n,), stable record ids: they do not depend on any selection.
        label_space: What makes identity names of this source unlike equal ones of another.
        fingerprint: Short hash of what the source holds.
        skipped: Damaged records that were left out on opening, one sentence each.
        skipped: Sentences, one for each damaged record left out by `on_bad_record: skip`.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    label_space: str
    fingerprint: str
    skipped: tuple[str, ...]

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image `i` as uint8 RGB (h, w, 3).

        Raises:
            FacekdError: It does not decode; the message says where it stands.
        """
        ...


class RecSource:
    """A `.rec` file; identities are named by their label."""

    def __init__(self, path: Path, on_bad_record: Literal["error", "skip"]) -> None:
        self.records = FaceRecords(path, on_bad_record)
        self.skipped = tuple(self.records.skipped)
        values, self.labels = np.unique(self.records.labels, return_inverse=True)
        self.names = tuple(str(v) for v in values)
        self.index = self.records.keys
        self.label_space = self.records.fingerprint
        places = self.records.offsets.tobytes()
        self.fingerprint = fingerprint([self.label_space, str(path.stat().st_size), places])

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        try:
            return decode_rgb(self.records.encoded(i))
        except FacekdError as error:
            raise FacekdError(f"{self.records.where(i)}: {error}") from error


class FolderSource:
    """A folder of `name/*.jpg`; identities are named by their sub-folder."""

    skipped: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        listing = list_folder(path)
        self.paths, self.labels, self.names = listing.paths, listing.labels, tuple(listing.names)
        self.index = np.arange(len(self.paths), dtype=np.int64)
        self.label_space = ""
        self.fingerprint = fingerprint(
            f"{p.relative_to(path)} {p.stat().st_size}" for p in self.paths
        )

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        try:
            return decode_rgb(self.paths[i].read_bytes())
        except (FacekdError, OSError) as error:
            raise FacekdError(f"{self.paths[i]}: {error}") from error


class SyntheticSource:
    """Drawn faces; the seed names them."""

    skipped: tuple[str, ...] = ()

    def __init__(self, identities: int, images_per_identity: int, size: int, seed: int) -> None:
        self.faces = SyntheticFaces(identities, images_per_identity, size, seed, split="train")
        self.names = tuple(f"synthetic-{k}" for k in range(identities))
        self.labels = self.faces.labels
        self.index = np.arange(len(self.faces), dtype=np.int64)
        self.label_space = f"synthetic:{seed}"
        self.fingerprint = f"synthetic:{seed}:{identities}x{images_per_identity}:{size}"

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return self.faces.image(i)


def open_source(data: Data, input_size: int) -> Source:
    """The source that a recipe's `data.source` names.

    Raises:
        FacekdError: There is no such file or folder, or it is of no known kind.
    """
    if data.source == "synthetic":
        s = data.synthetic
        return SyntheticSource(s.identities, s.images_per_identity, input_size, s.seed)
    path = Path(data.source).expanduser()
    if path.is_dir():
        return FolderSource(path)
    if path.suffix == ".rec" and path.is_file():
        return RecSource(path, data.on_bad_record)
    what = "does not exist" if not path.exists() else "is of no known kind"
    raise FacekdError(
        f"data.source: {path} {what}; name a .rec file, a folder of name/*.jpg, or synthetic."
    )
