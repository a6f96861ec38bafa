"""FaceModel: a backbone that knows its own name, input and history, in memory and in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from facekd import __version__
from facekd.backbones import BACKBONES, USUAL_WIDTH, create_backbone, own_width, usual_size
from facekd.backbones.class_weights import ClassWeights, class_weights
from facekd.backbones.families import Names
from facekd.backbones.import_weights import fitted, read_weights
from facekd.described_weights import read_described
from facekd.embedder import Array, embed_in_batches
from facekd.errors import FacekdError
from facekd.preprocess import Channels, Preprocess, Three
from facekd.torchfile import read_torch, write_torch

if TYPE_CHECKING:
    from facekd.embedder import Embedder

FORMAT = 1
TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".tar")
SUFFIXES = (*TORCH_SUFFIXES, ".params", ".safetensors", ".onnx")


class FaceModel(nn.Module):
    """A backbone with its preprocessing and description; an `Embedder`.

    Build one with `create`, `load` or `facekd.load_model`.

    Args:
        backbone: Normalised float32 (n, 3, s, s) -> (n, embedding_dim).
        description: What `save` writes beside the weights: backbone, embedding_dim, preprocess,
            facekd_version, and whatever came with the file.
    """

    def __init__(self, backbone: nn.Module, description: dict[str, Any]) -> None:
        super().__init__()
        self.backbone = backbone
        self.description = description
        self.backbone_name: str = description["backbone"]["name"]
        self.embedding_dim: int = description["embedding_dim"]
        self.preprocess = Preprocess.from_description(description["preprocess"])
        self.name = self.backbone_name

    @classmethod
    def create(
        cls,
        name: str,
        embedding_dim: int | None = None,
        input_size: int | None = None,
        *,
        input_range: tuple[float, float] | None = None,
        channels: Channels = "rgb",
        mean: Three | None = None,
        std: Three | None = None,
        **kwargs: Any,
    ) -> FaceModel:
        """A model with fresh weights.

        Args:
            name: A backbone's name or alias.
            embedding_dim: Width of the output; None: 512, or the network's own.
            input_size: Side of the input, pixels; None: 112, or the network's usual one.
            input_range: What pixel values 0 and 255 become; None: (-1, 1), or with `mean` (0, 1).
            channels: Channel order of the backbone's input.
            mean: Of pixels in 0..1, by channel, or None; see `facekd.preprocess.STATISTICS`.
            std: Likewise.
            **kwargs: The backbone's own arguments (`width`, `bn_eps`, `affine`).

        Raises:
            FacekdError: No such backbone, or a value that does not fit.
        """
        usual_range = (-1.0, 1.0) if mean is None else (0.0, 1.0)
        size = input_size or usual_size(name)
        preprocess = Preprocess(size, input_range or usual_range, channels, mean, std)
        backbone = create_backbone(name, embedding_dim, input_size=size, **kwargs)
        description = {
            "backbone": {"name": BACKBONES.canonical(name), "kwargs": kwargs},
            "embedding_dim": own_width(backbone) or embedding_dim or USUAL_WIDTH,
            "preprocess": preprocess.describe(),
            "facekd_version": __version__,
        }
        return cls(backbone, description)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed a batch that is on the model's device, with gradients.

        Args:
            images: Uint8 RGB (n, 3, s, s).

        Returns:
            Float32 (n, embedding_dim), not L2-normalised.
        """
        return self.backbone(self.preprocess.normalize(images))  # type: ignore[no-any-return]

    @overload
    def embed(self, images: Array, flip: bool = False) -> npt.NDArray[np.float32]: ...
    @overload
    def embed(self, images: torch.Tensor, flip: bool = False) -> torch.Tensor: ...
    def embed(
        self, images: Array | torch.Tensor, flip: bool = False
    ) -> npt.NDArray[np.float32] | torch.Tensor:
        """See `facekd.embedder.Embedder.embed`; evaluation mode, no gradients, any device."""
        device = next(self.parameters()).device

        def forward(pixels: torch.Tensor) -> torch.Tensor:
            return self(pixels.to(device)).to(pixels.device)  # type: ignore[no-any-return]

        size, width = self.preprocess.input_size, self.embedding_dim
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return embed_in_batches(images, forward, size=size, embedding_dim=width, flip=flip)
        finally:
            self.train(training)

    def save(self, path: str | Path, **extra: Any) -> None:
        """Write the weights and the description, whole or not at all.

        Args:
            path: Where; by habit `<name>.pt`.
            **extra: More for the description (recipe, label_map_hash): None, bool, numbers, str
                and lists and dicts of them. They replace what a loaded file's description held.

        Raises:
            FacekdError: An extra of another type, or the file cannot be written.
        """
        write_torch(path, self.content(**extra))

    def content(self, **extra: Any) -> dict[str, Any]:
        """What `save` writes: format, description and weights, these on the CPU."""
        description = self.description | extra | {"facekd_version": __version__}
        state = {key: value.cpu() for key, value in self.backbone.state_dict().items()}
        return {"format": FORMAT, "description": description, "state_dict": state}

    @classmethod
    def load(cls, path: str | Path) -> FaceModel:
        """Read a file that `save` wrote, in evaluation mode; the name becomes the file's stem.

        Raises:
            FacekdError: The file cannot be read, holds anything but plain values and tensors, is
                of another format, or its weights are not its network's.
        """
        path = _existing(path)
        content = read_torch(path)
        if not (isinstance(content, dict) and "format" in content):
            raise FacekdError(
                f"{path} is not a facekd model (it has no format number); other networks' weights "
                "are converted by `facekd-model import`."
            )
        return model_from(content, path)


def load_model(
    path: str | Path,
    *,
    input_range: tuple[float, float] | None = None,
    channels: Channels | None = None,
    device: str | torch.device = "cpu",
) -> Embedder:
    """Load a face network, whatever kind of file it is.

    | suffix | what |
    |---|---|
    | .pt, .pth, .ckpt, .tar | a FaceModel, or other software's weights (known by their names) |
    | .safetensors | such a state_dict, or what `facekd-model export` wrote |
    | .params | insightface's MXNet MobileFaceNet or LResNet |
    | .onnx | any face network, run by onnxruntime |

    Args:
        path: The file.
        input_range: What pixel values 0 and 255 become, for files that do not say; None is what
            the file says, else what the graph or the software that trained it uses.
        channels: Channel order of the network's input, likewise; None is what the file says, else
            what the software that trained it uses ("rgb", or AdaFace's and FaceX-Zoo's "bgr").
        device: Where it runs.

    Returns:
        The network in evaluation mode (a FaceModel, unless the file is .onnx).

    Raises:
        FacekdError: The file cannot be read, its network is not known, or it is a FaceModel that
            says something else of its input.
    """
    path = _existing(path)
    if path.suffix.lower() == ".onnx":
        from facekd.teacher.onnx import OnnxEmbedder

        return OnnxEmbedder(path, input_range, channels or "rgb", device=device)
    content: object = None
    if path.suffix.lower() in TORCH_SUFFIXES:
        content = read_torch(path)
    elif path.suffix.lower() == ".safetensors":
        content = read_described(path)
    if isinstance(content, dict) and "format" in content:
        model = model_from(content, path)
        _check_input(path, model.preprocess, input_range, channels)
    elif (classifier := class_weights(content)) is not None:
        model = model_of_classes(classifier, path, input_range, channels)
    else:
        weights = read_weights(path, content)
        model = _build(
            path,
            weights.state,
            weights.names,
            f" (taken for {weights.family.name}'s {weights.name})",
            name=weights.name,
            embedding_dim=weights.embedding_dim,
            input_size=weights.input_size,
            input_range=input_range or weights.family.input_range,
            channels=channels or weights.family.channels,
            **weights.kwargs,
        )
        model.description["imported_from"] = weights.family.name
    return model.to(device)


def read_class_weights(path: str | Path, name: str | None = None) -> ClassWeights | None:
    """A classifier by RepDistiller, or with its backbone's name by torchvision, from a torch file.

    Args:
        path: The file.
        name: The backbone; None: RepDistiller's are known by their shapes.

    Returns:
        Backbone and last layer; None where no name is given and the file holds something else.

    Raises:
        FacekdError: The file cannot be read, or its weights are not the named network's.
    """
    path = _existing(path)
    if path.suffix.lower() not in TORCH_SUFFIXES:
        if name is None:
            return None
        raise FacekdError(f"{path} is not a torch file (.pth), as the weights of {name} must be.")
    content = read_torch(path)
    try:
        return class_weights(content, name)
    except FacekdError as error:
        raise FacekdError(f"{path}: {error}") from error


def model_of_classes(
    found: ClassWeights,
    path: Path,
    input_range: tuple[float, float] | None = None,
    channels: Channels | None = None,
) -> FaceModel:
    """The backbone of a classifier, with its software's mean and deviation unless a range is given.

    Raises:
        FacekdError: The weights are not its network's.
    """
    mean, std = found.statistics if input_range is None else (None, None)
    model = _build(
        path,
        found.state,
        name=found.name,
        input_range=input_range,
        channels=channels or "rgb",
        mean=mean,
        std=std,
    )
    model.description |= {"imported_from": found.source, "task": "classification"}
    return model


def _check_input(
    path: Path,
    own: Preprocess,
    input_range: tuple[float, float] | None,
    channels: Channels | None,
) -> None:
    """Refuse what a caller says of a network's input where its file says otherwise."""
    low, high = own.input_range
    if input_range not in (None, (low, high)):
        raise FacekdError(
            f"{path} says itself that 0 and 255 become {low:g} and {high:g}; leave --input-range "
            "(input_range in a recipe or a call) out."
        )
    if channels not in (None, own.channels):
        raise FacekdError(
            f"{path} says itself that it takes {own.channels}; leave --channels (channels in a "
            "recipe or a call) out."
        )


def model_from(content: dict[str, Any], path: Path) -> FaceModel:
    """A FaceModel from what its file holds; `path` names it.

    Raises:
        FacekdError: It is of another format, or its weights are not its network's.
    """
    if content["format"] != FORMAT:
        raise FacekdError(
            f"{path} is of format {content['format']!r} and this facekd reads format {FORMAT}: "
            "use the version that wrote it, or a newer one."
        )
    try:
        description, state = content["description"], content["state_dict"]
        backbone, numbers = description["backbone"], description["preprocess"]
        model = _build(
            path,
            state,
            name=backbone["name"],
            embedding_dim=description["embedding_dim"],
            **asdict(_input_of(path, numbers)),
            **backbone["kwargs"],
        )
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise FacekdError(
            f"{path}: its description is incomplete or wrong ({error!r}); export the model again."
        ) from error
    model.description = description
    return model


def _input_of(path: Path, numbers: dict[str, Any]) -> Preprocess:
    try:
        return Preprocess.from_description(numbers)
    except FacekdError as error:
        raise FacekdError(f"{path}: {error}") from error


def _build(
    path: Path,
    state: Mapping[str, torch.Tensor],
    names: Names = str,
    known_as: str = "",
    **arguments: Any,
) -> FaceModel:
    """A FaceModel around weights; nothing is drawn at random or allocated twice."""
    try:
        with torch.device("meta"):
            model = FaceModel.create(**arguments)
        ours = fitted(model.backbone, state, names)
    except FacekdError as error:
        raise FacekdError(f"{path}{known_as}: {error}") from error
    model.backbone.load_state_dict(ours, assign=True)
    model.name = path.stem
    return model.eval()


def _existing(path: str | Path) -> Path:
    """The path of a file with a suffix known here."""
    path = Path(path)
    known = ", ".join(SUFFIXES)
    if not path.exists():
        raise FacekdError(f"{path} does not exist: give a network's file ({known}).")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no plain file"
        raise FacekdError(f"{path} is {what}: give a network's file ({known}).")
    if path.suffix.lower() not in SUFFIXES:
        raise FacekdError(f"{path} has no suffix of a network's file ({known}).")
    if not os.access(path, os.R_OK):
        raise FacekdError(f"{path} cannot be read: its permissions do not let you.")
    return path
