"""Names read from files stay in their folder, and apart."""

import os
import tempfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facekd.data_tools.safe_paths import check_no_clash, inside, safe_relative
from facekd.errors import FacekdError

HOSTILE = {
    "": "empty",
    "/etc/passwd": "absolute",
    "//server/share/a.jpg": "absolute",
    "\\\\server\\share": "absolute",
    "C:/a.jpg": "drive letter",
    "c:a.jpg": "drive letter",
    "..": "leads out",
    "a/../../b.jpg": "leads out",
    "a/..": "leads out",
    "a//b.jpg": "empty or dots",
    "a/": "empty or dots",
    "./a.jpg": "empty or dots",
    "a/...": "empty or dots",
    "a\\..\\b.jpg": "backslash",
    "a/b\0.jpg": "control character",
    "a/b\n.jpg": "control character",
    "a\x85/b.jpg": "control character",
    "a\u2028.jpg": "control character",
    "a/b\udcff.jpg": "no UTF-8",
    "é" * 128: "too long",
    "a/" * 1024 + "b": "too long",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_refused(text):
    with pytest.raises(FacekdError, match=HOSTILE[text]) as error:
        safe_relative(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["a", "n000001/0001_01.jpg", "Jean-Luc O'Neill Jr./é (1).jpg", "..a/b..jpg", ".h/a"]
)
def test_taken_as_it_is(text):
    assert str(safe_relative(text)) == text
    assert isinstance(safe_relative(text), PurePosixPath)


parts = st.sampled_from(["..", ".", "", "a", "b.jpg", "C:", "\\", "\0", "x" * 300, "...", "é"])


@given(st.one_of(st.text(max_size=40), st.lists(parts, max_size=6).map("/".join)))
@example("a/./b")
def test_whatever_is_taken_stays_below_its_folder(text):
    try:
        taken = safe_relative(text)
    except FacekdError:
        return
    root = "/some/folder"
    assert os.path.normpath(os.path.join(root, taken)).startswith(root + "/")
    assert str(taken) == text
    with tempfile.TemporaryDirectory() as folder:  # a real disk takes it
        path = inside(folder, taken)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_links_that_lead_outside(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "real").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "a.jpg").write_bytes(b"x")
    (root / "within").symlink_to("real")
    (root / "out").symlink_to(elsewhere)
    (root / "real/a.jpg").symlink_to("../../elsewhere/a.jpg")
    (root / "loop").symlink_to("loop")
    assert inside(root, "within/b.jpg") == root / "within/b.jpg"
    assert inside(root, "not/there.jpg") == root / "not/there.jpg"
    for text in ("out/a.jpg", "out/not_there.jpg", "real/a.jpg"):
        with pytest.raises(FacekdError, match="is a link out of"):
            inside(root, text)
    with pytest.raises(FacekdError, match="leads out"):
        inside(root, "../elsewhere/a.jpg")
    (tmp_path / "alias").symlink_to(root)
    assert inside(tmp_path / "alias", "real/b.jpg").parent.is_dir()
    assert inside("/", "etc/hostname") == Path("/etc/hostname")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a/1.jpg", "A/1.JPG"], "are one on some disks"),
        (["Ren\u00e9/1.jpg", "Rene\u0301/1.jpg"], "are one on some disks"),
        (["STRASSE/1", "straße/1"], "are one on some disks"),
        (["Jr./1.jpg", "Jr/1.jpg"], "are one on some disks"),
        (["a/1", "b/1", "a/1"], "occurs twice"),
        (["a/b/c.jpg", "a/b"], "both a file and the folder"),
        (["a", "a/b/c.jpg"], "both a file and the folder"),
    ],
)
def test_names_that_clash(names, reason):
    with pytest.raises(FacekdError, match=reason):
        check_no_clash(names)


def test_names_that_do_not_clash():
    check_no_clash(f"{person}/{image}.jpg" for person in "abc" for image in range(30))
    check_no_clash([])


@given(st.lists(st.text(alphabet="aAéÉe\u0301. /", min_size=1, max_size=5), max_size=6))
def test_a_disk_that_tells_all_names_apart_is_enough_where_there_is_no_clash(names):
    try:
        check_no_clash(names)
    except FacekdError:
        return
    assert len({name.casefold() for name in names}) == len(names)
