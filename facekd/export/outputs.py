"""The files of one export: their places, and what is in them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from facekd.described_weights import described_bytes, read_described
from facekd.export.calibration import CalibrationSet
from facekd.export.card import Made
from facekd.export.check import agreement, expect, random_images
from facekd.export.facts import FORMAT, facts_of
from facekd.export.prepare import prepare
from facekd.files import in_bytes
from facekd.model import FaceModel, model_from

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.export.quantize import Method
    from facekd.teacher.onnx import OnnxEmbedder

TOLERANCE, HALF_TOLERANCE = 1e-4, 5e-2  # of the largest number of the network's embeddings


@dataclass(frozen=True)
class Outputs:
    """What to write; None is not asked for.

    Attributes:
        onnx: The float32 graph.
        int8: The quantized one.
        fp16: The one of half precision.
        torch_export: The `torch.export` program.
        safetensors: The weights; the description goes beside them as `.json`.
    """

    onnx: Path | None = None
    int8: Path | None = None
    fp16: Path | None = None
    torch_export: Path | None = None
    safetensors: Path | None = None

    @property
    def networks(self) -> list[Path]:
        """The networks' files."""
        every = (self.onnx, self.int8, self.fp16, self.torch_export, self.safetensors)
        return [path for path in every if path is not None]

    @property
    def card(self) -> Path:
        """The card, beside the first of them."""
        return self.networks[0].with_suffix(".md")

    @property
    def json(self) -> Path | None:
        """The description beside the weights."""
        return None if self.safetensors is None else self.safetensors.with_suffix(".json")

    def all(self) -> list[Path]:
        """Every file that will be written."""
        return [*self.networks, *([self.json] if self.json else []), self.card]


@dataclass
class Writer:
    """Writes and checks one file after the other, each at its temporary place.

    Attributes:
        model: The network.
        outputs: What is asked for.
        place: Where a file is written until all are done.
        scratch: A folder for what nobody asked for.
        say: Takes a line for the user.
        made: What was written, for the card.
        graphs: The ONNX files by name, the float32 one first, asked for or not.
    """

    model: FaceModel
    outputs: Outputs
    place: Callable[[Path], Path]
    scratch: Path
    say: Callable[[str], None] = print
    made: list[Made] = field(default_factory=list)
    graphs: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.facts = facts_of(self.model)
        self.size = self.model.preprocess.input_size
        self.net = prepare(self.model)
        self.noise = random_images(self.size)
        self.expected = self.model.embed(self.noise)

    def write_onnx(self) -> None:
        """The float32 graph; the others are made from it."""
        from facekd.export.onnx import to_onnx, write_onnx

        asked = self.outputs.onnx
        path = self.place(asked) if asked else self.scratch / "float32.onnx"
        write_onnx(to_onnx(self.net, self.size, self.facts), path)
        words = self._check(path, "the float32 graph", TOLERANCE)
        self.graphs[asked.name if asked else "float32 graph"] = path
        if asked:
            self._note(asked, path, "ONNX, float32", words)

    def write_fp16(self, final: Path) -> None:
        """The graph in half precision."""
        from facekd.export.quantize import write_fp16

        path = self.place(final)
        write_fp16(self._float32, path, self.facts)
        self._note(final, path, "ONNX, fp16", self._check(path, final.name, HALF_TOLERANCE))
        self.graphs[final.name] = path

    def write_int8(self, final: Path, calibration: CalibrationSet, method: "Method") -> None:
        """The quantized graph; noise says nothing of it, so it is compared on faces."""
        from facekd.export.quantize import write_int8

        path = self.place(final)
        write_int8(self._float32, path, calibration, method, self.facts)
        faces = calibration.pixels[:64]
        found = agreement(self.model.embed(faces), open_graph(path, final.name).embed(faces))
        words = (
            f"cosine {found.mean_cosine:.4f} on average, at least {found.cosine:.4f}, on "
            f"{len(faces)} of the images it was calibrated on"
        )
        what = f"ONNX, INT8 (QDQ, per channel; {method} ranges of {calibration.words})"
        self._note(final, path, what, words)
        self.graphs[final.name] = path

    def write_program(self, final: Path) -> None:
        """The `torch.export` program."""
        from facekd.export.torch_program import program_bytes, run_program

        path = self.place(final)
        path.write_bytes(program_bytes(self.net, self.size, self.facts))
        images = torch.from_numpy(self.noise).permute(0, 3, 1, 2).float()
        found = agreement(self.expected, run_program(path, (images - 127.5) / 127.5).numpy())
        expect(found, TOLERANCE, final.name)
        self._note(final, path, "torch.export program, float32", found.words())

    def write_weights(self, final: Path, description: Path) -> None:
        """The weights as they are (nothing folded), and what they are in JSON."""
        content = self.model.content()
        path = self.place(final)
        path.write_bytes(described_bytes(content))
        read = read_described(path)
        assert read is not None
        found = agreement(self.expected, model_from(read, path).embed(self.noise))
        expect(found, 0.0, final.name)
        said: dict[str, Any] = {"format": FORMAT, "weights": final.name}
        said |= facts_of(self.model, folded=False)
        said["description"] = content["description"]
        self.place(description).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        self._note(final, path, "weights, float32, not folded", "the same bits")

    @property
    def _float32(self) -> Path:
        return next(iter(self.graphs.values()))

    def _check(self, path: Path, name: str, tolerance: float) -> str:
        """Compare a graph with the network, on one image and on several."""
        graph = open_graph(path, name)
        found = agreement(self.expected, _one_and_more(graph, self.noise))
        expect(found, tolerance, name)
        return found.words()

    def _note(self, final: Path, path: Path, what: str, words: str) -> None:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        size = in_bytes(len(content))
        self.made.append(Made(final.name, what, size, digest, words))
        self.say(f"{final.name} ({what}, {size}): {words}")


def open_graph(path: Path, name: str) -> "OnnxEmbedder":
    """An exported graph, to be run on images as any other network."""
    from facekd.teacher.onnx import OnnxEmbedder

    graph = OnnxEmbedder(path, (-1.0, 1.0))
    graph.name = name
    return graph


def _one_and_more(graph: "OnnxEmbedder", images: "NDArray[np.uint8]") -> "NDArray[np.float32]":
    import numpy as np

    return np.concatenate([graph.embed(images[:1]), graph.embed(images[1:])])
