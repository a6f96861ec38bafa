"""The images of classification stages: folders, and the sets of torchvision's readers."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from tiny_classes import NAMES, write_classes
from tiny_sets import SETS, write_cifar
from torchvision import datasets

from facekd.data.augment import Augment
from facekd.data.classes import load_classes
from facekd.data.loader import make_loader
from facekd.errors import FacekdError
from facekd.recipe import Data


@pytest.mark.parametrize("judged", ["val", "test"])
def test_a_folder(tmp_path, judged):
    write_classes(tmp_path, each=4, judged=judged)
    train, val = load_classes(Data(source=str(tmp_path)), 32)
    assert train.label_map.names == val.label_map.names == NAMES
    assert (len(train), len(val)) == (24, 12)
    assert np.bincount(train.labels).tolist() == [4] * 6
    assert np.bincount(val.labels).tolist() == [2] * 6
    assert train.label_map.hash == val.label_map.hash
    assert "bee" in str(val.source.called()[0][int(val.rows[2])])
    assert train[0].shape == (32, 32, 3)


def test_a_class_of_one_part_only(tmp_path):
    write_classes(tmp_path, each=4)
    (tmp_path / "val" / "ant").rename(tmp_path / "val" / "ants")
    with pytest.raises(FacekdError, match=r"class 'ants' that the training.*'ant'"):
        load_classes(Data(source=str(tmp_path)), 32)


def test_classes_left_out_are_left_out_of_both(tmp_path):
    write_classes(tmp_path, each=4)
    train, val = load_classes(Data(source=str(tmp_path), max_identities=2), 32)
    assert train.num_classes == 2
    assert set(val.labels) == {0, 1}
    assert len(val) == 4


def test_a_photograph_is_cut_at_its_centre(tmp_path):
    write_classes(tmp_path, each=2)
    ramp = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (64, 1, 3))
    cv2.imwrite(str(tmp_path / "train" / "ant" / "0.png"), ramp)
    train, _ = load_classes(Data(source=str(tmp_path)), 32)
    row = train[0][16, :, 0].astype(int)
    # side 7/8 of 64 = 56, from column 72 to 128, by twos less an eighth
    assert abs(row[0] - 72) <= 1
    assert abs(row[-1] - 127) <= 1
    whole = train.whole(0)
    assert whole.shape == (64, 200, 3)
    crops = Augment(resized_crop=0.2, size=32)
    (batch,) = make_loader(train, [[(0, 2), (0, 4), (0, 6)]], crops, workers=0)
    assert batch.images.shape == (3, 3, 32, 32)
    assert batch.images[:, 0, 16, 0].unique().numel() == 3


def test_resized_crops_keep_to_area_and_ratio():
    """Columns and rows as colours: the corners of what comes out tell the rectangle."""
    height, width, least = 120, 180, 0.2
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    image = np.stack([columns, rows, rows], axis=2)
    augment = Augment(flip=False, resized_crop=least, size=60)
    areas, ratios = [], []
    for look in range(0, 400, 2):
        out = augment.apply(image, 5, look).astype(float)
        step = (out[-1, -1] - out[0, 0])[:2] / 59  # of one pixel of the result
        w, h = step * 60
        areas.append(w * h / (height * width))
        ratios.append(w / h)
    assert 0.9 * least < min(areas) < 0.25
    assert 0.85 < max(areas) < 1.1
    assert 0.7 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.45


def test_padded_images_are_shifted():
    image = np.arange(1, 26, dtype=np.uint8).reshape(5, 5, 1).repeat(3, axis=2)
    augment = Augment(flip=False, pad=2)
    framed = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    places = {(i, j): framed[i : i + 5, j : j + 5] for i in range(5) for j in range(5)}
    found = set()
    for look in range(0, 600, 2):
        out = augment.apply(image, 0, look)
        found |= {place for place, part in places.items() if np.array_equal(part, out)}
    assert found == places.keys()


def test_faces_are_squeezed_as_before(tmp_path):
    write_classes(tmp_path, each=2)
    train, _ = load_classes(Data(source=str(tmp_path)), 32)
    assert train.centre
    from facekd.data.faces import load_faces

    faces, _ = load_faces(Data(source=str(tmp_path / "train")), 32)
    assert not faces.centre
    assert faces.fingerprint != train.fingerprint
    assert faces.label_map.hash == train.label_map.hash


@pytest.mark.parametrize(
    ("name", "reader"), [("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)]
)
def test_cifar(name, reader, tmp_path, monkeypatch):
    names = write_cifar(tmp_path, reader, monkeypatch, each=200)
    train, val = load_classes(Data(source=f"{name}:{tmp_path}"), 32)
    theirs = reader(str(tmp_path), train=True)
    assert train.label_map.names == tuple(names)
    assert len(train) == 200 * len(reader.train_list)
    assert len(val) == 200
    assert train.labels.tolist() == theirs.targets
    assert np.array_equal(train[7], np.asarray(theirs[7][0]))
    assert train.fingerprint != val.fingerprint


def test_a_changed_cifar_file_is_not_unpickled(tmp_path, monkeypatch):
    write_cifar(tmp_path, datasets.CIFAR10, monkeypatch)
    touched = tmp_path / "touched"

    class Harm:
        def __reduce__(self):
            return (touched.write_text, ("harm",))

    batch = tmp_path / datasets.CIFAR10.base_folder / "data_batch_2"
    batch.write_bytes(pickle.dumps(Harm()))
    with pytest.raises(FacekdError, match=r"no whole cifar10 set in .*nothing is downloaded"):
        load_classes(Data(source=f"cifar10:{tmp_path}"), 32)
    assert not touched.exists()


@pytest.mark.parametrize("name", SETS)
def test_fine_grained_sets(name, tmp_path):
    names = SETS[name](tmp_path)
    train, val = load_classes(Data(source=f"{name}:{tmp_path}"), 32)
    assert train.label_map.names == val.label_map.names == tuple(names)
    assert (len(train), len(val)) == (6, 6)
    assert sorted(set(train.labels.tolist())) == [0, 1, 2]
    assert train[1].shape == (32, 32, 3)
    ids, called = train.source.called()
    assert ids[0].endswith("jpg")
    assert train.source.labels.max() == 2
    assert tuple(called) == tuple(names)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"source": "nowhere"}, "nowhere is no folder; with task: classification name a folder"),
        ({"source": "cifar:here"}, "cifar100:FOLDER.*did you mean 'cifar10'"),
        ({"source": "cifar10:here"}, "no whole cifar10 set in here"),
        ({"source": "food101:here"}, "no whole food101 set in here"),
        ({}, "cannot train on 'synthetic'"),
        ({"source": "x", "holdout": 3}, "data.holdout is for faces"),
        ({"source": "x", "unlabelled": "y"}, "data.unlabelled is for faces"),
        ({"source": "x", "reading": "stream"}, "'stream' is for tar shards"),
    ],
)
def test_what_cannot_be_read(settings, words):
    with pytest.raises(FacekdError, match=words):
        load_classes(Data(**settings), 32)


def test_a_damaged_list_of_cub(tmp_path):
    SETS["cub"](tmp_path)
    lists = tmp_path / "CUB_200_2011" / "train_test_split.txt"
    lists.write_text(lists.read_text().replace("3 1", "4 1"))
    with pytest.raises(FacekdError, match=r"no whole cub set .*does not number its lines"):
        load_classes(Data(source=f"cub:{tmp_path}"), 32)


def test_a_folder_without_validation_images(tmp_path):
    write_classes(tmp_path, each=2)
    (tmp_path / "val").rename(tmp_path / "other")
    with pytest.raises(FacekdError, match="lacks train/ or val/"):
        load_classes(Data(source=str(tmp_path)), 32)


def test_the_own_random_numbers_of_torch_stay():
    before = torch.get_rng_state()
    augment = Augment.of(Data(randaugment="on"))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    one, two, again = (augment.apply(image, 3, look) for look in (8, 10, 8))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, two)
    assert torch.equal(torch.get_rng_state(), before)
