import pytest

from facekd.data_tools.folder import list_folder
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
    assert [p.name for p in listing.paths[:4]] == ["img1.webp", "img2.jpeg", "img10.PNG", "n.bmp"]
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


def test_no_folder(tmp_path):
    with pytest.raises(FacekdError, match="is not a folder"):
        list_folder(tmp_path / "nothing")
