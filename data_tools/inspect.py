"""What a data file or folder is, in a few numbers."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import FacekdError
from .binfile import read_bin
from .facerec import FaceRecords
from .folder import list_folder
from .images import Encoded, decode_rgb
from .labelmap import LabelMap

Kind = Literal["rec", "bin", "folder"]

_SAMPLE = 500


def locate(path: str | Path) -> tuple[Kind, Path]:
    """Tell records, a verification set and an image folder apart by name.

    A folder with a single `.rec` file in it (as MS1MV2 and MS1MV3 come) stands for that file.

    Raises:
        FacekdError: There is nothing of that name, or it is none of the three.
    """
    path = Path(path)
    if path.is_dir():
        records = sorted(path.glob("*.rec"))
        return ("rec", records[0]) if len(records) == 1 else ("folder", path)
    if not path.exists():
        raise FacekdError(f"{path} does not exist.")
    if path.suffix == ".rec":
        return "rec", path
    if path.suffix == ".bin":
        return "bin", path
    raise FacekdError(f"{path} is no .rec file, no .bin file and no image folder.")


def inspect(path: str | Path) -> dict[str, Any]:
    """Describe a `.rec` file, a `.bin` file or an image folder.

    Returns:
        Plain numbers and text that JSON can hold. `image_sizes` counts "height x width" over at
        most 500 images spread over the whole; an image of these that does not decode counts as
        "undecodable" (`verify` says which and why).

    Raises:
        FacekdError: The file or folder cannot be read at all.
    """
    kind, path = locate(path)
    if kind == "bin":
        return _inspect_bin(path)
    return _inspect_records(path) if kind == "rec" else _inspect_folder(path)


def _inspect_records(path: Path) -> dict[str, Any]:
    records = FaceRecords(path)
    identities = np.unique(records.labels)
    names = LabelMap(tuple(str(label) for label in identities), source=records.fingerprint)
    return {
        "path": str(path),
        "kind": f"records ({records.layout} layout)",
        "images": len(records),
        **_promise(records),
        **_identities(records.labels),
        "labels": [int(identities[0]), int(identities[-1])],
        "record_ids": [int(records.keys[0]), int(records.keys[-1])],
        "image_sizes": _sizes(records.encoded, len(records)),
        "fingerprint": records.fingerprint,
        "label_map_hash": names.hash,
    }


def _promise(records: FaceRecords) -> dict[str, Any]:
    """The header's count of images, where it is another one: records or index lines are lost."""
    differs = records.promised not in (None, len(records))
    return {"images_in_header": records.promised} if differs else {}


def _inspect_folder(path: Path) -> dict[str, Any]:
    listing = list_folder(path)
    return {
        "path": str(path),
        "kind": "image folder",
        "images": len(listing.paths),
        **_identities(listing.labels),
        "image_sizes": _sizes(lambda i: listing.paths[i].read_bytes(), len(listing.paths)),
        "label_map_hash": LabelMap(tuple(listing.names)).hash,
    }


def _inspect_bin(path: Path) -> dict[str, Any]:
    content = read_bin(path)
    return {
        "path": str(path),
        "kind": "verification set",
        "images": len(content.encoded),
        "pairs": len(content.same),
        "genuine_pairs": int(content.same.sum()),
        "impostor_pairs": int((~content.same).sum()),
        "image_sizes": _sizes(content.encoded.__getitem__, len(content.encoded)),
    }


def _identities(labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    counts = np.unique(labels, return_counts=True)[1]
    return {
        "identities": len(counts),
        "images_per_identity": {
            "min": int(counts.min()),
            "median": float(np.median(counts)),
            "p95": float(np.percentile(counts, 95)),
            "max": int(counts.max()),
        },
    }


def _sizes(encoded: Callable[[int], Encoded], images: int) -> dict[str, int]:
    """Count image sizes over an even spread of the images, the commonest first."""
    sizes: Counter[str] = Counter()
    for i in np.unique(np.linspace(0, images - 1, min(images, _SAMPLE)).astype(int)).tolist():
        try:
            height, width, _ = decode_rgb(encoded(i)).shape
            sizes[f"{height}x{width}"] += 1
        except FacekdError:
            sizes["undecodable"] += 1
    return dict(sizes.most_common())
