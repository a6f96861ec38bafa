"""facekd-eval as tests run it, and the small sets of faces they run it on."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facekd.cli.eval import main
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.synthetic import SyntheticFaces

TINY = Path(__file__).parent / "fixtures/format1_tiny.pt"  # 8 dimensions of 32 x 32 pixels
PEOPLE, EACH, SIZE = 12, 5, 32


@dataclass(frozen=True)
class Run:
    """One run of the command: what it printed, and where its report is."""

    out: Path
    printed: str

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.out / "results.json").read_text())

    def bench(self, name: str) -> dict[str, Any]:
        return next(bench for bench in self.results["benches"] if bench["name"] == name)

    def model(self, bench: str, number: int = 0) -> dict[str, Any]:
        return self.bench(bench)["models"][number]

    def scores(self, bench: str) -> dict[str, np.ndarray]:
        with np.load(self.out / self.bench(bench)["scores"]) as file:
            return dict(file)


def evaluate(out: Path, *arguments: object, figures: bool = False) -> Run:
    """Run the command into `out`; it must succeed."""
    texts = [str(argument) for argument in arguments]
    if not figures:
        texts.append("--no-figures")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([*texts, "--out", str(out)]) == 0
    return Run(out, printed.getvalue())


def drawn_faces() -> SyntheticFaces:
    """60 drawn faces of 12 people, 32 pixels wide."""
    return SyntheticFaces(PEOPLE, EACH, size=SIZE, split="eval")


def write_people(folder: Path) -> Path:
    """The drawn faces as `folder/person_07/person_07_0003.jpg`."""
    faces = drawn_faces()
    for i, label in enumerate(faces.labels.tolist()):
        person = f"person_{label:02d}"
        (folder / person).mkdir(parents=True, exist_ok=True)
        path = folder / person / f"{person}_{i % EACH + 1:04d}.jpg"
        path.write_bytes(encode_jpeg(faces.image(i)))
    return folder


def write_rec(path: Path) -> Path:
    """The drawn faces as a `.rec`."""
    faces = drawn_faces()
    with RecordWriter(path) as writer:
        for i, label in enumerate(faces.labels.tolist()):
            writer.write(i, pack(IRHeader(float(label), i), encode_jpeg(faces.image(i))))
    return path


def clustered(labels: np.ndarray, dim: int = 16, seed: int = 0) -> np.ndarray:
    """float32 (n, dim): embeddings whose genuine and impostor cosines overlap."""
    rng = np.random.default_rng(seed)
    people = rng.normal(size=(int(labels.max()) + 1, dim))
    return (people[labels] + 1.3 * rng.normal(size=(len(labels), dim))).astype(np.float32)
