"""Images without labels, alone or behind labelled ones."""

import numpy as np
import pytest

from facekd.data.faces import load_faces
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.errors import FacekdError
from facekd.recipe import Data


def image(seed):
    return np.random.default_rng(seed).integers(0, 255, (32, 32, 3), np.uint8)


def folder(root, *places):
    for seed, place in enumerate(places):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(image(seed)))
    return root


def records(path, labels):
    with RecordWriter(path) as writer:
        for i, label in enumerate(labels):
            writer.write(10 + i, pack(IRHeader(float(label), 10 + i), encode_jpeg(image(90 + i))))
    return path


def test_loose_images_alone_have_no_class(tmp_path):
    crops = folder(tmp_path / "crops", "a.jpg", "deep/er/b.png", "c.jpg", ".hidden/d.jpg")
    faces, holdout = load_faces(Data(source="none", unlabelled=str(crops)), 32)
    assert (len(faces), faces.num_classes, holdout) == (3, 0, None)
    assert faces.labels.tolist() == [-1] * 3
    assert faces[0].shape == (32, 32, 3)


def test_unlabelled_images_stand_behind_the_labelled_ones(tmp_path):
    crops = folder(tmp_path / "crops", "x.jpg", "y.jpg")
    rec = records(tmp_path / "a.rec", [7, 7, 3, 5])
    faces, holdout = load_faces(
        Data(source=str(rec), unlabelled=str(crops), min_images=2, holdout=1), 32
    )
    assert faces.num_classes == 0  # the only one with two images is held back
    assert holdout is not None
    assert holdout.labels.tolist() == [0, 0]
    faces, _ = load_faces(Data(source=str(rec), unlabelled=str(crops)), 32)
    assert faces.labels.tolist() == [2, 2, 0, 1, -1, -1]
    assert faces.index.tolist() == [10, 11, 12, 13, 14, 15]
    alone = load_faces(Data(source="none", unlabelled=str(crops)), 32)[0]
    assert np.array_equal(faces[5], alone[1])


def test_the_labels_of_a_rec_are_left_aside(tmp_path):
    rec = records(tmp_path / "a.rec", [7, 7, 3, 5])
    faces, _ = load_faces(Data(source="none", unlabelled=str(rec)), 32)
    assert (faces.num_classes, faces.labels.tolist()) == (0, [-1] * 4)


def test_a_list_can_leave_out_unlabelled_images_too(tmp_path):
    crops = folder(tmp_path / "crops", "x.jpg", "y.jpg")
    rec = records(tmp_path / "a.rec", [0, 1])
    (tmp_path / "out.csv").write_text("image\nx.jpg\n10\n")
    data = Data(source=str(rec), unlabelled=str(crops), exclude=str(tmp_path / "out.csv"))
    faces, _ = load_faces(data, 32)
    assert faces.labels.tolist() == [0, -1]


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "data.unlabelled: .*does not exist"), ("empty", "no images")]
)
def test_what_is_not_there_is_told(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FacekdError, match=message):
        load_faces(Data(source="none", unlabelled=str(tmp_path / name)), 32)
