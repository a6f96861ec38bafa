"""Decoding that takes the decoder's complaints for errors.

libjpeg decodes what is damaged as well as it can, and only writes a line to the process's standard
error. So that is led into a file while an image is decoded, and looked at.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO

from ..errors import FacekdError
from .images import Encoded, decode_rgb

_STDERR = 2


def decode_strictly(encoded: Encoded) -> None:
    """Decode an image, to see whether it can be; from one thread at a time.

    Raises:
        FacekdError: It does not decode, or the decoder complains.
    """
    with _listening() as said:
        decode_rgb(encoded)
    if said:
        raise FacekdError(f"its data is damaged: the decoder says {said[0]!r}.")


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect what decoders write to standard error within the block."""
    said: list[str] = []
    try:
        kept = os.dup(_STDERR)
    except OSError:  # there is no standard error
        yield said
        return
    file = _complaints()
    sys.stderr.flush()
    os.dup2(file.fileno(), _STDERR)
    try:
        yield said
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        if os.fstat(file.fileno()).st_size:
            file.seek(0)
            lines = file.read().decode(errors="replace").splitlines()
            said += [line.strip() for line in lines if "JPEG" in line or "libpng" in line]
            file.seek(0)
            file.truncate()


@cache
def _complaints() -> IO[bytes]:
    return tempfile.TemporaryFile(buffering=0)
