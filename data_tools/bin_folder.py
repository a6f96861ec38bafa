"""A verification `.bin` as a folder that people can look into: images and `pairs.csv`; and back."""

import csv
from pathlib import Path

from ..errors import FacekdError
from .binfile import read_bin, write_bin
from .file_images import FileImages
from .images import Encoded
from .items import image_suffix
from .pair_files import list_pairs
from .safe_paths import inside
from .staging import publish_folder, staging

PAIRS = "pairs.csv"
_IMAGES = "images"


def bin_to_folder(source: str | Path, folder: str | Path) -> int:
    """Write a `.bin` as `images/NUMBER.jpg` and `pairs.csv` with the columns `a,b,same`.

    An image that occurs in several pairs is written once. The folder's place is checked before:
    see `writers.check_destination`.

    Returns:
        How many pairs there are.

    Raises:
        FacekdError: The `.bin` cannot be read, an image is empty, the folder cannot be written.
    """
    content = read_bin(source)
    folder = Path(folder)
    places: dict[bytes, str] = {}
    digits = len(str(len(content.encoded)))
    with staging(folder) as stage:
        (stage / _IMAGES).mkdir()
        sides: list[str] = []
        for i, encoded in enumerate(map(bytes, content.encoded)):
            if not encoded:
                raise FacekdError(f"{source}, image {i} holds no bytes.")
            if encoded not in places:
                places[encoded] = f"{_IMAGES}/{i:0{digits}d}{image_suffix(encoded)}"
                (stage / places[encoded]).write_bytes(encoded)
            sides.append(places[encoded])
        with (stage / PAIRS).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["a", "b", "same"])
            same = content.same.astype(int).tolist()
            table.writerows(zip(sides[0::2], sides[1::2], same, strict=True))
        publish_folder(stage, folder)
    return len(content.same)


def folder_to_bin(folder: str | Path, path: str | Path) -> int:
    """Write the pairs that a folder's `pairs.csv` lists as a `.bin`; the images' bytes stay.

    Returns:
        How many pairs there are.

    Raises:
        FacekdError: There is no such list, a line makes no sense or names a path outside the
            folder, or an image is missing or empty.
    """
    folder = Path(folder)
    listed = list_pairs(folder / PAIRS)
    stored: dict[str, Encoded] = {}
    for pair in listed:
        for place in (pair.left, pair.right):
            if place not in stored:
                try:
                    stored[place] = FileImages([inside(folder, place)]).encoded(0)
                except FacekdError as error:
                    raise FacekdError(f"{pair.where}: {error}") from None
                if not stored[place]:
                    raise FacekdError(f"{pair.where}: the image {place} is empty.")
    encoded = [stored[place] for pair in listed for place in (pair.left, pair.right)]
    write_bin(path, encoded, [pair.same for pair in listed])
    return len(listed)
