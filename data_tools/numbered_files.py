"""Several files under one path: a folder, or a pattern such as `part-{000..015}.rec`."""

import re
from pathlib import Path

from ..errors import FacekdError
from ..input_file import check_input

_MOST = 1_000_000


def find_files(path: Path, suffix: str) -> list[Path]:
    """The files of one kind that a path stands for; none where it is something else.

    A file with that suffix, a folder with such files in it, or a pattern: `*`, `?` and one
    `{0000..0009}` in the last part of the path.

    Args:
        path: File, folder or pattern.
        suffix: Such as `.tar`.

    Raises:
        FacekdError: A pattern's file is not there, or none is; or one is a folder, a pipe or such.
    """
    if path.is_dir():
        return sorted(one for one in path.glob(f"*{suffix}") if one.is_file())
    if path.suffix != suffix or path.is_file():
        return [path] if path.suffix == suffix else []
    found = _expand(path)
    for one in found or [path]:
        try:
            check_input(one)
        except FileNotFoundError as error:
            raise FacekdError(f"{one} does not exist.") from error
        except OSError as error:
            raise FacekdError(f"cannot read {one}: {error.strerror or error}.") from error
    return found


def _expand(path: Path) -> list[Path]:
    braces = re.fullmatch(r"(.*)\{(\d{1,9})\.\.(\d{1,9})\}(.*)", path.name)
    if not braces:
        return sorted(path.parent.glob(path.name))
    head, first, last, tail = braces.groups()
    if int(last) - int(first) >= _MOST:
        raise FacekdError(f"{path} means more than a million files.")
    numbers = range(int(first), int(last) + 1)
    return [path.with_name(f"{head}{i:0{len(first)}d}{tail}") for i in numbers]
