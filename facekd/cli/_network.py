"""A network as commands take it, and its embeddings of the images of a set."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._values import count, number_range, positive
from facekd.errors import FacekdError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.data_tools.pairs import Images
    from facekd.embedder import Embedder


def add_network_options(group: argparse._ArgumentGroup) -> None:
    """How images become embeddings."""
    add = group.add_argument
    add("--batch-size", type=positive, default=64, help="images at a time (default: 64)")
    add("--workers", type=count, help="processes that decode and warp (default: by cores)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of the network")
    add(
        "--input-range",
        type=number_range,
        metavar="LO,HI",
        help="what 0 and 255 become, for files that do not say; write --input-range=-1,1",
    )
    add("--channels", choices=("rgb", "bgr"), default="rgb", help="for files that do not say")
    add(
        "--save-embeddings",
        metavar="DIR",
        help="keep them; the same model, faces and protocol are then never embedded again",
    )


def refuse_keeping_without_network(arguments: argparse.Namespace) -> None:
    """Refuse `--save-embeddings` where no `--model` makes any."""
    if arguments.save_embeddings and not arguments.model:
        raise FacekdError("--save-embeddings keeps those of --model FILE; give both.")


def load_network(path: Path, arguments: argparse.Namespace) -> "Embedder":
    """The network of a file, with the options of `add_network_options`."""
    import torch

    from facekd.model import load_model

    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise FacekdError("--device cuda: PyTorch sees no GPU here; use --device cpu.")
    return load_model(
        path, input_range=arguments.input_range, channels=arguments.channels, device=device
    )


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
