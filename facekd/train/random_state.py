"""Every global random number generator of this process: torch's (CPU, CUDA), numpy's, Python's."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Where all of them are: torch's as tensors, the others as plain values for JSON."""
    tensors = {"rng.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    name, keys, *rest = np.random.get_state(legacy=True)
    return tensors, {"python": random.getstate(), "numpy": [name, np.asarray(keys).tolist(), *rest]}


def restore_random_state(tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """Put them back; those that are not given stay where they are."""
    if "rng.torch" in tensors:
        torch.set_rng_state(tensors["rng.torch"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    if "numpy" in plain:
        name, keys, *rest = plain["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    if "python" in plain:
        version, keys, gauss = plain["python"]
        random.setstate((version, tuple(keys), gauss))
