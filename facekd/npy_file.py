"""Arrays in `.npy` files, of which none is trusted."""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np


def map_npy(path: str | Path) -> Any:
    """`numpy.load`, mapped into memory and without pickle, with one kind of error for damage.

    Returns:
        The array, read-only; or numpy's archive object where the file is an `.npz`.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file, or a damaged one.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, SyntaxError, TokenError, OverflowError, MemoryError, RuntimeError) as error:
        # a damaged header goes through Python's own tokenizer and parser
        raise ValueError(f"damaged header ({error})") from error
