"""IJB-B and IJB-C: what is read is what was written, and every mistake is told with its line."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from ijb_shaped import make_ijb

from facekd.data_tools import ijb_faces
from facekd.data_tools.ijb import open_pairs, open_search
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.errors import FacekdError

FACES = "face_tid_mid.txt"
POINTS = "name_5pts_score.txt"
PAIRS = "template_pair_label.txt"
GALLERY = "1N_gallery_G1.csv"
PROBES = "1N_probe_mixed.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_ijb(tmp_path_factory.mktemp("ijb") / "IJBC", faces=200)


@pytest.fixture
def copied(tmp_path):
    """A fresh set without pictures, to be spoiled."""
    return make_ijb(tmp_path / "IJBC", faces=120, images=False)


def edit(made, rest, change):
    """Replace a meta file's lines (without their ends) by `change(lines)`."""
    path = made.folder / "meta" / f"{made.name}_{rest}"
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))
    return path


def set_line(number, text):
    return lambda lines: [*lines[: number - 1], text, *lines[number:]]


def without_line(number):
    return lambda lines: lines[: number - 1] + lines[number:]


def test_pairs_are_read_as_they_were_written(made):
    pairs = open_pairs(made.folder, "ijbc")
    faces = pairs.faces
    assert (pairs.name, pairs.source) == ("ijbc", str(made.folder))
    assert (faces.template_ids == made.template_ids).all()
    assert (faces.template == made.template).all()
    assert (faces.media == made.media).all()
    assert (faces.found == made.found).all()
    assert ((faces.detector >= 0.5) & (faces.detector <= 1)).all()
    assert (np.stack([pairs.left, pairs.right], axis=1) == made.pairs).all()
    assert (pairs.same == made.same).all()
    assert (pairs.left.dtype, pairs.same.dtype) == (np.int32, np.bool_)


def test_subjects_come_from_the_1n_lists_if_all_are_there(copied):
    pairs = open_pairs(copied.folder, "ijbc")
    assert (pairs.subjects == np.unique(copied.subjects, return_inverse=True)[1]).all()
    names = [f"ijbc_1N_{rest}.csv" for rest in ("gallery_G1", "gallery_G2", "probe_mixed")]
    assert pairs.subjects_from == ", ".join(names)
    last = copied.template_ids[np.flatnonzero(~copied.enrolled)[-1]]
    edit(copied, PROBES, lambda lines: [x for x in lines if not x.startswith(f"{last},")])
    assert open_pairs(copied.folder, "ijbc").subjects is None  # one template is of nobody known
    (copied.folder / "meta" / names[0]).unlink()
    pairs = open_pairs(copied.folder, "ijbc")
    assert (pairs.subjects, pairs.subjects_from) == (None, "")


@pytest.mark.parametrize("name", ["ijbb", "ijbc"])
def test_a_search_is_read_as_it_was_written(tmp_path, name):
    made = make_ijb(tmp_path / "set", name, faces=120, images=False)
    search = open_search(made.folder, name)
    assert (search.name, search.faces.images) == (f"{name}_1n", None)
    letter = {"ijbb": "S", "ijbc": "G"}[name]
    assert [gallery.name for gallery in search.galleries] == [f"{letter}1", f"{letter}2"]
    templates = np.concatenate([gallery.templates for gallery in search.galleries])
    assert sorted(templates) == np.flatnonzero(made.enrolled).tolist()
    for gallery in search.galleries:
        assert (made.subjects[gallery.templates] == gallery.subjects).all()
        assert len(gallery.templates) > 0
    assert (search.probes == np.flatnonzero(~made.enrolled)).all()
    assert (search.probe_subjects == made.subjects[search.probes]).all()


def test_images_are_upright_crops_in_the_order_of_the_list(made):
    images = pickle.loads(pickle.dumps(open_pairs(made.folder, "ijbc").faces.images))
    assert len(images) == len(made.template)
    people = np.unique(made.subjects, return_inverse=True)[1]
    drawn = SyntheticFaces(len(np.unique(people)), 5, split="eval")
    for i in np.flatnonzero(made.found)[:20]:
        crop = images[i]
        assert (crop.shape, crop.dtype) == ((112, 112, 3), np.uint8)
        pasted = drawn.image(int(5 * people[made.template[i]] + made.media[i] % 5))
        middle = np.s_[30:90, 30:90]
        assert np.abs(crop[middle].astype(int) - pasted[middle]).mean() < 12
    assert images[int(np.flatnonzero(~made.found)[0])].max() == 0


def test_an_image_that_is_not_there_or_broken_is_told_with_its_line(tmp_path):
    made = make_ijb(tmp_path / "set", faces=20)
    images = open_pairs(made.folder, "ijbc").faces.images
    first, second = np.flatnonzero(made.found)[:2]
    (made.folder / "loose_crop" / f"{first + 1}.jpg").unlink()
    (made.folder / "loose_crop" / f"{second + 1}.jpg").write_bytes(b"nothing")
    for i, message in ((first, "No such file"), (second, "do not decode")):
        with pytest.raises(FacekdError, match=rf"{POINTS}, line {i + 1}: .*{i + 1}.jpg.*{message}"):
            images[int(i)]


def test_a_file_that_is_not_there_is_told_at_once_or_counted(tmp_path):
    made = make_ijb(tmp_path / "set", faces=20)
    before = open_pairs(made.folder, "ijbc").faces
    known = before.images.fingerprint
    first, second = np.flatnonzero(made.found)[:2]
    path = made.folder / "loose_crop" / f"{second + 1}.jpg"
    path.write_bytes(path.read_bytes() + b" ")
    assert open_pairs(made.folder, "ijbc").faces.images.fingerprint != known
    (made.folder / "loose_crop" / f"{first + 1}.jpg").unlink()
    with pytest.raises(FacekdError, match=rf"{first + 1}.jpg: No such file"):
        _ = open_search(made.folder, "ijbc").faces.images.fingerprint
    for opened in (open_pairs, open_search):
        counted = opened(made.folder, "ijbc", missing_ok=True).faces
        assert np.flatnonzero(before.found & ~counted.found).tolist() == [first]
        assert counted.images[int(first)].max() == 0


def test_a_name_that_leads_out_of_the_folder_is_refused(copied):
    for name in ("face_tid_mid.txt", POINTS):
        edit(copied, name, lambda lines: ["../" + lines[0], *lines[1:]])
    (copied.folder / "loose_crop").mkdir(exist_ok=True)
    with pytest.raises(FacekdError, match=r"line 1: the path '\.\./.*relative"):
        open_pairs(copied.folder, "ijbc").faces.images[0]


def test_the_fingerprint_is_that_of_the_face_lists(copied):
    before = open_search(copied.folder, "ijbc").faces.fingerprint
    edit(copied, PAIRS, without_line(2))
    assert open_pairs(copied.folder, "ijbc").faces.fingerprint == before
    edit(copied, POINTS, lambda lines: [line + "1" for line in lines])
    assert open_pairs(copied.folder, "ijbc").faces.fingerprint != before


def test_faces_without_landmarks_are_those_with_all_of_them_missing(copied):
    nan = " ".join(["nan"] * 10)
    edit(copied, POINTS, set_line(1, f"1.jpg {nan} nan"))
    edit(copied, POINTS, set_line(2, f"2.jpg {'-1 ' * 10}0"))
    edit(copied, POINTS, set_line(3, f"3.jpg {'-1 ' * 9}4 0.5"))
    assert open_pairs(copied.folder, "ijbc").faces.found[:3].tolist() == [False, False, True]
    path = edit(copied, POINTS, set_line(3, f"3.jpg {'4 ' * 9}nan 0.5"))
    with pytest.raises(FacekdError, match=f"{path}, line 3: a landmark or the score is not finite"):
        open_pairs(copied.folder, "ijbc")


def test_large_and_negative_template_ids_are_found_too(copied, monkeypatch):
    faces = open_pairs(copied.folder, "ijbc").faces
    wanted = np.array([*faces.template_ids[::-1], -5, 0, 10**9])
    expected = [*range(len(faces.template_ids) - 1, -1, -1), -1, -1, -1]
    assert faces.rows(wanted).tolist() == expected
    monkeypatch.setattr(ijb_faces, "_TABLE", 0)
    assert faces.rows(wanted).tolist() == expected


def test_repeated_pairs_are_an_error_unless_they_are_meant(copied):
    ids = copied.template_ids[copied.pairs]
    again = f"{ids[3][1]} {ids[3][0]} {int(copied.same[3])}"
    path = edit(copied, PAIRS, lambda lines: [*lines, again])
    count = len(ids) + 1
    expected = rf"{path}, line {count}: .* {ids[3][0]} and {ids[3][1]} .* line 4 \(1 lines"
    with pytest.raises(FacekdError, match=expected):
        open_pairs(copied.folder, "ijbc")
    pairs = open_pairs(copied.folder, "ijbc", duplicates=True)
    assert (len(pairs), pairs.source) == (count, f"{copied.folder} (1 lines repeat a pair)")
    edit(copied, PAIRS, set_line(count, again[:-1] + str(1 - int(copied.same[3]))))
    with pytest.raises(FacekdError, match="with the other label"):
        open_pairs(copied.folder, "ijbc", duplicates=True)


def test_pairs_may_come_in_any_order(copied):
    rng = np.random.default_rng(0)
    edit(copied, PAIRS, lambda lines: rng.permutation(lines).tolist())
    pairs = open_pairs(copied.folder, "ijbc")
    key = np.lexsort([pairs.right, pairs.left])
    assert (np.stack([pairs.left, pairs.right], axis=1)[key] == copied.pairs).all()
    assert (pairs.same[key] == copied.same).all()


@pytest.mark.parametrize(
    ("rest", "change", "message"),
    [
        (FACES, without_line(3), r"has 119 lines and ijbc_name_5pts_score.txt 120; their lines"),
        (FACES, set_line(4, "x.jpg 7 1"), r"line 4 is x.jpg in .*but 4.jpg in .*\(1 lines differ"),
        (FACES, set_line(2, "2.jpg 7"), "line 2: 2 fields; expected 'name template media'"),
        (FACES, set_line(2, ""), "line 2: 0 fields"),
        (POINTS, set_line(2, "2.jpg 1 2 3"), "line 2: 4 fields"),
        (POINTS, set_line(2, f"2.jpg {'1 ' * 9}? 0.5"), r"line 2: y5 is '\?'"),
        (PAIRS, set_line(5, "7 8 1"), r"line 5: template 8 has no faces .*\(1 lines name such"),
        (PAIRS, set_line(5, "7 9 2"), "line 5: the label is 2; expected 1 for a genuine"),
        (PAIRS, set_line(5, "7 9 1 0"), "line 5: 4 fields"),
        (PAIRS, set_line(5, "7 9.5 1"), "line 5: template_2 is '9.5', not a whole number of 32"),
        (PAIRS, set_line(5, "7 9000000000 1"), "line 5: template_2 is '9000000000', not a whole"),
        (PAIRS, set_line(5, "7 7 1"), r"line 5: a template is compared with itself \(1 such"),
        (PAIRS, lambda lines: [], "is empty; expected lines of 'template_1 template_2 label'"),
        (PAIRS, lambda lines: [x for x in lines if x.endswith("1")], "pairs is impostor"),
        (PAIRS, lambda lines: [x for x in lines if x.endswith("0")], "pairs is genuine"),
        (GALLERY, without_line(1), "line 1 is already a record, not the header TEMPLATE_ID,SUBJE"),
        (GALLERY, lambda lines: lines[:1], "holds no records; expected lines of TEMPLATE_ID,"),
        (GALLERY, set_line(3, "8,100,x,y"), "line 3: template 8 has no faces in the face list"),
        (GALLERY, set_line(3, "7,x,y,z"), "line 3: SUBJECT_ID is 'x'; expected TEMPLATE_ID,SUBJ"),
        (GALLERY, set_line(3, "7"), "line 3: 1 fields; expected TEMPLATE_ID,SUBJECT_ID,..."),
        (PROBES, lambda x: [*x, x[-1].replace(",", ",9", 1)], r"line \d+: template 53 shows sub"),
    ],
)
def test_mistakes_are_told_with_file_and_line(copied, rest, change, message):
    path = edit(copied, rest, change)
    with pytest.raises(FacekdError, match=message) as caught:
        open_pairs(copied.folder, "ijbc")
    assert path.name in str(caught.value)


@pytest.mark.parametrize("rest", [FACES, POINTS, PAIRS])
def test_a_file_that_is_not_there_is_named(copied, rest):
    path = Path(copied.folder) / "meta" / f"ijbc_{rest}"
    path.unlink()
    with pytest.raises(FacekdError, match=f"cannot read {path}: No such file"):
        open_pairs(copied.folder, "ijbc")


def test_a_subject_enrolled_twice_is_refused(copied):
    def enrol_again(lines):
        subject = lines[1].split(",")[1]
        other = copied.template_ids[np.flatnonzero(~copied.enrolled)[0]]
        return [*lines, f"{other},{subject}"]

    edit(copied, GALLERY, enrol_again)
    with pytest.raises(FacekdError, match=r"is enrolled with templates .*one template a subject"):
        open_search(copied.folder, "ijbc")


def test_a_probe_that_is_enrolled_is_refused(copied):
    gallery = (copied.folder / "meta" / f"ijbc_{GALLERY}").read_text().splitlines()
    edit(copied, PROBES, lambda lines: [*lines, gallery[1]])
    with pytest.raises(FacekdError, match=r"also enrolled in gallery G1 .*would find itself"):
        open_search(copied.folder, "ijbc")
