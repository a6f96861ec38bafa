"""torch's own file, restricted to plain values and tensors: no code goes in, none comes out."""

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from facekd.errors import FacekdError
from facekd.files import atomic_path

PLAIN = (bool, int, float, str, torch.Tensor)


def read_torch(path: Path) -> object:
    """What a torch file holds, on the CPU, as long as that is plain values and tensors.

    Raises:
        FacekdError: The file is damaged (checksums included) or holds objects or code.
    """
    try:
        if zipfile.is_zipfile(path):  # torch itself does not look at the checksums
            with zipfile.ZipFile(path) as archive:
                if (record := archive.testzip()) is not None:
                    raise FacekdError(
                        f"{path} is damaged: {record} in it fails its checksum; fetch it again."
                    )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other kinds of files, which are errors below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FacekdError(
            f"{path} is no file of plain weights: it is damaged, or it holds objects or code, none "
            "of which was run; save the network's state_dict() alone."
        ) from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, zipfile.BadZipFile) as error:
        raise FacekdError(
            f"{path} ({path.stat().st_size} bytes) is damaged, or no file of torch.save; fetch it "
            "again."
        ) from error


def write_torch(path: str | Path, content: dict[str, Any]) -> None:
    """Write plain values and tensors, whole or not at all.

    Raises:
        FacekdError: Something in it is neither, or the file cannot be written.
    """
    check_plain(content, "the content")
    buffer = io.BytesIO()  # written by ourselves: torch hides why a file cannot be
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def check_plain(value: object, where: str) -> None:
    """Refuse what `read_torch` would not give back.

    Raises:
        FacekdError: Tells where in `value` something else stands.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) not in (str, int):
                raise FacekdError(f"{where} has the key {key!r}: use strings.")
            check_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            check_plain(item, f"{where}[{i}]")
    elif value is not None and type(value) not in PLAIN:
        raise FacekdError(
            f"{where} is a {type(value).__name__}, which cannot be saved: plain only."
        )
