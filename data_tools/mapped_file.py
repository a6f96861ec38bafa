"""A whole file in view, without reading it: the system fetches what is looked at."""

import mmap
from pathlib import Path

from ..errors import FacekdError
from ..input_file import check_input


def map_file(path: Path) -> memoryview:
    """A file's bytes, mapped for reading.

    Raises:
        FacekdError: It cannot be read, is no plain file, or is empty.
    """
    try:
        check_input(path)
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise FacekdError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise FacekdError(f"{path} is empty: copy it again.") from error
