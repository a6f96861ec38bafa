"""A network as commands take it, and its embeddings of the images of a set."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._values import count, number_range, positive
from facekd.errors import FacekdError

WORKERS_HELP = "processes that read and decode images (default: one a core)"

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.data_tools.pairs import Images
    from facekd.embedder import Embedder


def add_network_options(group: argparse._ArgumentGroup) -> None:
    """How images become embeddings."""
    add = group.add_argument
    add(
        "--batch-size", type=positive, default=64, metavar="N", help="images at a time (default 64)"
    )
    add("--workers", type=count, metavar="N", help=f"{WORKERS_HELP}; 0: none, in this one")
    add(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the network runs (default: auto, a GPU if there is one)",
    )
    add(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="of the network's arithmetic (default: fp32)",
    )
    add_input_options(group)
    add(
        "--save-embeddings",
        metavar="DIR",
        help="keep the embeddings; the same model, faces and protocol are then never embedded "
        "again",
    )


def add_input_options(group: argparse._ActionsContainer) -> None:
    """What a network takes, where its file does not say; facekd's own .pt does."""
    group.add_argument(
        "--input-range",
        type=number_range,
        metavar="LO,HI",
        help="what pixel values 0 and 255 become for the network, where its file does not say "
        "(default: what its graph or its software uses); with a minus sign write "
        "--input-range=-1,1",
    )
    group.add_argument(
        "--channels",
        choices=("rgb", "bgr"),
        help="channel order that the network takes, where its file does not say (default: what its "
        "software uses; .onnx: rgb)",
    )


def refuse_without_network(arguments: argparse.Namespace) -> None:
    """Refuse options that are about a network where there is no `--model`.

    Raises:
        FacekdError: The first such option.
    """
    if arguments.model:
        return
    if arguments.save_embeddings:
        raise FacekdError("--save-embeddings keeps those of --model FILE; give both.")
    for name in ("precision", "input_range", "channels"):
        if getattr(arguments, name) not in (None, "fp32"):
            raise FacekdError(
                f"--{name.replace('_', '-')} is about the network of --model FILE, and there is "
                "none; leave it out."
            )


def load_network(path: Path, arguments: argparse.Namespace) -> "Embedder":
    """The network of a file, with the options of `add_network_options`."""
    return load_as_asked(path, arguments, pick(arguments.device))


def pick(device: str) -> str:
    """The device that `--device` means.

    Raises:
        FacekdError: `cuda` is asked for and there is none.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise FacekdError("--device cuda: PyTorch sees no GPU here; use --device cpu.")
    return device


def load_as_asked(path: Path, arguments: argparse.Namespace, device: str = "cpu") -> "Embedder":
    """The network of a file, with the options of `add_input_options`.

    Raises:
        FacekdError: The file cannot be read, or says something else than the options.
    """
    from facekd.model import load_model

    given, channels = arguments.input_range, arguments.channels
    return load_model(path, input_range=given, channels=channels, device=device)


def threads(workers: int | None) -> int:
    """How many threads read and decode images, by `--workers`: one a core, at most 8, unasked."""
    return min(os.cpu_count() or 1, 8) if workers is None else max(workers, 1)


def embed_set(
    images: "Images", name: str, fingerprint: str, model: "Embedder", arguments: argparse.Namespace
) -> "NDArray[np.float32]":
    """A network's embeddings of a set's images, without their mirror images.

    Args:
        images: The n images.
        name: What progress bar and saved file call the set.
        fingerprint: By which the images are known again.
        model: The network of `arguments.model`.
        arguments: Those of `add_network_options`.

    Returns:
        float32 (n, d), mapped where they are kept (`--save-embeddings`).
    """
    from facekd.eval.embed import embed_images, embed_to_file
    from facekd.fingerprint import file_fingerprint

    title = f"embed {name}"
    how = {key: getattr(arguments, key) for key in ("batch_size", "workers", "precision")}
    if arguments.save_embeddings is None:
        return embed_images(images, model, flip=False, progress=title, **how)
    kept = embed_to_file(
        images,
        model,
        arguments.save_embeddings,
        name=f"{model.name}-{name}",
        model_fingerprint=file_fingerprint(Path(arguments.model)),
        images_fingerprint=fingerprint,
        flip=False,
        progress=title,
        **how,
    )
    return kept.array
