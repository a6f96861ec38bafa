"""A face network in an ONNX file, run by onnxruntime."""

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import torch

from facekd.embedder import BATCH, Array, embed_in_batches
from facekd.errors import FacekdError
from facekd.preprocess import Channels, Preprocess

if TYPE_CHECKING:
    import onnx


class OnnxEmbedder:
    """An `Embedder` out of an ONNX file with one image input and an (n, d) first output.

    Args:
        path: The file.
        input_range: What pixel values 0 and 255 become for the graph; None looks into it, as
            insightface does: a subtraction and a multiplication among the first nodes mean that
            the graph normalises and takes 0..255, else it is -1..1.
        channels: Channel order of the graph's input.
        device: Where it runs; with "cuda", the CPU where onnxruntime was not built for CUDA.

    Raises:
        FacekdError: onnxruntime is not installed, the file cannot be read, or the graph takes
            something else than square NCHW images in batches of any size (or one by one).
    """

    def __init__(
        self,
        path: str | Path,
        input_range: tuple[float, float] | None = None,
        channels: Channels = "rgb",
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        self.path, self._device = Path(path), device
        self.name = self.path.stem
        if not self.path.is_file():
            raise FacekdError(f"{path} is not a file: give a network's .onnx file.")
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise FacekdError(
                f"{path} needs {error.name}, which is not installed: pip install facekd[onnx]."
            ) from error
        if input_range is None:
            try:
                graph = onnx.load(self.path, load_external_data=False).graph
            except Exception as error:  # protobuf's own error class is not a public one
                raise FacekdError(f"{path} is damaged or no ONNX file: fetch it again.") from error
            input_range = (0.0, 255.0) if _normalizes(graph) else (-1.0, 1.0)
        providers = _providers(onnxruntime, torch.device(device))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: its warnings are about the exporter's habits
        try:
            self._session = onnxruntime.InferenceSession(str(self.path), options, providers)
            self._input, self._batch, size = self._image_input()
            self.preprocess = Preprocess(size, input_range, channels)
            # two images where it can: a graph may call its batch free and fail on more than one
            probe = self._run(torch.zeros(min(self._batch, 2), 3, size, size, dtype=torch.uint8))
        except FacekdError:
            raise
        except Exception as error:  # likewise: onnxruntime's errors share no public base class
            raise FacekdError(f"{path}: onnxruntime cannot run it ({error}).") from error
        if probe.ndim != 2 or len(probe) != min(self._batch, 2):
            raise FacekdError(
                f"{path}: its first output has the shape {tuple(probe.shape)} for "
                f"{min(self._batch, 2)} images, embeddings have (n, d)."
            )
        self.embedding_dim = int(probe.shape[1])

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles open the file again: onnxruntime's session cannot be copied."""
        numbers = self.preprocess
        given = (self.path, numbers.input_range, numbers.channels)
        return partial(OnnxEmbedder, *given, device=self._device), ()

    @overload
    def embed(self, images: Array, flip: bool = False) -> npt.NDArray[np.float32]: ...
    @overload
    def embed(self, images: torch.Tensor, flip: bool = False) -> torch.Tensor: ...
    def embed(
        self, images: Array | torch.Tensor, flip: bool = False
    ) -> npt.NDArray[np.float32] | torch.Tensor:
        """See `facekd.embedder.Embedder.embed`."""
        return embed_in_batches(
            images,
            self._run,
            size=self.preprocess.input_size,
            embedding_dim=self.embedding_dim,
            flip=flip,
            batch=self._batch,
        )

    def _run(self, pixels: torch.Tensor) -> torch.Tensor:
        values = self.preprocess.normalize(pixels).contiguous().cpu().numpy()
        (out,) = self._session.run([self._session.get_outputs()[0].name], {self._input: values})
        return torch.from_numpy(out).float().to(pixels.device)

    def _image_input(self) -> tuple[str, int, int]:
        """The input's name, the most images at once, and the side of an image."""
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else None
        match shape:
            case [batch, 3, int(height), int(width)] if height == width and (
                not isinstance(batch, int) or batch == 1
            ):
                return inputs[0].name, 1 if batch == 1 else BATCH, height
        found = ", ".join(f"{i.name} {i.shape}" for i in inputs)
        raise FacekdError(
            f"{self.path}: its inputs are {found}; a face network takes one image input "
            "[n or 1, 3, s, s]."
        )


def _normalizes(graph: "onnx.GraphProto") -> bool:
    """Insightface's rule, by node name, and by operation where nodes have no names."""
    first = graph.node[:8]
    subtracts = any(n.op_type == "Sub" or n.name.startswith(("Sub", "_minus")) for n in first)
    multiplies = any(n.op_type == "Mul" or n.name.startswith(("Mul", "_mul")) for n in first)
    return subtracts and multiplies


def _providers(onnxruntime: Any, device: torch.device) -> list[str]:
    if device.type == "cuda":
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]
        warnings.warn(
            "this onnxruntime has no CUDA: an ONNX network runs on the CPU, slowly; "
            "onnxruntime-gpu would use the device",
            stacklevel=3,
        )
    return ["CPUExecutionProvider"]
