"""Names read from files, before any of them becomes a path on this machine's disk."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ..errors import FacekdError

MAX_PART = 255  # bytes, what most file systems take
MAX_PATH = 2048  # bytes, half of what Linux takes, for the folder it comes into

_PLAIN = re.compile(r"(?:\w[\w .+-]{0,63}/){0,8}\w[\w .+-]{0,63}", re.ASCII)


def safe_relative(text: str) -> PurePosixPath:
    """The path of a name that was read from a file: relative, and below wherever it is put.

    Args:
        text: As it stands in a list, a tar or a CSV, with forward slashes.

    Raises:
        FacekdError: It is absolute, has a drive letter, a part that is empty, `.`, `..` or dots
            only, a backslash, a control character, text that is no UTF-8, or is too long.
    """
    return PurePosixPath(check_relative(text))


def check_relative(text: str) -> str:
    """The name itself, after the check of `safe_relative`; some ten times as fast."""
    if not _PLAIN.fullmatch(text):
        fault = _fault(text)
        if fault:
            raise FacekdError(
                f"the path {_short(text)} {fault}; paths in files must be relative, as "
                "'person/image.jpg', and stay in their folder."
            )
    return text


def inside(root: str | Path, relative: str | PurePosixPath) -> Path:
    """`root / relative`, after making sure that no link on the way leads out of `root`.

    Args:
        root: A folder that the user named; it may itself be a link.
        relative: A name read from a file; checked as `safe_relative` does.

    Raises:
        FacekdError: The name is not safe, or passes through a link that leads outside.
    """
    step = top = os.fspath(root)
    for part in check_relative(str(relative)).split("/"):
        step = os.path.join(step, part)
        if os.path.islink(step):
            _check_link(step, top)
    return Path(step)


def check_no_clash(names: Iterable[str]) -> None:
    """Make sure that paths stay apart on every disk: also where capitals or accents are not told.

    Args:
        names: Relative paths with forward slashes.

    Raises:
        FacekdError: Two names are one but for capitals, the way an accent is encoded, or blanks
            and dots at the end of a part; or a file's name is also a folder's.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = _folded(name)
        if key in seen:
            other = seen[key]
            how = "occurs twice" if other == name else f"and {_short(other)} are one on some disks"
            raise FacekdError(f"the path {_short(name)} {how}; rename one of them.")
        seen[key] = name
    folders: set[str] = set()
    for key, name in seen.items():
        while (key := key.rpartition("/")[0]) and key not in folders:
            folders.add(key)
            if key in seen:
                raise FacekdError(
                    f"the path {_short(seen[key])} is both a file and the folder of "
                    f"{_short(name)}; rename one of them."
                )


def _check_link(link: str, root: str) -> None:
    real, top = os.path.realpath(link), os.path.realpath(root)
    if not real.startswith(top.rstrip(os.sep) + os.sep):
        raise FacekdError(
            f"{link} is a link out of {root} (to {real}): give the folder that the files really "
            "lie in, or replace the link by its file."
        )


def _folded(name: str) -> str:
    """What a disk may make of a name at worst."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
    name = name.casefold()
    if " " not in name and "." not in name:
        return name
    return "/".join(part.rstrip(" .") for part in name.split("/"))


def _fault(text: str) -> str:
    """What makes a name unsafe, in words; empty where nothing does."""
    parts = text.split("/")
    if not text:
        return "is empty"
    if text[0] in "/\\":
        return "is absolute"
    if re.match(r"[A-Za-z]:", text):
        return "has a drive letter"
    if ".." in parts:
        return "leads out of its folder (..)"
    if any(not part.strip(".") for part in parts):
        return "has a part that is empty or dots only"
    if "\\" in text:
        return "has a backslash"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        return "has a control character"
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        return "is no UTF-8 text"
    if len(encoded) > MAX_PATH or max(len(part.encode()) for part in parts) > MAX_PART:
        return f"is too long (at most {MAX_PART} bytes a part, {MAX_PATH} in all)"
    return ""


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
