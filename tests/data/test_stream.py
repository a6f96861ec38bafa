"""Tar shards read from front to back."""

import pickle
import re
import tarfile
from collections import Counter

import numpy as np
import pytest
import torch

import facekd.data.stream
from facekd.data.augment import Augment
from facekd.data.batches import Batches
from facekd.data.faces import load_faces
from facekd.data.loader import make_loader
from facekd.data.shard_order import LANES, ShardOrder
from facekd.data.slices import Slices
from facekd.data.stream import StreamedViews
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.tar_shards import TarImages, read_shards
from facekd.data_tools.writers import write_set
from facekd.errors import FacekdError
from facekd.recipe import Data, Recipe

webdataset = pytest.importorskip("webdataset")

IMAGES, SHARDS, BUFFER = 60, 7, 24
MIRROR = Augment()


def write_shards(folder):
    """Images that tell their number, as another program writes shards."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    cuts = np.sort(rng.choice(np.arange(1, IMAGES), SHARDS - 1, replace=False))
    for s, numbers in enumerate(np.split(np.arange(IMAGES), cuts)):
        with webdataset.TarWriter(str(folder / f"{s:03d}.tar")) as sink:
            for i in numbers.tolist():
                image = encode_jpeg(np.full((16, 16, 3), 4 * i, np.uint8))
                sink.write({"__key__": f"{i:05d}", "jpg": image, "cls": str(i % 5)})
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("stream") / "shards")


def load(folder, **settings):
    settings = {"reading": "stream", "buffer": BUFFER, **settings}
    return load_faces(Data(source=str(folder), **settings), 16)[0]


def batches_of(faces, start=0, stop=30, seed=3, batch_size=8):
    return Batches(len(faces), batch_size, seed, MIRROR, start, stop, order=faces.order)


def read(faces, batches, workers=0):
    loader = make_loader(faces, batches, MIRROR, workers=workers, stream=True)
    found = list(loader)
    assert len(found) == len(batches)
    return found


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        for name in ("images", "labels", "index", "position", "look"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=0)


def test_an_epoch_visits_every_image_once_whatever_the_processes(shards):
    faces = load(shards)
    whole = read(faces, batches_of(faces, stop=14))
    for epoch in (whole[:7], whole[7:]):
        seen = Counter(torch.cat([batch.position for batch in epoch]).tolist())
        assert set(seen.values()) == {1}
        assert len(seen) == IMAGES // 8 * 8
    assert whole[0].position.tolist() != whole[7].position.tolist()
    for workers in (1, 2):
        same(read(faces, batches_of(faces, stop=14), workers), whole)


def test_the_images_are_those_that_are_read_by_index(shards):
    faces = load(shards)
    steps = list(batches_of(faces, stop=8))
    for batch, views in zip(read(faces, batches_of(faces, stop=8)), steps, strict=True):
        (plain,) = make_loader(faces, [sorted(views)], MIRROR, workers=0)
        same([batch], [plain])
        assert batch.images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_share_each_step(shards, workers):
    faces = load(shards)
    whole = read(faces, batches_of(faces, stop=7))
    halves = [
        read(faces, Slices(batches_of(faces, stop=7), rank, world=2), workers) for rank in (0, 1)
    ]
    for step, first, second in zip(whole, *halves, strict=True):
        assert len(first.position) == len(second.position) == 4
        both = torch.cat([first.position, second.position])
        assert sorted(both.tolist()) == step.position.tolist()


@pytest.mark.parametrize(("start", "workers"), [(3, 0), (7, 2), (9, 1), (12, 2)])
def test_a_run_that_goes_on_sees_the_rest_of_the_undisturbed_sequence(shards, start, workers):
    faces = load(shards)
    whole = read(faces, batches_of(faces, stop=16))
    same(read(faces, batches_of(faces, start=start, stop=16), workers), whole[start:])


def test_every_shard_is_read_once_an_epoch(shards, monkeypatch):
    """The point of it all: no shard is opened twice, and no image is waited for in vain."""
    opened = []

    class Watched(facekd.data.stream.ShardStream):
        def __init__(self, path, *rest):
            opened.append(path.name)
            super().__init__(path, *rest)

    monkeypatch.setattr(facekd.data.stream, "ShardStream", Watched)
    faces = load(shards)
    for rank in (0, 1):
        opened.clear()
        read(faces, Slices(batches_of(faces, stop=7), rank, world=2))
        assert len(opened) == len(set(opened)) <= SHARDS
    opened.clear()
    read(faces, batches_of(faces, start=4, stop=7))
    assert len(opened) == len(set(opened))


def test_what_is_kept_is_bounded(shards):
    faces = load(shards)
    views = StreamedViews(faces, faces.order, MIRROR)
    most = 0
    for step in Slices(batches_of(faces, stop=21), 0, world=2):
        views.__getitems__(step)
        streams = [s for lane in views._open.values() for s in lane]
        most = max(most, sum(len(s._kept) for s in streams))
        for lane in views._open.values():
            assert len(lane) <= faces.order.open
        assert all(len(s._kept) <= faces.order.ahead for s in streams)
    assert 0 < most <= 3 * BUFFER


def order_of(counts, buffer, rows=None):
    members = [(s, 512 * k, 9) for s, count in enumerate(counts) for k in range(count)]
    names = [f"{s}.tar" for s in range(len(counts))]
    every = np.arange(len(members))
    rows = every if rows is None else rows
    return ShardOrder(TarImages(names, np.array(members, np.int64)), rows, buffer)


def test_the_order_goes_through_the_lanes_at_an_even_pace():
    counts = [30, 50, 41, 7, 60, 22, 35, 35]
    order = order_of(counts, buffer=1)
    drawn = order.draw(np.random.default_rng(1))
    assert sorted(drawn.tolist()) == list(range(sum(counts)))
    shards = np.repeat(np.arange(8), counts)[drawn]
    lanes = order.lanes[drawn]
    assert set(lanes) == {0, 1, 2, 3}
    for lane in range(4):
        places = np.flatnonzero(lanes == lane)
        even = (np.arange(len(places)) + 0.5) / len(places) * len(drawn)
        assert abs(places - even).max() <= 4
        mine = shards[places]
        assert np.count_nonzero(np.diff(mine)) == len(set(mine)) - 1  # one shard after the other
        for shard in set(mine):  # and each from front to back
            assert (np.diff(drawn[places][mine == shard]) == 1).all()


def test_the_buffer_shuffles_neighbours_and_the_seed_fixes_it():
    order = order_of([40] * 20, buffer=100)
    plain = order_of([40] * 20, buffer=1)
    drawn = order.draw(np.random.default_rng(5))
    assert (drawn == order.draw(np.random.default_rng(5))).all()
    assert (drawn != order.draw(np.random.default_rng(6))).any()
    for start in range(0, 800, 100):
        run = sorted(drawn[start : start + 100].tolist())
        assert run == sorted(plain.draw(np.random.default_rng(5))[start : start + 100].tolist())
        assert len({position // 40 for position in run}) >= 10  # shards that meet
    assert len(set(order.lanes)) == 10
    assert len(set(order_of([40] * 100, buffer=100).lanes)) == LANES


def test_small_shards_and_left_out_images(tmp_path, monkeypatch):
    items = list(read_items(IMAGES))
    write_set(items, tmp_path / "tiny", "tar", shard_images=2)
    listed = tmp_path / "drop.csv"
    listed.write_text("image\n" + "".join(f"{i % 5}/{i:05d}.jpg\n" for i in range(0, 40, 3)))
    faces = load(tmp_path / "tiny", exclude=str(listed), min_images=2, buffer=30)
    assert len(faces) == IMAGES - 14
    assert faces.order.open > 3
    found = read(faces, batches_of(faces, stop=5, batch_size=9), workers=2)
    positions = torch.cat([batch.position for batch in found])
    assert sorted(positions.tolist()) == sorted(set(positions.tolist()))
    for batch in found:
        for image, index in zip(batch.images, batch.index.tolist(), strict=True):
            assert abs(float(image.float().mean()) - 4 * index) < 3


def read_items(count):
    from facekd.data_tools.items import Item

    for i in range(count):
        image = encode_jpeg(np.full((16, 16, 3), 4 * i, np.uint8))
        yield Item(str(i % 5), f"{i:05d}.jpg", i % 5, image, None, None)


def test_the_dataset_goes_to_another_process(shards):
    faces = load(shards)
    views = StreamedViews(faces, faces.order, MIRROR)
    (step,) = batches_of(faces, stop=1)
    before = views.__getitems__(step)
    after = pickle.loads(pickle.dumps(views)).__getitems__(step)
    for (view, image), (other, again) in zip(before, after, strict=True):
        assert view == other
        np.testing.assert_array_equal(image, again)


def test_an_image_that_does_not_decode_is_named_and_the_rest_goes_on(tmp_path):
    folder = write_shards(tmp_path / "shards")
    path = sorted(folder.glob("*.tar"))[0]
    members = read_shards([path]).images.members
    data = bytearray(path.read_bytes())
    start, size = members[1, 1:].tolist()
    data[start : start + size] = bytes(size)
    path.write_bytes(bytes(data))
    faces = load(folder)
    found = read(faces, batches_of(faces, stop=14), workers=2)
    bad = {reason for batch in found for reason in batch.bad}
    assert len(bad) == 1
    assert f"{path.name} at byte {start}" in bad.pop()
    assert sum(len(batch.position) for batch in found) >= 14 * 8 - 2  # two epochs


@pytest.mark.parametrize("how", ["gone", "another"])
def test_a_shard_that_changes_during_training_is_refused(tmp_path, how):
    folder = write_shards(tmp_path / "shards")
    faces = load(folder)
    for path in folder.glob("*.tar"):
        path.unlink()
        if how == "another":
            with tarfile.open(path, "w") as tar:
                entry = tarfile.TarInfo("00000.jpg")
                tar.addfile(entry)
    message = "cannot read .*No such file" if how == "gone" else "no longer what it was"
    (batch,) = read(faces, batches_of(faces, stop=1))
    assert len(batch.position) == 0
    assert len(batch.bad) == 8
    assert all(re.search(message, reason) for reason in batch.bad)


def test_what_cannot_be_streamed(shards, tmp_path):
    people = tmp_path / "people" / "a"
    people.mkdir(parents=True)
    for i in range(4):
        (people / f"{i}.jpg").write_bytes(encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
    (tmp_path / "people" / "b").mkdir()
    (tmp_path / "people" / "b" / "0.jpg").write_bytes((people / "0.jpg").read_bytes())
    message = "data.reading: stream is for tar shards alone"
    for settings in (
        {"source": str(tmp_path / "people")},
        {"source": "synthetic"},
        {"source": str(shards), "unlabelled": str(tmp_path / "people")},
    ):
        with pytest.raises(FacekdError, match=message):
            load_faces(Data(reading="stream", **settings), 16)


def test_balance_is_refused():
    stages = {"student": {"balance": 2}}
    with pytest.raises(
        ValueError, match=r"stages\.student\.balance draws people .* reading: index"
    ):
        Recipe(data={"source": "x", "reading": "stream"}, stages=stages)
    Recipe(data={"source": "x"}, stages=stages)


def test_without_the_library_a_sentence(shards, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FacekdError, match=r"needs the webdataset package; install facekd\["):
        load(shards)
