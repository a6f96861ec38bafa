"""Names read from files stay in their folder, and apart."""

import os
import tempfile
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from facekd.data_tools.safe_paths import check_no_clash, check_relative, inside, safe_relative
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


def is_safe(text: str) -> bool:
    """The verdict by way of a path object, rule after rule."""
    path = PurePosixPath(text)
    parts = path.parts
    return (
        bool(parts)
        and str(path) == text
        and not path.is_absolute()
        and not any(set(part) == {"."} or "\\" in part for part in parts)
        and not (text[1:2] == ":" and text[0].isascii() and text[0].isalpha())
        and not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text)
        and not any("\ud800" <= character <= "\udfff" for character in text)
        and len(os.fsencode(text)) <= 2048
        and all(len(os.fsencode(part)) <= 255 for part in parts)
    )


parts = st.sampled_from(["..", ".", "", "a", "b.jpg", "C:", "\\", "\0", "x" * 300, "...", "é"])


texts = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="aB9._-+ /:\\é\n\udc80", max_size=12),
    st.lists(parts, max_size=6).map("/".join),
    st.integers(1, 11).map(lambda depth: "/".join(["x" * 250] * depth)),
)


@given(texts)
@example("a/./b")
@example("a:b")
@example("C:")
@example("a/" * 9 + "b.jpg")
@example("a" * 64 + "/" + "b" * 65)
def test_the_check_alone_has_the_same_verdict(text):
    if is_safe(text):
        assert check_relative(text) == text == str(safe_relative(text))
        return
    told = []
    for check in (check_relative, safe_relative):
        with pytest.raises(FacekdError) as error:
            check(text)
        told.append(str(error.value))
    assert told[0] == told[1]


@pytest.mark.parametrize("text", HOSTILE)
def test_both_verdicts_on_hostile_names(text):
    assert not is_safe(text)


@given(texts)
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
