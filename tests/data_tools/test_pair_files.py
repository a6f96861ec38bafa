import pickle
import shutil

import numpy as np
import pytest

from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.pair_files import from_cfp, from_csv, from_lfw_pairs
from facekd.data_tools.pairs import from_bin
from facekd.errors import FacekdError

PEOPLE = ["Ann", "Bo_Li", "Cy"]


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path.write_bytes(encode_jpeg(pixels))


def lfw(root, text, images=4):
    """A folder of three people's images and a pairs.txt."""
    for k, person in enumerate(PEOPLE):
        for i in range(1, images + 1):
            draw(root / person / f"{person}_{i:04d}.jpg", 10 * k + i)
    (root / "pairs.txt").write_text(text)
    return root / "pairs.txt"


LFW = """2\t2
Ann\t1\t2
Bo_Li\t3\t1
Ann\t1\tCy\t1
Bo_Li\t2\tCy\t4
Cy\t1\t2
Cy\t3\t4
Ann\t2\tBo_Li\t3
Ann\t3\tCy\t3
"""


def test_lfw_pairs_with_header_folds_people_and_files(tmp_path):
    pairs = from_lfw_pairs(lfw(tmp_path, LFW))
    assert (len(pairs), pairs.name) == (8, tmp_path.name)
    assert pairs.same.tolist() == [True, True, False, False] * 2
    assert pairs.folds.tolist() == [0] * 4 + [1] * 4
    assert pairs.ids[:3] == ["Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bo_Li/Bo_Li_0003.jpg"]
    assert len(pairs.images) == len(set(pairs.ids)) == 10  # shared ones once
    who = np.array([PEOPLE.index(one.split("/")[0]) for one in pairs.ids])
    assert (pairs.subjects == who).all()
    assert pairs.subjects_from == "pairs.txt"
    assert pairs.found is None
    expected = decode_rgb((tmp_path / "Bo_Li/Bo_Li_0003.jpg").read_bytes())
    assert (pairs.images[2] == expected).all()
    assert (pickle.loads(pickle.dumps(pairs)).images[3] == pairs.images[3]).all()
    assert len(pairs.fingerprint) == 16


def test_lfw_pairs_other_suffix_other_root_spaces_and_windows_line_ends(tmp_path):
    lfw(tmp_path / "faces", LFW)
    ann = tmp_path / "faces/Ann"
    ann.joinpath("Ann_0001.jpg").rename(ann / "Ann_0001.png")
    listed = tmp_path / "list.txt"
    listed.write_bytes(LFW.replace("\t", " ").replace("\n", "\r\n").encode())
    pairs = from_lfw_pairs(listed, tmp_path / "faces", name="mine")
    assert pairs.ids[0] == "Ann/Ann_0001.png"
    assert pairs.name == "mine"
    assert pairs.images[0].shape == (8, 8, 3)


def test_lfw_pairs_without_header_have_ten_folds_in_file_order_or_none(tmp_path):
    genuine = [f"{p}\t{i}\t{j}" for p in PEOPLE for i, j in [(1, 2), (1, 3), (1, 4), (2, 3)]]
    impostor = [f"Ann\t{i}\tBo_Li\t{j}" for i in range(1, 4) for j in range(1, 5)]
    mixed = [line for pair in zip(genuine, impostor, strict=True) for line in pair]
    ten = from_lfw_pairs(lfw(tmp_path, "\n".join(mixed[:20])))
    assert ten.folds.tolist() == np.repeat(np.arange(10), 2).tolist()
    assert from_lfw_pairs(lfw(tmp_path, "\n".join(mixed[:22]))).folds is None
    # as many, but the genuine ones first: a fold of one class says nothing
    assert from_lfw_pairs(lfw(tmp_path, "\n".join(genuine[:10] + impostor[:10]))).folds is None
    one_number = "\n".join(["10", *genuine[:10], *impostor[:10]])
    assert from_lfw_pairs(lfw(tmp_path, one_number)).folds is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LFW.replace("Cy\t3\t4", "Cy\t3"), r"pairs\.txt, line 7: 'Cy\\t3' is neither"),
        (LFW.replace("Cy\t3\t4", "Cy\tx\t4"), r"line 7: 'x' is no image number"),
        (LFW.replace("Cy\t3\t4", "Cy\t3\t3"), r"line 7: Cy/Cy_0003.jpg is compared with itself"),
        (LFW.replace("Cy\t3\t4", "Cy\t2\t1"), r"line 7: .*already compared in .*, line 6 \(1 rep"),
        (LFW.replace("Ann\t3\tCy\t3", "Cy\t1\tCy\t3"), "line 9: an impostor pair of Cy and Cy"),
        (LFW + "Ann\t1\t4\n", "header 2 2 means 8 pairs, 9 follow"),
        (LFW.replace("Cy\t3\t4", "Cy\t3\tAnn\t4"), "set 2 has 1 genuine pairs, its header says 2"),
        (
            LFW.replace("Cy\t3\t4", "Cy\t3\t9"),
            r"line 7: there is no image .*Cy_0009\.jpg \(1 of 11",
        ),
        ("", "lists no pairs"),
        ("Ann\t1\t2\n", "none of its 1 pairs is impostor"),
    ],
)
def test_bad_lfw_lists_are_told_by_their_line(tmp_path, text, words):
    with pytest.raises(FacekdError, match=words):
        from_lfw_pairs(lfw(tmp_path, text))


def test_a_list_that_is_no_text_or_not_there(tmp_path):
    (tmp_path / "pairs.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FacekdError, match="is no UTF-8 text"):
        from_lfw_pairs(tmp_path / "pairs.txt")
    with pytest.raises(FacekdError, match=r"cannot read .*gone\.txt"):
        from_lfw_pairs(tmp_path / "gone.txt")


def test_repeated_pairs_may_be_allowed_and_are_counted(tmp_path):
    path = lfw(tmp_path, LFW.replace("Cy\t3\t4", "Cy\t2\t1"))
    assert "1 that occurred before" in from_lfw_pairs(path, duplicates=True).source


def test_missing_images_are_faces_not_found_on_request(tmp_path):
    path = lfw(tmp_path, LFW)
    whole = from_lfw_pairs(path)
    (tmp_path / "Ann/Ann_0002.jpg").unlink()
    pairs = from_lfw_pairs(path, missing_ok=True)
    assert pairs.ids == whole.ids
    assert np.flatnonzero(~pairs.found).tolist() == [pairs.ids.index("Ann/Ann_0002.jpg")]
    assert not pairs.images[1].any()
    for i in (0, 2, 9):
        assert (pairs.images[i] == whole.images[i]).all()
    assert pairs.source.endswith("(1 of 10 images missing: faces not found)")
    assert pairs.fingerprint != whole.fingerprint
    assert (pickle.loads(pickle.dumps(pairs)).images[2] == pairs.images[2]).all()
    for person in PEOPLE:
        shutil.rmtree(tmp_path / person)
    with pytest.raises(FacekdError, match=r"\(10 of 10 images are missing\); give the folder"):
        from_lfw_pairs(path, missing_ok=True)


def cfp(root, people=20, images=True):
    """CFP's layout: four frontal and two profile images of each of 20 people, ten folds of two."""
    lists = {"F": ("frontal", 4), "P": ("profile", 2)}
    for kind, (folder, each) in lists.items():
        lines = []
        for person in range(1, people + 1):
            for i in range(1, each + 1):
                path = f"Data/Images/{person:03d}/{folder}/{i:02d}.jpg"
                lines.append(f"{len(lines) + 1} ../{path}")
                if images:
                    draw(root / path, len(lines) + 1000 * (kind == "P"))
        (root / "Protocol").mkdir(exist_ok=True)
        (root / f"Protocol/Pair_list_{kind}.txt").write_text("\n".join(lines) + "\n")
    for fold in range(10):
        a, b = 2 * fold, 2 * fold + 1  # the fold's two people
        pairs = {
            "FF/{}/same.txt": [(4 * a + 1, 4 * a + 2), (4 * a + 2, 4 * a + 1)],
            "FF/{}/diff.txt": [(4 * a + 1, 4 * b + 1), (4 * a + 2, 4 * b + 2)],
            "FP/{}/same.txt": [(4 * a + 1, 2 * a + 1), (4 * b + 3, 2 * b + 2)],
            "FP/{}/diff.txt": [(4 * a + 1, 2 * b + 1), (4 * b + 3, 2 * a + 2)],
        }
        for name, lines in pairs.items():
            path = root / "Protocol/Split" / name.format(f"{fold + 1:02d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"{i},{j}\n" for i, j in lines))
    return root


def test_cfp_frontal_to_profile(tmp_path):
    pairs = from_cfp(cfp(tmp_path))
    assert (pairs.name, len(pairs), len(pairs.images)) == ("cfp_fp", 40, 60)
    assert pairs.folds.tolist() == np.repeat(np.arange(10), 4).tolist()
    assert pairs.same[:4].tolist() == [True, True, False, False]
    ids = np.array(pairs.ids)
    assert ids[pairs.left[1]] == "Data/Images/002/frontal/03.jpg"
    assert ids[pairs.right[1]] == "Data/Images/002/profile/02.jpg"
    assert all("frontal" in one for one in ids[pairs.left])
    assert all("profile" in one for one in ids[pairs.right])
    assert len(set(pairs.subjects.tolist())) == 20
    assert "kept" not in pairs.source
    assert pairs.images[5].shape == (8, 8, 3)


def test_cfp_frontal_to_frontal_keeps_the_pairs_its_owners_list_twice(tmp_path):
    pairs = from_cfp(cfp(tmp_path), "FF")
    assert (pairs.name, len(pairs), len(pairs.images)) == ("cfp_ff", 40, 40)
    assert "10 that occurred before" in pairs.source


def test_cfp_errors_name_the_file_and_line(tmp_path):
    root = cfp(tmp_path, images=False)
    with pytest.raises(FacekdError, match=r"01/same\.txt, line 1: there is no image .*001/frontal"):
        from_cfp(root)
    diff = root / "Protocol/Split/FP/03/diff.txt"
    diff.write_text("1,2\n3,41\n")
    with pytest.raises(FacekdError, match=r"03/diff\.txt, line 2: there is no image 41 in"):
        from_cfp(root)
    diff.write_text("1;2\n")
    with pytest.raises(FacekdError, match=r"03/diff\.txt, line 1: '1;2' is no image number"):
        from_cfp(root)
    (root / "Protocol/Pair_list_P.txt").write_text("1\n")
    with pytest.raises(FacekdError, match=r"Pair_list_P\.txt, line 1: '1' is not 'number path'"):
        from_cfp(root)
    diff.unlink()
    with pytest.raises(FacekdError, match=r"cannot read .*03/diff\.txt: No such file"):
        from_cfp(cfp(root, images=False) and _without(diff))


def _without(path):
    path.unlink()
    return path.parents[4]


CSV = """a,b,same,group,fold,subject_a,subject_b
faces/0.jpg,faces/1.jpg,1,young,x,ann,ann
faces/2.jpg,./faces/3.jpg,TRUE,,y,bo,bo
faces/0.jpg,faces/2.jpg,0,old,x,ann,bo
"faces/1.jpg",faces/3.jpg,false,young,y,ann,bo
"""


def csv_file(root, text=CSV):
    for i in range(4):
        draw(root / f"faces/{i}.jpg", i)
    (root / "set.csv").write_text(text)
    return root / "set.csv"


def test_a_csv_with_every_column(tmp_path):
    pairs = from_csv(csv_file(tmp_path))
    assert (pairs.name, pairs.ids) == ("set", [f"faces/{i}.jpg" for i in range(4)])
    assert pairs.left.tolist() == [0, 2, 0, 1]
    assert pairs.right.tolist() == [1, 3, 2, 3]
    assert pairs.same.tolist() == [True, True, False, False]
    assert pairs.groups.tolist() == ["young", "", "old", "young"]
    assert pairs.folds.tolist() == [0, 1, 0, 1]
    assert pairs.subjects.tolist() == [0, 0, 1, 1]
    assert pairs.subjects_from == "set.csv"
    assert pairs.source == str(tmp_path / "set.csv")


def test_a_csv_of_three_columns_and_one_it_does_not_know(tmp_path):
    rows = ["same,note,b,a", "1,x,faces/1.jpg,faces/0.jpg", "0,,faces/2.jpg,faces/0.jpg"]
    pairs = from_csv(csv_file(tmp_path, "\n".join(rows)), name="named")
    assert pairs.ids == ["faces/0.jpg", "faces/1.jpg", "faces/2.jpg"]
    assert (pairs.folds, pairs.groups, pairs.subjects, pairs.subjects_from) == (None,) * 3 + ("",)
    assert pairs.source.endswith("set.csv (columns not read: note)")
    assert from_csv(tmp_path / "set.csv", tmp_path).ids == pairs.ids
    with pytest.raises(FacekdError, match=r"line 2: there is no image .*/faces/faces/0\.jpg"):
        from_csv(tmp_path / "set.csv", tmp_path / "faces")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("a,b,same", "a,b,sane", "no column 'same'; did you mean 'sane'"),
        ("a,b,same", "c,b,same", "no column 'a'; known: b, c, fold, group"),
        ("TRUE", "yes", r"set\.csv, line 3: same is 'yes'; write 1 or true"),
        ("faces/2.jpg,0", "faces/2.jpg,2", "line 4: same is '2'"),
        (",old,x", ",old", r"line 4 has 6 fields, the header has 7 \(a, b, same"),
        (",old,x", ",old,", "line 4: fold is empty"),
        ("x,ann,ann", "x,ann,", r"line 2: it does not say who faces/1\.jpg shows"),
        ("old,x,ann,bo", "old,x,cy,bo", r"line 4: faces/0\.jpg is said to show cy, and somebody"),
        ("x,ann,ann", "x,ann,bo", "line 2: a genuine pair of ann and bo"),
        ("faces/0.jpg,faces/2.jpg", ",faces/2.jpg", "line 4: a is empty"),
        ("faces/0.jpg,faces/2.jpg,0", "faces/1.jpg,faces/0.jpg,0", "line 4.*opposite in .*line 2"),
        ("faces/3.jpg,false", "faces/7.jpg,false", r"line 5: there is no image .*7\.jpg"),
        ("subject_a", "fold", "line 1: a column is named twice"),
        (CSV.partition("\n")[2], "", "no rows below a header line"),
    ],
)
def test_bad_csv_lines_are_told_by_their_line(tmp_path, old, new, words):
    assert old in CSV
    with pytest.raises(FacekdError, match=words):
        from_csv(csv_file(tmp_path, CSV.replace(old, new, 1)))


@pytest.mark.data
def test_lfw_list_agrees_with_its_bin(data_dir, tmp_path):
    for line in (data_dir / "lfw/pairs.txt").read_text().splitlines()[1:]:
        one, i, *rest = line.split("\t")
        other, j = rest if len(rest) == 2 else (one, rest[0])
        for person, number in ((one, i), (other, j)):
            (tmp_path / person).mkdir(exist_ok=True)
            (tmp_path / person / f"{person}_{int(number):04d}.jpg").touch()
    listed = from_lfw_pairs(data_dir / "lfw/pairs.txt", tmp_path)
    stored = from_bin(data_dir / "lfw/lfw.bin")
    for field in ("left", "right", "same", "folds"):
        assert (getattr(listed, field) == getattr(stored, field)).all(), field
    assert len(listed) == 6000
    assert [int(listed.same[listed.folds == fold].sum()) for fold in range(10)] == [300] * 10


@pytest.mark.data
@pytest.mark.parametrize(("name", "count"), [("pairsDevTrain", 2200), ("pairsDevTest", 1000)])
def test_lfw_development_lists_without_header(data_dir, tmp_path, name, count):
    with pytest.raises(FacekdError, match=rf"{name}\.txt, line 1: there is no image"):
        from_lfw_pairs(data_dir / f"lfw/{name}.txt", tmp_path)
    for line in (data_dir / f"lfw/{name}.txt").read_text().splitlines():
        one, i, *rest = line.split("\t")
        other, j = rest if len(rest) == 2 else (one, rest[0])
        for person, number in ((one, i), (other, j)):
            (tmp_path / person).mkdir(exist_ok=True)
            (tmp_path / person / f"{person}_{int(number):04d}.jpg").touch()
    pairs = from_lfw_pairs(data_dir / f"lfw/{name}.txt", tmp_path)
    assert (len(pairs), int(pairs.same.sum())) == (count, count // 2)
    assert pairs.folds is None  # all genuine pairs come first


@pytest.mark.parametrize("name", ["/etc/a.jpg", "../a.jpg", "Ann/../../a.jpg", "C:/a.jpg"])
def test_images_outside_the_folder_are_refused(tmp_path, name):
    lfw(tmp_path, LFW)
    (tmp_path / "pairs.csv").write_text(f"a,b,same\nAnn/Ann_0001.jpg,{name},0\n")
    with pytest.raises(FacekdError, match=r"pairs.csv, line 2: the path .* stay in their folder"):
        from_csv(tmp_path / "pairs.csv")
    (tmp_path / "pairs.txt").write_text("Ann\t1\t2\nAnn\t1\t../Bo_Li\t1\n")
    with pytest.raises(FacekdError, match=r"pairs.txt, line 2: the path .* leads out"):
        from_lfw_pairs(tmp_path / "pairs.txt")


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    root = tmp_path / "root"
    lfw(root, "Ann\t1\t2\nAnn\t1\tBo_Li\t1\n")
    (root / "Bo_Li").rename(tmp_path / "elsewhere")
    (root / "Bo_Li").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FacekdError, match="Bo_Li is a link out of"):
        from_lfw_pairs(root / "pairs.txt")


@pytest.mark.parametrize("text", ["1" * 5000 + "\n", "Ann\t1\t" + "2" * 5000 + "\n"])
def test_numbers_of_thousands_of_digits(tmp_path, text):
    with pytest.raises(FacekdError, match=r"pairs.txt, line 1"):
        from_lfw_pairs(lfw(tmp_path, text + LFW))
