"""Images decoded in worker processes, embeddings kept in files, several processes, bf16."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facekd import load_model
from facekd.data.image_batches import image_batches
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.pairs import EncodedImages
from facekd.errors import FacekdError
from facekd.eval import embed as module
from facekd.eval.embed import embed_images, embed_to_file, score_pairs
from facekd.eval.embeddings import open_embeddings
from facekd.model import FaceModel

TINY = Path(__file__).parents[1] / "fixtures" / "format1_tiny.pt"
COUNT = 22


def pixels(count=COUNT):
    blocks = np.random.default_rng(0).integers(0, 256, (count, 5, 5, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2)


def encoded(bad=(), count=COUNT):
    jpegs = [encode_jpeg(image) for image in pixels(count)]
    for i in bad:
        jpegs[i] = jpegs[i][:-40]
    return EncodedImages(jpegs, "faces.bin", list(range(count)))


class Dying:
    """Images one of which kills the process that decodes it."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 5:
            os._exit(1)
        return pixels(8)[index]


class Interrupted:
    """A model that is stopped by Ctrl-C after so many calls; it counts the images it has seen."""

    def __init__(self, model, calls=10**9):
        self.model, self.calls, self.seen = model, calls, 0
        self.name, self.embedding_dim, self.preprocess = "tiny", 8, model.preprocess

    def embed(self, images, flip=False):
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        self.seen += len(images)
        return self.model.embed(images, flip=flip)


@pytest.fixture(scope="module")
def model():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a network is slower on two
    yield load_model(TINY)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(model, workers):
    alone = embed_images(encoded(), model, batch_size=4, workers=0)
    assert alone.shape == (COUNT, 8)
    assert len(np.unique(alone, axis=0)) == COUNT  # so that the order can be seen
    np.testing.assert_array_equal(
        embed_images(encoded(), model, batch_size=4, workers=workers), alone
    )


def test_a_worker_decodes_after_the_parent_used_opencvs_threads():
    large = np.zeros((3000, 3000, 3), np.uint8)
    cv2.warpAffine(large, np.eye(2, 3), (3000, 3000))
    with image_batches([large] * 2, 8, range(2), batch_size=2, workers=1) as batches:
        assert [batch.shape for batch in batches] == [(2, 8, 8, 3)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_one_clear_sentence(model, workers):
    with pytest.raises(FacekdError) as caught:
        embed_images(encoded(bad=[9, 13]), model, batch_size=4, workers=workers)
    message = str(caught.value)
    assert message.startswith("faces.bin, image 9: a JPEG of")
    assert "Traceback" not in message
    assert message.count("\n") == 0


def test_embedding_draws_nothing_from_a_runs_random_numbers(model):
    before = torch.get_rng_state()
    embed_images(encoded(), model, batch_size=4, workers=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("where", ["here", "in the block"])
def test_a_worker_that_dies_is_told_wherever_the_code_is(where, workers):
    def work():
        with image_batches(Dying(), 8, range(8), batch_size=2, workers=workers) as batches:
            if where == "here":
                list(batches)
            next(batches)
            time.sleep(30)  # until the signal comes

    with pytest.raises(FacekdError, match=r"a process that decodes images died: .* fewer workers"):
        work()


@pytest.mark.parametrize(
    ("images", "cores", "ranks", "workers"),
    [(100, 16, 1, 0), (10**6, 1, 1, 0), (10**6, 2, 1, 2), (10**6, 64, 1, 8), (10**6, 16, 4, 4)],
)
def test_default_workers(monkeypatch, images, cores, ranks, workers):
    from facekd.data import image_batches as loading

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    assert loading._default_workers(images) == workers


def test_validation_starts_no_processes(model, monkeypatch):
    seen = []
    real = module.image_batches
    monkeypatch.setattr(
        module, "image_batches", lambda *a, **k: seen.append(k["workers"]) or real(*a, **k)
    )
    pairs = pair_set()
    score_pairs(pairs, model)
    assert seen == [0]


def pair_set(found=None):
    from facekd.data_tools.pairs import PairSet

    return PairSet(
        "made",
        encoded(count=4),
        np.array([0, 2, 1]),
        np.array([1, 3, 2]),
        np.array([True, False, True]),
        np.array([0, 0, 0]),
        found=found,
    )


def test_a_face_that_was_not_found_is_not_asked_for(model):
    found = np.ones(COUNT, bool)
    found[[0, 4, 5, 6, 7, 21]] = False  # also a whole batch
    got = embed_images(encoded(bad=[0, 6]), model, batch_size=4, found=found, workers=0)
    assert not got[~found].any()
    np.testing.assert_allclose(got[found], embed_images(encoded(), model)[found], atol=1e-5)
    with pytest.raises(FacekdError, match="3 found flags for 22 images"):
        embed_images(encoded(), model, found=np.ones(3, bool))
    scores = score_pairs(pair_set(np.array([True, True, False, True])), model)
    assert scores[1] == scores[2] == -1.0
    assert scores[0] == score_pairs(pair_set(), model)[0]


def test_the_halves_sum_is_the_flip_sum_bit_for_bit(model, tmp_path):
    whole = model.embed(np.stack([cv2.resize(i, (32, 32)) for i in pixels(6)]), flip=True)
    assert np.abs(whole).max() > 0.1
    halves = embed_images(encoded(), model, halves=True, batch_size=8)
    sums = embed_images(encoded(), model, flip=True, batch_size=8)
    np.testing.assert_array_equal(halves[:, :8] + halves[:, 8:], sums)
    saved = to_file(model, tmp_path)
    np.testing.assert_array_equal(saved.faces(flip=True), sums)
    alone = embed_images(encoded(), model, flip=False, batch_size=8)
    np.testing.assert_array_equal(saved.faces(flip=False), alone)


def to_file(model, folder, **changes):
    arguments = {
        "name": "tiny_of_faces",
        "model_fingerprint": "m",
        "images_fingerprint": "i",
        "batch_size": 8,
    }
    return embed_to_file(encoded(), model, folder, **(arguments | changes))


def test_a_second_run_embeds_nothing(model, tmp_path, capsys):
    counting = Interrupted(model)
    first = to_file(counting, tmp_path)
    assert "embedding 22 images into" in capsys.readouterr().out
    assert counting.seen == 2 * COUNT
    second = to_file(counting, tmp_path)
    assert "nothing is embedded again" in capsys.readouterr().out
    assert counting.seen == 2 * COUNT
    np.testing.assert_array_equal(first.array, second.array)
    assert first.halves
    assert second.dim == 8


def test_any_other_run_has_a_file_of_its_own(model, tmp_path):
    found = np.arange(COUNT) != 3
    to_file(model, tmp_path)
    others = [
        {"model_fingerprint": "other"},
        {"images_fingerprint": "other"},
        {"flip": False},
        {"precision": "bf16"},
        {"found": found},
        {"name": "a/b c"},
    ]
    for number, change in enumerate(others, 2):
        to_file(model, tmp_path, **change)
        assert len(list(tmp_path.glob("*.npy"))) == number
    assert len(list(tmp_path.glob("a_b_c-*.npy"))) == 1
    assert to_file(model, tmp_path, found=found).faces()[3].max() == 0


def test_nothing_is_kept_under_an_empty_fingerprint(model, tmp_path):
    with pytest.raises(FacekdError, match="tiny_of_faces cannot be kept"):
        to_file(model, tmp_path, images_fingerprint="")


def test_what_is_saved_can_be_opened_by_itself(model, tmp_path):
    saved = to_file(model, tmp_path)
    (path,) = tmp_path.glob("*.npy")
    again = open_embeddings(path, count=COUNT)
    assert again.halves
    np.testing.assert_array_equal(again.faces(), saved.faces())
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts["format"] == 1
    assert facts["shape"] == [COUNT, 16]
    assert (facts["model"], facts["model_fingerprint"]) == ("format1_tiny", "m")
    assert (facts["images_fingerprint"], facts["precision"]) == ("i", "fp32")


def test_an_interrupted_run_goes_on_where_it_stopped(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "_SAVE_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        to_file(Interrupted(model, calls=5), tmp_path / "a")
    assert not [p for p in (tmp_path / "a").glob("*.npy") if ".part" not in p.name]
    rest = Interrupted(model)
    to_file(rest, tmp_path / "a")
    assert "going on after 16" in capsys.readouterr().out
    assert rest.seen == 2 * (COUNT - 16)
    to_file(model, tmp_path / "b")
    (one,), (two,) = ((tmp_path / name).glob("*.npy") for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    assert sorted(p.suffix for p in (tmp_path / "a").iterdir()) == [".json", ".lock", ".npy"]


def test_a_full_disk_is_told_before_the_first_image(model, tmp_path, monkeypatch):
    def full(handle, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    counting = Interrupted(model)
    with pytest.raises(FacekdError, match="No space left on device; they take 1,408 bytes"):
        to_file(counting, tmp_path)
    assert counting.seen == 0


def test_bf16_is_close_and_not_the_same(model):
    wide = FaceModel.create("mobilefacenet", 32, 32, width=0.25).eval()
    plain = embed_images(encoded(), wide)
    half = embed_images(encoded(), wide, precision="bf16")
    assert half.dtype == np.float32
    assert (half != plain).any()
    cosines = (half * plain).sum(1) / np.linalg.norm(half, axis=1) / np.linalg.norm(plain, axis=1)
    assert cosines.min() > 0.99
    halves = embed_images(encoded(), wide, precision="bf16", halves=True)
    np.testing.assert_array_equal(halves[:, :32] + halves[:, 32:], half)


def test_bf16_is_for_torch_networks(model):
    with pytest.raises(FacekdError, match="tiny: bf16 is for PyTorch networks"):
        embed_images(encoded(), Interrupted(model), precision="bf16")


SCRIPT = """
import sys
from contextlib import closing
sys.path[:0] = [sys.argv[3]]
from test_embed_workers import TINY, encoded, to_file
from facekd import load_model
from facekd.together import start

with closing(start()) as together:
    got = to_file(load_model(TINY), sys.argv[1], together=together, workers=int(sys.argv[2]))
    assert got.faces().any(axis=1).all()
"""


def test_two_processes_write_the_file_that_one_writes(model, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    here = Path(__file__).parent
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, tmp_path / name, str(rank), here],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, rank, environment in [("two", 0, meeting), ("two", 1, meeting), ("one", 0, {})]
    ]
    spoken = []
    for process in running:
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        spoken.append(out)
    assert spoken[1] == ""  # only the first process speaks
    two, one = (next((tmp_path / name).glob("*.npy")) for name in ("two", "one"))
    assert two.name == one.name
    assert two.read_bytes() == one.read_bytes()
    assert not list(two.parent.glob("*.part*"))
