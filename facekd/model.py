"""FaceModel: a backbone that knows its own name, input and history, in memory and in a file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from facekd import __version__
from facekd.backbones import BACKBONES, create_backbone
from facekd.backbones.import_weights import check_state, read_weights
from facekd.embedder import Array, embed_in_batches
from facekd.errors import FacekdError
from facekd.files import atomic_path
from facekd.preprocess import Channels, Preprocess

if TYPE_CHECKING:
    from facekd.embedder import Embedder

FORMAT = 1
TORCH_SUFFIXES = (".pt", ".pth")
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
        numbers = description["preprocess"]
        lo, hi = numbers["input_range"]
        self.preprocess = Preprocess(numbers["input_size"], (lo, hi), numbers["channels"])
        self.name = self.backbone_name

    @classmethod
    def create(
        cls,
        name: str,
        embedding_dim: int = 512,
        input_size: int = 112,
        *,
        input_range: tuple[float, float] = (-1.0, 1.0),
        channels: Channels = "rgb",
        **kwargs: Any,
    ) -> FaceModel:
        """A model with fresh weights.

        Args:
            name: A backbone's name or alias.
            embedding_dim: Width of the output.
            input_size: Side of the input, a multiple of 16 pixels.
            input_range: What pixel values 0 and 255 become.
            channels: Channel order of the backbone's input.
            **kwargs: The backbone's own arguments (`width`, `bn_eps`).

        Raises:
            FacekdError: No such backbone, or a value that does not fit.
        """
        preprocess = Preprocess(input_size, input_range, channels)
        backbone = create_backbone(name, embedding_dim, input_size=input_size, **kwargs)
        description = {
            "backbone": {"name": BACKBONES.canonical(name), "kwargs": kwargs},
            "embedding_dim": embedding_dim,
            "preprocess": {
                "input_size": preprocess.input_size,
                "input_range": list(preprocess.input_range),
                "channels": preprocess.channels,
            },
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
        description = self.description | extra | {"facekd_version": __version__}
        _check_plain(description, "description")
        state = {key: value.cpu() for key, value in self.backbone.state_dict().items()}
        content = {"format": FORMAT, "description": description, "state_dict": state}
        with atomic_path(path) as temporary:
            torch.save(content, temporary)

    @classmethod
    def load(cls, path: str | Path) -> FaceModel:
        """Read a file that `save` wrote; the name becomes the file's stem.

        Raises:
            FacekdError: The file cannot be read, holds anything but plain values and tensors, is
                of another format, or its weights are not its network's.
        """
        path = Path(path)
        content = _read_torch(path)
        if not (isinstance(content, dict) and "format" in content):
            raise FacekdError(
                f"{path} is not a facekd model (it has no format number); other networks' weights "
                "are converted by `facekd-model import`."
            )
        return _from_content(content, path)


@overload
def load_model(path: str | Path) -> Embedder: ...
@overload
def load_model(
    path: str | Path,
    *,
    input_range: tuple[float, float] | None = None,
    channels: Channels = "rgb",
    device: str | torch.device = "cpu",
) -> Embedder: ...
def load_model(
    path: str | Path,
    *,
    input_range: tuple[float, float] | None = None,
    channels: Channels = "rgb",
    device: str | torch.device = "cpu",
) -> Embedder:
    """Load a face network, whatever kind of file it is.

    | suffix | what |
    |---|---|
    | .pt, .pth | a FaceModel, or an arcface_torch state_dict (recognised by its keys) |
    | .safetensors | such a state_dict |
    | .params | insightface's MXNet MobileFaceNet |
    | .onnx | any face network, run by onnxruntime |

    Args:
        path: The file.
        input_range: What pixel values 0 and 255 become, for files that do not say; None is
            (-1, 1), or what the graph or the MXNet training used.
        channels: Channel order of the network's input, for files that do not say.
        device: Where it runs.

    Returns:
        The network in evaluation mode (a FaceModel, unless the file is .onnx).

    Raises:
        FacekdError: The file cannot be read or its network is not known.
    """
    path = Path(path)
    if not path.is_file():
        raise FacekdError(f"{path} is not a file: give a network's {', '.join(SUFFIXES)} file.")
    if path.suffix == ".onnx":
        from facekd.teacher.onnx import OnnxEmbedder

        return OnnxEmbedder(path, input_range, channels, device=device)
    if path.suffix not in SUFFIXES:
        raise FacekdError(f"{path} has no suffix of a network's file ({', '.join(SUFFIXES)}).")
    content = _read_torch(path) if path.suffix in TORCH_SUFFIXES else None
    if isinstance(content, dict) and "format" in content:
        model = _from_content(content, path)
        if input_range not in (None, model.preprocess.input_range) or (
            channels not in ("rgb", model.preprocess.channels)
        ):
            raise FacekdError(
                f"{path} says itself that its input is {model.preprocess}: "
                "leave input_range and channels out."
            )
    else:
        model = _import(path, content, input_range, channels)
    return model.eval().to(device)


def _import(
    path: Path, content: object, input_range: tuple[float, float] | None, channels: Channels
) -> FaceModel:
    """A FaceModel from other software's weights."""
    weights = read_weights(path, content)
    with torch.device("meta"):
        model = FaceModel.create(
            weights.name,
            weights.embedding_dim,
            weights.input_size,
            input_range=input_range or weights.input_range,
            channels=channels,
            **weights.kwargs,
        )
    check_state(model.backbone, weights.state, f"{path}")
    model.backbone.load_state_dict(weights.state, assign=True)
    model.description["imported_from"] = weights.source
    model.name = path.stem
    return model


def _from_content(content: dict[str, Any], path: Path) -> FaceModel:
    """A FaceModel from what its file holds."""
    if content["format"] != FORMAT:
        raise FacekdError(
            f"{path} is of format {content['format']!r} and this facekd reads format {FORMAT}: "
            "use the version that wrote it, or a newer one."
        )
    try:
        description, state = content["description"], content["state_dict"]
        numbers = description["preprocess"]
        lo, hi = numbers["input_range"]
        # on "meta" nothing is allocated or drawn: the weights come from the file
        with torch.device("meta"):
            model = FaceModel.create(
                description["backbone"]["name"],
                description["embedding_dim"],
                numbers["input_size"],
                input_range=(lo, hi),
                channels=numbers["channels"],
                **description["backbone"]["kwargs"],
            )
    except (KeyError, TypeError, ValueError) as error:
        raise FacekdError(
            f"{path}: its description is incomplete or wrong ({error!r}); export the model again."
        ) from error
    except FacekdError as error:
        raise FacekdError(f"{path}: {error}") from error
    check_state(model.backbone, state, f"{path}")
    model.backbone.load_state_dict(state, assign=True)
    model.description = description
    model.name = path.stem
    return model


def _read_torch(path: Path) -> object:
    """What a torch file holds, as long as that is plain values and tensors."""
    if not path.is_file():
        raise FacekdError(f"{path} is not a file: give a network's {', '.join(SUFFIXES)} file.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FacekdError(
            f"{path} holds objects or code, not only weights, and was not opened further: save its "
            "state_dict() alone."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise FacekdError(
            f"{path} ({path.stat().st_size} bytes) is damaged or no torch file: fetch it again."
        ) from error


def _check_plain(value: object, where: str) -> None:
    """Refuse what `torch.load(weights_only=True)` would not give back."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str | int):
                raise FacekdError(f"{where} has the key {key!r}: use strings.")
            _check_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_plain(item, f"{where}[{i}]")
    elif value is not None and type(value) not in (bool, int, float, str):
        raise FacekdError(
            f"{where} is a {type(value).__name__}: a model's file holds plain values."
        )
