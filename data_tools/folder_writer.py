"""An image folder with its `images.lst`, image after image."""

import os
from pathlib import Path

from ..errors import FacekdError
from .images import Encoded
from .items import Item
from .lst import FOLDER_LIST, list_line

_BUFFER = 1 << 20


class FolderWriter:
    """Write `identity/name` below a folder, and the list that keeps labels and record numbers."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.form = FileForm(root)

    def __enter__(self) -> "FolderWriter":
        self._list = (self._root / FOLDER_LIST).open("wb", buffering=_BUFFER)
        return self

    def __exit__(self, *error: object) -> None:
        self._list.close()

    def append(self, line: bytes) -> None:
        """Take up an image, which `form` has written, into the list."""
        self._list.write(line)


class FileForm:
    """Writes an image to its place and gives its line of the list.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def __call__(self, item: Item, place: str, key: int) -> bytes:
        """Write one image; two of one name are an error, also where upper case is lower case."""
        line = list_line(key, item.label, item.vector, place)
        try:
            self._write(place, item.encoded)
        except FileNotFoundError:
            (self._root / item.identity).mkdir(parents=True, exist_ok=True)
            self._write(place, item.encoded)
        except FileExistsError:
            raise FacekdError(f"two images are called {place}; rename one.") from None
        return line

    def _write(self, place: str, encoded: Encoded) -> None:
        with open(os.path.join(self._root, place), "xb", buffering=0) as file:
            file.write(encoded)
