"""torch's own file, restricted to plain values and tensors: no code goes in, none comes out."""

import io
import pickle
import re
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
        raise FacekdError(_of_objects(path, str(error))) from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, zipfile.BadZipFile) as error:
        for kind, (what, remedy) in _OTHER_KINDS.items():
            if kind in str(error):
                raise FacekdError(f"{path} is {what}; {_SAVE_AGAIN}: {remedy}.") from error
        raise FacekdError(
            f"{path} ({path.stat().st_size} bytes) is damaged, or no file of torch.save; fetch it "
            "again."
        ) from error


_SAVE_AGAIN = "if you trust it, save its weights alone and give that file"
_OTHER_KINDS = {  # as torch's error names them
    "TorchScript": (
        "a TorchScript program, none of which was run",
        "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')",
    ),
    "legacy .tar": (
        "of the tar format of PyTorch's first versions",
        "torch.save(torch.load(FILE, weights_only=False), 'weights.pt')",
    ),
}


def _of_objects(path: Path, error: str) -> str:
    """What to say of a file with more than plain values and tensors in it."""
    found = re.search(r"GLOBAL (\S+)", error)
    if not found:
        return (
            f"{path} is no file of plain weights: it is damaged, or it holds objects or code, none "
            "of which was run; save the network's state_dict() alone."
        )
    return (
        f"{path} holds objects or code, none of which was run (such as {found[1]}): a "
        f"pickled network or training state; {_SAVE_AGAIN}, in the program that wrote it: "
        "torch.save(torch.load(FILE, weights_only=False).state_dict(), 'weights.pt'), or with "
        "['state_dict'] in place of .state_dict() for a training state."
    )


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
