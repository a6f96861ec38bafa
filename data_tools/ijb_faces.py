"""The faces of IJB-B and IJB-C: two lists, line by line, and the images they name."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..fingerprint import file_fingerprint, fingerprint
from .align import SIZE, TEMPLATE, warp_face
from .file_images import FileImages
from .images import Image
from .pairs import Images
from .safe_paths import inside
from .text_table import Columns, read_table

IjbName = Literal["ijbb", "ijbc"]
_TABLE = 1 << 24  # template ids below this are looked up in a table


@dataclass(frozen=True)
class IjbImages:
    """The faces of a list, decoded and warped one at a time on access; picklable.

    Attributes:
        folder: Where the images lie.
        names: str (n,), their files.
        landmarks: float32 (n, 5, 2), in pixels.
        found: bool (n,); a face that was not found is black.
        source: The list, a line a face, for error messages.
    """

    folder: Path
    names: NDArray[np.str_]
    landmarks: NDArray[np.float32]
    found: NDArray[np.bool_]
    source: Path

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Image:
        if not self.found[index]:
            return np.zeros((SIZE, SIZE, 3), np.uint8)
        try:
            image = FileImages([self.path(index)])[0]
            return warp_face(image, self.landmarks[index])
        except FacekdError as error:
            raise FacekdError(f"{self.source}, line {index + 1}: {error}") from error

    def path(self, index: int) -> Path:
        """The file of a face's image; a name that leads out of the folder is refused."""
        return inside(self.folder, str(self.names[index]))

    @cached_property
    def fingerprint(self) -> str:
        """Of the found faces' files: names, sizes and times of change; some seconds for IJB-C.

        Raises:
            FacekdError: A file is not there.
        """
        return FileImages([self.path(int(i)) for i in np.flatnonzero(self.found)]).fingerprint


@dataclass(frozen=True)
class TemplateFaces:
    """The n faces of a set and the t templates they belong to.

    Attributes:
        images: The faces, warped to 112 x 112, one at a time; a face that was not found is black.
            None where the images are not there (embeddings do without).
        template: int32 (n,), each face's template, a row of `template_ids`.
        media: int64 (n,), the still or video each face is from.
        detector: float32 (n,), the detector's score.
        found: bool (n,), False for a failure to acquire: a face without landmarks, or without an
            image where that was asked to count.
        template_ids: int64 (t,), rising; every template has at least one face, found or not.
        fingerprint: Of the two face lists.
    """

    images: Images | None
    template: NDArray[np.int32]
    media: NDArray[np.int64]
    detector: NDArray[np.float32]
    found: NDArray[np.bool_]
    template_ids: NDArray[np.int64]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.template)

    def rows(self, wanted: NDArray[np.int_]) -> NDArray[np.int32]:
        """The row of each template id in `template_ids`; -1 for one that is not there."""
        ids = self.template_ids
        if ids[0] < 0 or ids[-1] >= _TABLE:
            at = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
            return np.where(ids[at] == wanted, at, -1).astype(np.int32)
        beyond = int(ids[-1]) + 1  # -1 and this are one entry, which stays -1
        table = np.full(beyond + 1, -1, np.int32)
        table[ids] = np.arange(len(ids))
        return table[np.clip(wanted, -1, beyond)]

    def known_rows(
        self, wanted: NDArray[np.int_], path: Path, first_line: int = 1
    ) -> NDArray[np.int32]:
        """The row of each line's template id.

        Args:
            wanted: int (k,), template ids, one a line.
            path: The file they are from.
            first_line: The number of the first of these lines.

        Raises:
            FacekdError: A template without faces.
        """
        rows = self.rows(wanted)
        unknown = np.flatnonzero(rows < 0)
        if len(unknown):
            raise FacekdError(
                f"{path}, line {unknown[0] + first_line}: template {wanted[unknown[0]]} has no "
                f"faces in the face list ({len(unknown)} lines name such templates); take all meta "
                "files from one release."
            )
        return rows


def read_faces(folder: Path, name: IjbName, missing_ok: bool = False) -> TemplateFaces:
    """Read the two face lists, whose lines belong together.

    Args:
        folder: The one that holds `meta` and, if there are images, `loose_crop`.
        name: Which of the two sets.
        missing_ok: A face whose image is not there is one that was not found.

    Raises:
        FacekdError: A list is not there or not as it should be, or the two differ.
    """
    path, points_path = (
        folder / "meta" / f"{name}_{rest}" for rest in ("face_tid_mid.txt", "name_5pts_score.txt")
    )
    table = read_table(path, {"name": str, "template": np.int64, "media": np.int64})
    coordinates = [f"{axis}{i}" for i in range(1, len(TEMPLATE) + 1) for axis in "xy"]
    kinds: Columns = {"name": str, **dict.fromkeys([*coordinates, "score"], np.float32)}
    scored = read_table(points_path, kinds)
    if len(table["name"]) != len(scored["name"]):
        raise FacekdError(
            f"{path} has {len(table['name'])} lines and {points_path.name} {len(scored['name'])}; "
            "their lines must list the same faces, so take both from one release."
        )
    other = np.flatnonzero(table["name"] != scored["name"])
    if len(other):
        raise FacekdError(
            f"line {other[0] + 1} is {table['name'][other[0]]} in {path} but "
            f"{scored['name'][other[0]]} in {points_path.name} ({len(other)} lines differ); their "
            "lines must list the same faces in the same order."
        )
    landmarks = np.stack([scored[key] for key in coordinates], axis=1)
    found = ~((landmarks == -1) | np.isnan(landmarks)).all(axis=1)
    usable = np.isfinite(landmarks).all(axis=1) & np.isfinite(scored["score"])
    bad = np.flatnonzero(found & ~usable)
    if len(bad):
        raise FacekdError(
            f"{points_path}, line {bad[0] + 1}: a landmark or the score is not finite; a face that "
            "was not found has all its landmarks -1 or nan."
        )
    template_ids, template = np.unique(table["template"], return_inverse=True)
    crops = folder / "loose_crop"
    points = landmarks.reshape(-1, *TEMPLATE.shape)
    images = IjbImages(crops, scored["name"], points, found, points_path)
    if missing_ok and crops.is_dir():
        found &= [images.path(i).is_file() for i in range(len(found))]
    return TemplateFaces(
        images=images if crops.is_dir() else None,
        template=template.astype(np.int32),
        media=table["media"],
        detector=scored["score"],
        found=found,
        template_ids=template_ids,
        fingerprint=fingerprint([file_fingerprint(path), file_fingerprint(points_path)]),
    )
