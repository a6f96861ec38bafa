"""A whole file in view, without reading it: the system fetches what is looked at."""

import mmap
from collections.abc import Sequence
from pathlib import Path

from ..errors import FacekdError
from ..input_file import check_input

_OPEN = 256  # a process may have some thousand open files


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


class MappedFiles:
    """Many files, each mapped when it is first looked at, only so many at a time; picklable.

    Args:
        paths: The files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._open: dict[int, memoryview] = {}

    def __getitem__(self, number: int) -> memoryview:
        """A file's bytes; errors as `map_file`."""
        data = self._open.pop(number, None)
        if data is None:
            data = map_file(self.paths[number])
            if len(self._open) >= _OPEN:
                del self._open[next(iter(self._open))]  # the one not looked at for longest
        self._open[number] = data
        return data

    def __reduce__(self) -> tuple[type["MappedFiles"], tuple[Sequence[Path]]]:
        return MappedFiles, (self.paths,)
