"""Verification sets as the field ships them: `.bin`, a pickle of (encoded images, same or not).

A pickle can run any program. So nothing is unpickled before its opcodes have been walked through
(only those that build lists, tuples, numbers, bytes and arrays; lengths within the file; counts
within a cap), and every global it names becomes an object of ours: byte strings and uint8 arrays
whose lengths are checked. numpy itself is never called by the pickle.
"""

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FacekdError
from ..files import atomic_path
from ..input_file import check_input
from .images import Encoded
from .pickle_walk import check_opcodes


@dataclass(frozen=True)
class BinFile:
    """What a `.bin` file holds.

    Attributes:
        encoded: 2 m encoded images; images 2 k and 2 k + 1 are pair k.
        same: bool (m,), whether the two images of a pair show one person.
    """

    encoded: list[Encoded]
    same: npt.NDArray[np.bool_]


def read_bin(path: str | Path, max_bytes: int = 4 << 30, max_images: int = 200_000) -> BinFile:
    """Read a `.bin` file of any pickle protocol, written by Python 2 or 3, without running it.

    Args:
        path: The file.
        max_bytes: Refuse a larger file.
        max_images: Refuse more images than this.

    Raises:
        FacekdError: A file too large; not such a pickle, or one that is cut short; one that names
            anything but bytes, uint8 arrays and booleans; or images that are not two a pair.
    """
    path = Path(path)
    try:
        check_input(path, max_bytes)
        data = path.read_bytes()
    except OSError as error:
        raise FacekdError(f"cannot read {path}: {error.strerror or error}.") from error
    try:
        check_opcodes(data, max_images)
        return _interpret(_Unpickler(data).load(), max_images)
    except FacekdError as error:
        raise FacekdError(f"{path}: {error}") from None
    except Exception as error:
        # What a damaged pickle makes the unpickler raise can be of any kind.
        raise FacekdError(f"{path} is a damaged pickle ({error!r}): copy it again.") from error


def write_bin(path: str | Path, encoded: Sequence[Encoded], same: Sequence[bool]) -> None:
    """Write a `.bin` file as insightface reads it: pickled bytes and bools, protocol 4, atomically.

    Args:
        path: The file.
        encoded: 2 m encoded images.
        same: m booleans.
    """
    if len(encoded) != 2 * len(same):
        raise FacekdError(f"{len(encoded)} images do not make {len(same)} pairs.")
    content = ([bytes(image) for image in encoded], [bool(s) for s in same])
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pickle.dump(content, file, protocol=4)


class _Array:
    """Stands in for a numpy array: its raw bytes, checked against its shape."""

    __slots__ = ("kind", "raw")

    def __init__(self) -> None:
        self.kind = ""
        self.raw: bytes | bytearray = b""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, _, raw = state
        self.fill(shape, dtype, raw)

    def fill(self, shape: Any, dtype: Any, raw: Any) -> "_Array":
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
            raise FacekdError("it holds an array that is not made of plain bytes.")
        if not _fits(shape, len(raw)):
            raise FacekdError(f"it holds an array whose shape does not fit its {len(raw)} bytes.")
        self.kind, self.raw = dtype.kind, raw
        return self


def _fits(shape: Any, size: int) -> bool:
    """Whether a shape is that of one row, or column, of `size` elements."""
    if not isinstance(shape, tuple) or len(shape) > 4:
        return False
    if not all(isinstance(n, int) and 0 <= n <= max(size, 1) for n in shape):
        return False
    return prod(shape) == size and sum(n != 1 for n in shape) <= 1


class _Dtype:
    """Stands in for a numpy dtype of one byte: uint8 or bool."""

    __slots__ = ("kind",)

    def __init__(self, name: Any) -> None:
        text = name.decode("ascii") if isinstance(name, bytes) else name
        self.kind = str(text).lstrip("|")
        if self.kind not in ("u1", "b1"):
            raise FacekdError(f"it holds an array of type {text!r}; only uint8 and bool are read.")

    def __setstate__(self, state: Any) -> None:
        if any(field is not None for field in state[2:5]):
            raise FacekdError("it holds an array with named fields.")


class _Global:
    """Stands in for a function or class that the pickle names."""

    __slots__ = ("_budget", "_name")

    def __init__(self, name: str, budget: list[int]) -> None:
        self._name, self._budget = name, budget

    def __setstate__(self, state: Any) -> None:
        raise FacekdError(f"it tries to change {self._name}.")

    def __call__(self, *args: Any) -> Any:
        match self._name, args:
            case "_reconstruct", (_Global(), (0,), b"b" | "b"):
                return _Array()
            case "_frombuffer", (raw, dtype, shape, "C" | "F"):
                return _Array().fill(shape, dtype, raw)
            case "dtype", (name, *_):
                return _Dtype(name)
            case "scalar", (_Dtype(kind="b1"), bytes(raw)) if len(raw) == 1:
                return raw != b"\0"
            case "encode" | "bytearray", (str(text), "latin1" | "latin-1"):
                self._budget[0] -= len(text)
                if self._budget[0] < 0:
                    raise FacekdError("it unfolds to more bytes than the file has.")
                return text.encode("latin-1")
            case "bytes" | "bytearray", ():
                return b""
            case "bytearray", (bytes(raw),):
                return raw
        raise FacekdError(f"it calls {self._name} in a way that no verification set needs.")


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_KNOWN = {
    *((module, name) for module in _MULTIARRAY for name in ("_reconstruct", "scalar")),
    *((module, "_frombuffer") for module in _NUMERIC),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    *((module, n) for module in ("builtins", "__builtin__") for n in ("bytes", "bytearray")),
}


class _Unpickler(pickle.Unpickler):
    """Builds lists, tuples, numbers and bytes itself, and nothing else but our stand-ins."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._budget = [len(data)]

    def find_class(self, module: str, name: str) -> _Global:
        """The stand-in for a global, or the refusal to load it."""
        if (module, name) not in _KNOWN:
            raise FacekdError(
                f"refused: the pickle asks for {module}.{name}, which no verification set "
                "needs; it may be malicious, do not open it with other programs."
            )
        return _Global(name, self._budget)


def _interpret(content: Any, max_images: int) -> BinFile:
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise FacekdError("the pickle does not hold a pair (images, same).")
    images, same = content
    if not isinstance(images, tuple | list):
        raise FacekdError("the images are not a list.")
    if len(images) > max_images:
        raise FacekdError(f"it holds {len(images)} images, more than the {max_images} allowed.")
    flags = same.raw if isinstance(same, _Array) else same
    if not isinstance(same, tuple | list | _Array):
        raise FacekdError("the second half is not a list of booleans.")
    if len(images) != 2 * len(flags):
        raise FacekdError(f"{len(images)} images do not make {len(flags)} pairs, two images each.")
    if not all(_is_flag(flag) for flag in flags):
        raise FacekdError("the second half is not a list of booleans.")
    if not flags:
        raise FacekdError("it holds no pairs.")
    encoded = [_image_bytes(image, i) for i, image in enumerate(images)]
    return BinFile(encoded, np.array([bool(flag) for flag in flags]))


def _is_flag(value: object) -> bool:
    return isinstance(value, int) and value in (0, 1)


def _image_bytes(image: Any, i: int) -> Encoded:
    if isinstance(image, _Array) and image.kind == "u1":
        return image.raw
    if isinstance(image, bytes | bytearray):
        return image
    raise FacekdError(f"image {i} is neither bytes nor a uint8 array.")
