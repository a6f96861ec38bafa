"""Writing a safetensors file tensor by tensor, its checksum taken on the way."""

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

_NAMES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}  # widest first: so every tensor is aligned to its width
_PART = 1 << 24  # bytes hashed and written at a time


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> tuple[int, str]:
    """Write a safetensors file, and have the disk keep it.

    The library's own `save_file` wants all tensors in memory at once, and the file would be read
    again for its checksum; here one tensor at a time comes from its device.

    Args:
        path: A new file, or one to write over.
        tensors: By name, on any device, with any strides.
        metadata: Texts by name.

    Returns:
        The file's size in bytes, and its SHA-256 in hex digits.

    Raises:
        OSError: The disk is full, or the place cannot be written to.
    """
    order = sorted(tensors, key=lambda name: (list(_NAMES).index(tensors[name].dtype), name))
    digest = hashlib.sha256()
    with path.open("wb", buffering=0) as file:
        for data in chain(
            [header(order, tensors, metadata)], (as_bytes(tensors[n]) for n in order)
        ):
            for start in range(0, len(data), _PART):
                part = data[start : start + _PART]
                digest.update(part)
                while len(part):
                    part = part[file.write(part) :]
        os.fsync(file.fileno())
        return file.tell(), digest.hexdigest()


def header(
    order: list[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> memoryview:
    """Length of the JSON as 8 bytes, little-endian; the JSON, padded to a multiple of 8.

    Args:
        order: The tensors' names as their bytes will follow.
        tensors: Their shapes and types; they may be on the device "meta".
        metadata: Texts by name.
    """
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        tensor = tensors[name]
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return memoryview(len(text).to_bytes(8, "little") + text)


def as_bytes(tensor: Tensor) -> memoryview:
    """A tensor's bytes, row after row."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
