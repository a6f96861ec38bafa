import numpy as np
import pytest
import torch

from facekd.data.augment import Augment
from facekd.data.batches import Batches
from facekd.data.faces import load_faces
from facekd.data.loader import BadRecords, Batch, default_workers, make_loader
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.errors import FacekdError
from facekd.recipe import Data

MIRROR = Augment()


def faces_of(path, bad=(), count=23):
    """Records 100, 101, ... of random images, some of which do not decode."""
    rng = np.random.default_rng(0)
    with RecordWriter(path) as writer:
        for i in range(count):
            image = encode_jpeg(rng.integers(0, 255, (32, 32, 3), np.uint8))
            image = b"no picture" if i in bad else image
            writer.write(100 + i, pack(IRHeader(float(i % 4), 100 + i), image))
    return load_faces(Data(source=str(path)), 32)[0]


@pytest.fixture
def faces(tmp_path):
    return faces_of(tmp_path / "a.rec")


def test_every_epoch_is_a_permutation_and_mirrors_half():
    steps = list(Batches(1003, 10, seed=3, augment=MIRROR, start=0, stop=300))
    assert [len(views) for views in steps] == [10] * 300
    orders, mirrored = [], []
    for epoch in range(3):
        views = [view for step in steps[100 * epoch : 100 * epoch + 100] for view in step]
        positions = [position for position, _ in views]
        assert len(set(positions)) == 1000
        assert set(positions) <= set(range(1003))
        orders.append(positions)
        mirrored.append({position for position, flip in views if flip})
        assert 400 < len(mirrored[-1]) < 600
    assert orders[0] != orders[1]
    assert mirrored[0] != mirrored[1]


def test_the_coin_is_the_seeds():
    def draw(seed, flip=True):
        return list(Batches(40, 4, seed, Augment(flip), 0, 25))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert not any(flip for step in draw(1, flip=False) for _, flip in step)


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 9, 13, 17])
def test_starting_anywhere_gives_the_undisturbed_sequence(start):
    whole = list(Batches(23, 4, seed=5, augment=MIRROR, start=0, stop=17))
    sampler = Batches(23, 4, seed=5, augment=MIRROR, start=start, stop=17)
    assert list(sampler) == whole[start:]
    assert len(sampler) == 17 - start


def test_a_batch_holds_what_its_views_say(faces):
    views = [(3, 0), (3, 1), (22, 0)]
    (batch,) = make_loader(faces, [views], MIRROR, workers=0)
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (3, 3, 32, 32)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch.images[0].flip(2), batch.images[1])
    assert np.array_equal(batch.images[2].permute(1, 2, 0).numpy(), faces[22])
    assert batch.index.tolist() == [103, 103, 122]
    assert batch.labels.tolist() == [3, 3, 2]
    assert batch.position.tolist() == [3, 3, 22]
    assert batch.look.tolist() == [0, 1, 0]


def test_loader_processes_change_nothing(faces):
    def draw(workers):
        sampler = Batches(len(faces), 5, 1, MIRROR, 2, 11)
        return list(make_loader(faces, sampler, MIRROR, workers=workers))

    alone, helped = draw(0), draw(2)
    assert len(alone) == len(helped) == 9
    for a, b in zip(alone, helped, strict=True):
        for name in ("images", "labels", "index", "position", "look"):
            assert torch.equal(getattr(a, name), getattr(b, name))


def test_the_loader_leaves_torchs_random_numbers_alone(faces):
    before = torch.get_rng_state()
    list(make_loader(faces, [[(0, 0)]], MIRROR, workers=0))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_what_does_not_decode_is_named_with_record_and_byte(tmp_path, workers):
    faces = faces_of(tmp_path / "a.rec", bad={4})
    offset = int((tmp_path / "a.idx").read_text().split("\n")[4].split("\t")[1])
    (batch,) = make_loader(faces, [[(3, 1), (4, 0), (5, 1)]], MIRROR, workers=workers)
    assert batch.index.tolist() == [103, 105]
    assert batch.look.tolist() == [1, 1]
    (told,) = batch.bad
    assert told.startswith(f"a.rec record 104 at byte {offset}: 10 bytes do not decode as an image")
    with pytest.raises(FacekdError, match=r"record 104 at byte .*data.on_bad_record=skip"):
        BadRecords("error", 0.5, 23).check(batch)


def batch_of(images, *bad):
    empty = torch.zeros(images)
    return Batch(torch.zeros(images, 3, 2, 2), empty, empty, empty, empty, list(bad))


def test_skipping_counts_each_record_once_up_to_the_ceiling():
    bad = BadRecords("skip", 0.1, 20)
    for reason in ("one", "one", "two", "one"):
        bad.check(batch_of(3, reason))
    assert bad.seen == ("one", "two")
    with pytest.raises(FacekdError, match=r"3 of 20 images .*max_bad=0.1 allows; the last: three"):
        bad.check(batch_of(3, "three"))


def test_an_earlier_sittings_records_count():
    bad = BadRecords("skip", 0.1, 20, seen=("one", "two"))
    bad.check(batch_of(2, "two"))
    with pytest.raises(FacekdError, match="3 of 20"):
        bad.check(batch_of(2, "three"))


def test_a_batch_of_bad_records_only_is_within_the_ceiling():
    bad = BadRecords("skip", 0.5, 20)
    bad.check(batch_of(0, "one", "two"))
    assert len(bad.seen) == 2


@pytest.mark.parametrize(
    ("cores", "processes", "workers"),
    [(1, None, 0), (2, None, 0), (4, None, 3), (16, None, 15), (16, "4", 3), (16, "8", 0)],
)
def test_loader_processes_share_the_cores_that_this_process_may_use(
    monkeypatch, cores, processes, workers
):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert default_workers() == workers
