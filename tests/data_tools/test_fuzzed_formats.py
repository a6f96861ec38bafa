"""Damaged files give a FacekdError or a valid read, and nothing else."""

import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from facekd.data_tools.binfile import read_bin
from facekd.data_tools.facerec import FaceRecords
from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.verify import Verification
from facekd.errors import FacekdError

MXNET = Path(__file__).parents[1] / "fixtures" / "mxnet191" / "records.rec"


rounds = pytest.mark.parametrize("rounds", [300, pytest.param(5000, marks=pytest.mark.long)])


def damaged(content: bytes, chance: random.Random) -> bytes:
    """One of: some bytes changed, a piece cut out, doubled or cut off, a word made extreme."""
    data = bytearray(content)
    at = chance.randrange(len(data))
    end = min(len(data), at + chance.randrange(1, 40))
    match chance.randrange(5):
        case 0:
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
        case 1:
            del data[at:end]
        case 2:
            data[at:at] = data[at:end]
        case 3:
            del data[at:]
        case 4:
            data[at & ~3 : (at & ~3) + 4] = chance.choice([b"\xff" * 4, bytes(4), b"\0\0\0\x20"])
    return bytes(data)


def read_all(records: FaceRecords) -> None:
    assert len(records.keys) == len(records.labels) == len(records)
    assert records.labels.min() >= 0
    for i in range(len(records)):
        assert len(records.encoded(i)) > 0


@rounds
@pytest.mark.parametrize("target", ["rec", "idx", "rec without idx"])
def test_records(tmp_path, target, rounds):
    chance = random.Random(f"fuzz {target}")
    path, outcomes = tmp_path / "a.rec", {"error": 0, "fine": 0}
    for _ in range(rounds):
        rec, idx = MXNET.read_bytes(), MXNET.with_suffix(".idx").read_bytes()
        path.write_bytes(rec if target == "idx" else damaged(rec, chance))
        if target != "rec without idx":
            path.with_suffix(".idx").write_bytes(damaged(idx, chance) if target == "idx" else idx)
        try:
            read_all(FaceRecords(path))
            outcomes["fine"] += 1
        except FacekdError:
            outcomes["error"] += 1
        try:
            read_all(FaceRecords(path, on_bad_record="skip"))
            assert len(list(Verification(path))) > 0
        except FacekdError:
            pass
    assert min(outcomes.values()) > 3, outcomes


@rounds
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("kind", [bytes, lambda image: np.frombuffer(image, np.uint8)])
def test_bin(tmp_path, protocol, kind, rounds):
    chance = random.Random(f"fuzz {protocol}")
    content = pickle.dumps(
        ([kind(b"image %d" % i) for i in range(6)], [True, False, True]), protocol
    )
    path, outcomes = tmp_path / "a.bin", {"error": 0, "fine": 0}
    for _ in range(rounds):
        path.write_bytes(damaged(content, chance))
        try:
            found = read_bin(path)
            assert len(found.encoded) == 2 * len(found.same)
            assert all(isinstance(image, bytes | bytearray) for image in found.encoded)
            outcomes["fine"] += 1
        except FacekdError:
            outcomes["error"] += 1
    assert min(outcomes.values()) > 3, outcomes


@rounds
def test_jpegs(rounds):
    chance = random.Random("fuzz jpeg")
    jpeg = encode_jpeg(np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8))
    for _ in range(rounds):
        try:
            image = decode_rgb(damaged(jpeg, chance))
            assert image.dtype == np.uint8
            assert image.shape[2] == 3
        except FacekdError:
            pass
