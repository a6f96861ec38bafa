"""insightface's classifier, one file of each training process, as one head of ours."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from facekd.data_tools.labelmap import LabelMap
from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier
from facekd.heads.partial_fc import class_range
from facekd.torchfile import read_torch

_CALLED = "checkpoint_gpu_0.pt, checkpoint_gpu_1.pt ..., as arcface_torch writes them"


def import_head(shards: Sequence[Path], label_map: LabelMap) -> Classifier:
    """Put arcface_torch's head together (An et al., Partial FC, arXiv 2203.15565).

    With `save_all_states` every process of its training writes `checkpoint_gpu_{rank}.pt`, which
    holds under "state_dict_softmax_fc" the weight of the classes that are this process's: equal
    shares in the order of the labels, the first ones larger by one where need be.

    Args:
        shards: The files of all processes, in any order; of one alone under any name.
        label_map: Of the data that the head was trained on.

    Returns:
        A frozen head whose row i belongs to identity i of `label_map`.

    Raises:
        FacekdError: A file is none of these, one is missing or given twice, they are not of one
            training, or its classes are not the data's.
    """
    _check_order(label_map)
    paths = _by_rank(shards)
    weights = [_weight(path) for path in paths]
    total, ranks = sum(len(weight) for weight in weights), len(weights)
    if total != len(label_map):
        raise FacekdError(
            f"{_named(shards)} hold {total} classes and the data has {len(label_map)} identities; "
            "give the files of all processes of one training, and the data that it ran on."
        )
    width = weights[0].shape[1]
    for rank, (path, weight) in enumerate(zip(paths, weights, strict=True)):
        share = len(class_range(total, rank, ranks))
        if weight.shape != (share, width):
            raise FacekdError(
                f"{path} is {tuple(weight.shape)}, and process {rank} of {ranks} with {total} "
                f"classes has {(share, width)}; they are not the files of one training."
            )
    return Classifier.from_weight(torch.cat(weights))


def _check_order(label_map: LabelMap) -> None:
    """See that class i of the data is what another reader of it calls label i.

    Raises:
        FacekdError: It is not.
    """
    names = label_map.names
    numbered = label_map.source != ""  # the raw labels of a .rec
    expected = [str(i) for i in range(len(names))] if numbered else sorted(names)
    for i, (found, wanted) in enumerate(zip(names, expected, strict=True)):
        if found != wanted:
            raise FacekdError(
                f"class {i} of the data is {found!r}, and label {i} of a head's training stood for "
                f"{wanted!r}; name the data that the head was trained on, whole."
            )


def _by_rank(shards: Sequence[Path]) -> list[Path]:
    """The files in the order of the numbers of the processes that wrote them.

    Raises:
        FacekdError: A name has no number, a number comes twice or is missing.
    """
    if len(shards) == 1 and not re.search(r"_(\d+)\.\w+$", shards[0].name):
        return list(shards)
    found: dict[int, Path] = {}
    for path in shards:
        number = re.search(r"_(\d+)\.\w+$", path.name)
        if number is None:
            raise FacekdError(f"{path} does not say which process wrote it: name it {_CALLED}.")
        rank = int(number[1])
        if rank in found:
            raise FacekdError(
                f"{found[rank]} and {path} are both of process {rank}; give each once."
            )
        found[rank] = path
    missing = [rank for rank in range(max(found)) if rank not in found]
    if missing:
        raise FacekdError(
            f"the file of process {missing[0]} is missing among {_named(shards)}: give {_CALLED}."
        )
    return [found[rank] for rank in sorted(found)]


def _weight(path: Path) -> torch.Tensor:
    """The classes of one process, float32 (n, d).

    Raises:
        FacekdError: The file cannot be read or holds no such thing.
    """
    if not path.is_file():
        raise FacekdError(f"{path} is not a file: give {_CALLED}.")
    content = read_torch(path)
    head = content.get("state_dict_softmax_fc") if isinstance(content, dict) else None
    weight = head.get("weight") if isinstance(head, dict) else None
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2 or 0 in weight.shape:
        holds = ", ".join(map(str, content)) if isinstance(content, dict) else type(content)
        raise FacekdError(
            f'{path} has no "state_dict_softmax_fc" with a weight, only {holds}; arcface_torch '
            f"writes one with save_all_states=True into {_CALLED}."
        )
    return weight.float()


def _named(shards: Sequence[Path]) -> str:
    return ", ".join(map(str, shards[:3])) + (" ..." if len(shards) > 3 else "")
