import cv2
import numpy as np
import pytest

from facekd.data_tools.folder import SUFFIXES, UNKNOWN_SUFFIX, list_folder
from facekd.data_tools.images import decode_rgb
from facekd.data_tools.items import image_suffix
from facekd.errors import FacekdError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_lists_as_people_sort(tmp_path):
    touch(tmp_path, "id10/a.jpg", "id2/img10.PNG", "id2/img2.jpeg", "id2/img1.webp", "id2/n.bmp")
    touch(tmp_path, "id2/notes.txt", "id2/.hidden.jpg", ".cache/x.jpg", "readme.txt")
    listing = list_folder(tmp_path)
    assert listing.names == ["id2", "id10"]
    assert [listing.places[i] for i in range(4)] == [
        f"id2/{name}" for name in ("img1.webp", "img2.jpeg", "img10.PNG", "n.bmp")
    ]
    assert listing.labels.tolist() == [0, 0, 0, 0, 1]


def test_order_is_total(tmp_path):
    touch(tmp_path, *(f"{name}/a.jpg" for name in ["01", "1", "B", "a", "b", "1a", "²"]))
    assert list_folder(tmp_path).names == ["01", "1", "1a", "a", "B", "b", "²"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has no sub-folders"),
        (["loose.jpg", "ann/a.jpg"], r"holds 1 loose images \(loose.jpg"),
        (["ann/a.jpg", "bob/notes.txt"], "bob holds no images"),
        ([".git/a.jpg"], "has no sub-folders"),
    ],
)
def test_what_is_no_image_folder(tmp_path, names, message):
    touch(tmp_path, *names)
    with pytest.raises(FacekdError, match=message):
        list_folder(tmp_path)


def test_every_suffix_is_of_a_kind_that_decodes():
    image = np.full((4, 4, 3), 7, dtype=np.uint8)
    for suffix in SUFFIXES:
        encoded = cv2.imencode(suffix, image[..., 0] if suffix == ".pgm" else image)[1].tobytes()
        assert decode_rgb(encoded).shape == (4, 4, 3)
        assert image_suffix(encoded) == (".jpg" if suffix == ".jpeg" else suffix)
    assert image_suffix(b"GIF89a") == UNKNOWN_SUFFIX


def test_no_folder(tmp_path):
    with pytest.raises(FacekdError, match="is not a folder"):
        list_folder(tmp_path / "nothing")
