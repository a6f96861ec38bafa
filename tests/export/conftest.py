"""One network exported as everything, once for all tests of this folder."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from made_networks import drawn

from facekd.cli.model import main
from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.model import FaceModel

SIZE = 112  # insightface takes no smaller ones for recognition


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    """24 drawn faces of 6 people in a folder, to calibrate on."""
    folder = tmp_path_factory.mktemp("faces")
    drawn_faces = SyntheticFaces(6, 4, size=SIZE, split="train")
    for i, label in enumerate(drawn_faces.labels.tolist()):
        (folder / f"person_{label}").mkdir(exist_ok=True)
        path = folder / f"person_{label}" / f"{i}.jpg"
        path.write_bytes(encode_jpeg(drawn_faces.image(i)))
    return folder


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Path:
    """40 pairs of drawn faces in ten folds, `tiny.bin` in a data folder."""
    folder = tmp_path_factory.mktemp("benches")
    drawn_faces = SyntheticFaces(8, 5, size=SIZE, split="eval")
    images = [encode_jpeg(drawn_faces.image(i)) for i in range(40)]
    genuine = [(5 * p + k, 5 * p + k + 1) for p in range(8) for k in range(4)][:20]
    impostor = [(5 * p + k, (5 * p + 7 + k) % 40) for p in range(8) for k in range(4)][:20]
    order = [pair for both in zip(genuine, impostor, strict=True) for pair in both]
    same = [True, False] * 20
    write_bin(folder / "tiny.bin", [images[i] for pair in order for i in pair], same)
    return folder


@dataclass(frozen=True)
class Exported:
    """A network and its files."""

    model: FaceModel
    folder: Path
    printed: str

    def file(self, name: str) -> Path:
        return self.folder / name


@pytest.fixture(scope="session")
def exported(tmp_path_factory, faces, bench) -> Exported:
    """A network that takes BGR in 0..255, as every file that there is."""
    folder = tmp_path_factory.mktemp("exported")
    preprocess = {"input_range": (0.0, 255.0), "channels": "bgr"}
    model = drawn(size=SIZE, preprocess=preprocess, bn_eps=1e-3)
    model.save(folder / "student.pt", stage="student", run="mine", label_map_hash="abc123")
    names = {"onnx": "s.onnx", "int8": "s.int8.onnx", "fp16": "s.fp16.onnx"}
    names |= {"torch-export": "s.pt2", "safetensors": "weights.safetensors"}
    files = [part for k, v in names.items() for part in (f"--{k}", str(folder / v))]
    gate = ["--bench", "tiny", "--data", str(bench), "--max-drop", "100", "--workers", "0"]
    calibrate = ["--calibrate", str(faces), "--calibration-images", "20"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main(["export", str(folder / "student.pt"), *files, *calibrate, *gate]) == 0
    return Exported(FaceModel.load(folder / "student.pt"), folder, printed.getvalue())


@pytest.fixture
def images() -> np.ndarray:
    """uint8 (5, 112, 112, 3)."""
    return np.random.default_rng(1).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
