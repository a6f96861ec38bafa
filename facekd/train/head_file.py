"""The head file of a finished stage, also where no process holds the whole head."""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from facekd.distill.term import Head
from facekd.files import atomic_path
from facekd.heads.classifier import HEAD_FORMAT, Classifier, save_head
from facekd.heads.partial_fc import class_range
from facekd.ranks import rank, world
from facekd.train.tensor_file import as_bytes, header

_AT_ONCE = 1 << 15  # rows


def write_head(path: Path, head: Head, label_map_hash: str) -> None:
    """Write the file that `facekd.heads.load_head` reads; all processes call it together.

    The first one writes. Of a head that is spread over them it asks for the others' rows, a few
    thousand at a time: no process holds more than its own rows and those.

    Args:
        path: File to write; it appears whole or not at all.
        head: The stage's head.
        label_map_hash: Hash of the label map that gives its rows their meaning.

    Raises:
        FacekdError: The file cannot be written.
    """
    if isinstance(head, Classifier):
        if rank() == 0:
            save_head(path, head, label_map_hash)
        return
    own = {name: tensor.detach() for name, tensor in head.state_dict().items()}
    if rank():
        for name in sorted(own):
            for rows in _pieces(own[name]):
                dist.send(rows.cpu().contiguous(), 0)
        return
    whole = {
        name: torch.empty(head.num_classes, *tensor.shape[1:], dtype=tensor.dtype, device="meta")
        for name, tensor in own.items()
    }
    metadata = {"format": HEAD_FORMAT, "label_map": label_map_hash}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header(sorted(own), whole, metadata))
        for name in sorted(own):
            for rows in _in_order(own[name], head.num_classes):
                file.write(as_bytes(rows))


def _pieces(rows: Tensor) -> Iterator[Tensor]:
    return (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))


def _in_order(own: Tensor, num_classes: int) -> Iterator[Tensor]:
    """The first process's rows, then the others' as they send them."""
    yield from _pieces(own)
    for sender in range(1, world()):
        count = len(class_range(num_classes, sender, world()))
        for start in range(0, count, _AT_ONCE):
            rows = min(_AT_ONCE, count - start)
            received = torch.empty(rows, *own.shape[1:], dtype=own.dtype)
            dist.recv(received, sender)
            yield received
