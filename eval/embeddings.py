"""Embeddings as evaluation reads them: a block at a time, checked, from memory or from a file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..input_file import MAX_JSON, check_input
from ..npy_file import map_npy

FORMAT = 1  # of the description beside a saved file
_BLOCK = 8192

Array = NDArray[Any]


@dataclass(frozen=True)
class Embeddings:
    """One embedding a face, in the faces' order, not L2-normalised.

    Attributes:
        array: float16, float32 or float64 (n, d), or (n, 2d) with `halves`; in memory or mapped.
        halves: Each row is the image's embedding, then the mirrored image's.
        source: Where they come from, for error messages.
        missing: bool (n,), faces that could not be found (failure to acquire): they have no
            embedding and come out as rows of zeros; None where every face has one.
        description: What the file beside a saved array says of it; empty where there is none.

    Raises:
        FacekdError: The array has another shape or dtype, or `missing` another length.
    """

    array: Array
    halves: bool = False
    source: str = "the embeddings"
    missing: NDArray[np.bool_] | None = None
    description: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape, dtype = self.array.shape, self.array.dtype
        if len(shape) != 2 or 0 in shape or dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
            raise FacekdError(
                f"{self.source}: an array of {dtype} {shape}; embeddings are float16, float32 or "
                "float64 of shape (faces, width)."
            )
        if self.halves and shape[1] % 2:
            raise FacekdError(
                f"{self.source}: rows of {shape[1]} numbers cannot be halved into the image's and "
                "the mirrored image's embedding; it holds one embedding a row, or is another file."
            )
        if self.missing is not None and len(self.missing) != shape[0]:
            raise FacekdError(
                f"{self.source}: {shape[0]} embeddings, but it is told of {len(self.missing)} "
                "faces which of them were found; it belongs to another set."
            )

    @property
    def count(self) -> int:
        """How many faces."""
        return int(self.array.shape[0])

    @property
    def dim(self) -> int:
        """Width of one embedding."""
        return int(self.array.shape[1]) // (2 if self.halves else 1)

    def blocks(
        self, flip: bool = True, size: int = _BLOCK
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Go through the embeddings in order; only one block is held at a time.

        Args:
            flip: With `halves`, the sum of both (in float32), else the image's own. Without
                `halves` the rows are given as they are.
            size: Faces in a block.

        Yields:
            The rows, and their embeddings: float32 (b, dim), a copy that may be changed; zeros
            where the face is missing.

        Raises:
            FacekdError: An embedding is not finite or has norm zero in float32.
        """
        for start in range(0, self.count, size):
            rows = slice(start, min(start + size, self.count))
            block, bad = self._block(rows, flip)
            if bad.any():
                self._complain(start + int(np.argmax(bad)), flip, size)
            yield rows, block

    def faces(self, flip: bool = True) -> NDArray[np.float32]:
        """All of them, float32 (n, dim); arguments and errors as `blocks`."""
        out = np.empty((self.count, self.dim), dtype=np.float32)
        for rows, block in self.blocks(flip):
            out[rows] = block
        return out

    def _block(self, rows: slice, flip: bool) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """float32 (b, dim), and which of the rows are no embeddings."""
        part = self.array[rows]
        with np.errstate(over="ignore", invalid="ignore"):
            if self.halves and flip:
                own, mirrored = part[:, : self.dim], part[:, self.dim :]
                block = np.add(own, mirrored, dtype=np.float32, casting="same_kind")
            else:
                block = np.array(part[:, : self.dim], dtype=np.float32)
            if self.missing is not None:
                block[self.missing[rows]] = 0.0
            squares = np.einsum("nd,nd->n", block, block)
        bad = ~(np.isfinite(squares) & (squares > 0))
        if self.missing is not None:
            bad &= ~self.missing[rows]
        return block, bad

    def _complain(self, row: int, flip: bool, size: int) -> NoReturn:
        count = 0
        for start in range(0, self.count, size):
            count += int(np.count_nonzero(self._block(slice(start, start + size), flip)[1]))
        norm = np.linalg.norm(self._block(slice(row, row + 1), flip)[0].astype(np.float64))
        raise FacekdError(
            f"{self.source}: the embedding in row {row} has norm {norm:g} ({count} of {self.count} "
            "are zero or not finite); look for broken weights or images."
        )


def open_embeddings(
    path: str | Path,
    *,
    halves: bool | None = None,
    count: int | None = None,
    missing: NDArray[np.bool_] | None = None,
) -> Embeddings:
    """Map saved embeddings into memory: any `.npy` file, or what `--save-embeddings` wrote.

    `FILE.json` beside `FILE.npy`, where there is one, is the description that was written with it.

    Args:
        path: The `.npy` file.
        halves: Each row is original | mirrored; None: as the description says, else it is not.
        count: How many faces there should be; None: any number.
        missing: As in `Embeddings`.

    Raises:
        FacekdError: No such file, no array of embeddings, another number of rows, or a
            description that is not this file's.
    """
    path = Path(path)
    try:
        array = map_npy(path)
    except OSError as error:
        raise FacekdError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise FacekdError(
            f"{path} cannot be read as a .npy file of embeddings; give the whole of one that "
            "numpy.save wrote of an array of floats."
        ) from error
    if not isinstance(array, np.ndarray):
        raise FacekdError(f"{path} is an archive of arrays (.npz); give one array as .npy.")
    description = _read_description(path.with_suffix(".json"), array)
    said = description.get("halves")
    if None not in (said, halves) and said != halves:
        raise FacekdError(
            f"{path}: its description says that a row {_words(bool(said))}, and it was given as "
            f"one whose row {_words(bool(halves))}; leave it to the description, or give another "
            "file."
        )
    chosen = bool(said if halves is None else halves)
    if count is not None and array.ndim == 2 and len(array) != count:
        raise FacekdError(
            f"{path} holds {len(array)} embeddings for {count} faces; it belongs to another set, "
            "or was not finished."
        )
    return Embeddings(array, chosen, str(path), missing, description)


def describe(array_shape: tuple[int, int], **facts: Any) -> str:
    """The text of the description beside a saved array of this shape."""
    return json.dumps({"format": FORMAT, "shape": list(array_shape)} | facts, indent=1) + "\n"


def _read_description(path: Path, array: Array) -> dict[str, Any]:
    """What `describe` wrote; empty where there is no such file."""
    if not path.exists():
        return {}
    try:
        check_input(path, MAX_JSON)
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FacekdError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise FacekdError(
            f"{path} is not a description of embeddings of format {FORMAT} (its format is "
            f"{found!r}); move it away if it has nothing to do with the .npy file beside it."
        )
    if content.get("shape") != list(array.shape) or not isinstance(content.get("halves"), bool):
        raise FacekdError(
            f"{path} describes an array of shape {content.get('shape')}, halves "
            f"{content.get('halves')}, and the .npy file beside it has the shape "
            f"{list(array.shape)}; they do not belong together."
        )
    return content


def _words(halves: bool) -> str:
    return "holds the image's and the mirrored image's embedding" if halves else "is one embedding"
