import numpy as np
import pytest
from tiny_runs import write_recipe

from facekd.cli.train import main
from facekd.data.faces import load_faces
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.items import Items
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.writers import write_set
from facekd.errors import FacekdError
from facekd.recipe import Data

RECORDS = {3: 7, 4: 7, 9: 7, 10: 2, 12: 2, 20: 5, 21: 5, 22: 5, 23: 5, 30: 11}
SMALL = {"backbone": "mobilefacenet", "embedding_dim": 8, "input_size": 32, "args": {"width": 0.25}}
ONE_STEP = {"model": SMALL, "schedule": {"epochs": 0.5}, "batch_size": 8}
JPEG = encode_jpeg(np.full((32, 32, 3), 90, np.uint8))


@pytest.fixture
def rec(tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, label in RECORDS.items():
            writer.write(key, pack(IRHeader(float(label), key), JPEG))
    return tmp_path / "train.rec"


@pytest.fixture
def folder(tmp_path):
    for name in ("ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/2.jpg", "cy/1.jpg"):
        path = tmp_path / "people" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    return tmp_path / "people"


def load(path, lines, **settings):
    """The training set of a source, with a list of these lines."""
    file = path.parent / "drop.csv"
    file.write_text("\n".join(lines) + "\n")
    return load_faces(Data(source=str(path), exclude=str(file), **settings), 32)[0]


def test_images_and_people_are_left_out_before_min_images(rec):
    faces = load(rec, ["image,identity", "10,", ",11"], min_images=2)
    assert faces.index.tolist() == [3, 4, 9, 20, 21, 22, 23]
    assert faces.label_map.names == ("5", "7")
    assert faces.excluded == (
        f"2 of 10 images, 1 whole identities left out by {rec.parent / 'drop.csv'}"
    )


def test_the_others_keep_their_ids(rec):
    faces = load(rec, ["image", "30", "3", "21", "3"])
    assert faces.index.tolist() == [4, 9, 10, 12, 20, 22, 23]
    assert faces.label_map.names == ("2", "5", "7")


def test_a_row_with_an_image_means_that_image_alone(rec):
    faces = load(rec, ["identity,image,cosine", "7,4,0.1", "2,,"])
    assert faces.index.tolist() == [3, 9, 20, 21, 22, 23, 30]


def test_of_a_folder_images_are_paths(folder):
    faces = load(folder, ["image,identity", "ann/2.jpg,", ",cy"])
    assert faces.label_map.names == ("ann", "bob")
    assert faces.index.tolist() == [0, 2, 3]


def test_names_come_from_the_list_beside_records(rec):
    lines = [f"{key}\t{label}\tp{label}/{key}.jpg\n" for key, label in RECORDS.items()]
    rec.with_suffix(".lst").write_text("".join(lines))
    faces = load(rec, ["image,identity", "p7/4.jpg,p7", ",p5"])
    assert faces.index.tolist() == [3, 9, 10, 12, 30]
    assert faces.label_map.names == ("2", "7", "11")
    with pytest.raises(FacekdError, match="the data have no image '4'"):
        load(rec, ["image", "4"])


def test_what_overlap_and_convert_call_images_is_what_is_left_out(rec, tmp_path):
    for name in ("shards", "folder"):
        kind = "tar" if name == "shards" else "folder"
        write_set(Items(open_labelled(rec)), tmp_path / name, kind)
        faces = load(tmp_path / name, ["image,identity", "07/04.jpg,", ",05"])
        assert faces.label_map.names == ("02", "07", "11")
        assert faces.index.tolist() == [0, 2, 3, 4, 9]


def test_a_folder_of_one_rec_is_that_file(rec):
    data = Data(source=str(rec.parent))
    assert (
        load_faces(data, 32)[0].fingerprint == load_faces(Data(source=str(rec)), 32)[0].fingerprint
    )


def test_synthetic_people_can_be_left_out(tmp_path):
    file = tmp_path / "drop.csv"
    file.write_text("identity\nsynthetic-1\n")
    data = Data(synthetic={"identities": 4, "images_per_identity": 2}, exclude=str(file))
    assert load_faces(data, 32)[0].index.tolist() == [0, 1, 4, 5, 6, 7]


def test_an_empty_list_leaves_nothing_out(rec):
    faces = load(rec, ["image,identity"])
    assert len(faces) == len(RECORDS)
    assert "0 of 10 images, 0 whole identities left out" in faces.excluded


def test_the_fingerprint_follows_the_list_and_not_its_name(rec, tmp_path):
    whole = load_faces(Data(source=str(rec)), 32)[0].fingerprint
    some = load(rec, ["image", "3"]).fingerprint
    assert len({whole, some, load(rec, ["image", "4"]).fingerprint}) == 3
    assert load(rec, ["image", "3", "3"]).fingerprint == some


@pytest.mark.parametrize("listed", [False, True])
def test_a_damaged_record_that_is_skipped_may_be_named(rec, listed):
    if listed:
        lines = [f"{key}\t{label}\tp{label}/{key}.jpg\n" for key, label in RECORDS.items()]
        rec.with_suffix(".lst").write_text("".join(lines))
    index = dict(line.split("\t") for line in rec.with_suffix(".idx").read_text().splitlines())
    content = bytearray(rec.read_bytes())
    content[int(index["21"])] ^= 0xFF
    rec.write_bytes(content)
    bad, good, gone = ("p5/21.jpg", "p7/4.jpg", "p5/24.jpg") if listed else ("21", "4", "24")
    skip = {"on_bad_record": "skip", "max_bad": 0.5}
    faces = load(rec, ["image", bad, good], **skip)
    assert faces.index.tolist() == [3, 9, 10, 12, 20, 22, 23, 30]
    with pytest.raises(FacekdError, match=rf"line 3: the data have no image '{gone}' \(1 of the 2"):
        load(rec, ["image", bad, gone], **skip)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["image", "3", "99", "x", "4"],
            r"drop.csv, line 3: the data have no image '99', 'x' \(2 of",
        ),
        (["image", *"abcde"], r"line 2: .* no image 'a', 'b', 'c' \.\.\. \(5 of the 5 that"),
        (["identity", "7", "nobody"], r"line 3: the data have no identity 'nobody' \(1 of the 2"),
        (["image,identity,why", "3,,x", ",,x"], "line 3 names neither an image nor an identity"),
        (["record", "3"], r"neither a column 'image' nor 'identity' \(its first line: record\)"),
        (["7", "record:3"], "neither a column 'image' nor 'identity'"),
        (["image,image", "3,3"], "a column is named twice"),
        (["image", "3,4"], "line 2 has 2 fields, the header has 1"),
        ([""], "drop.csv has no header line"),
        (["identity", "7", "5", "2"], "1 identities with 1 images are left .* exclude and holdout"),
        (["identity", "7", "5", "2", "11"], "0 identities with 0 images are left"),
    ],
)
def test_a_wrong_list_is_told(rec, lines, words):
    with pytest.raises(FacekdError, match=words):
        load(rec, lines)


def test_check_and_the_run_say_what_is_left_out(tmp_path, capsys):
    (tmp_path / "drop.csv").write_text("image,identity\n0,\n,synthetic-3\n")
    data = {"exclude": str(tmp_path / "drop.csv")}
    path = write_recipe(tmp_path, {"student": {}}, data=data, common=ONE_STEP)
    told = f"7 of 24 images, 1 whole identities left out by {tmp_path / 'drop.csv'}"
    assert main([str(path), "--check"]) == 0
    printed = capsys.readouterr().out
    assert f"  exclude   {told}\n" in printed
    assert "3 identities, 17 images" in printed
    assert main([str(path)]) == 0
    assert f"stage 'student': {told}\n" in capsys.readouterr().out
    assert f"exclude: {tmp_path / 'drop.csv'}\n" in (tmp_path / "run/recipe.yaml").read_text()
    (tmp_path / "drop.csv").write_text("image,identity\n1,\n,synthetic-3\n")
    assert main([str(path)]) == 2
    assert "data.fingerprint was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read {file}: No such file or directory."),
        ("record\n3\n", "{file} has neither a column"),
        ("image\n99\n", "{file}, line 2: the data have no image '99'"),
    ],
)
def test_a_mistake_is_told_with_the_line_of_the_recipe(tmp_path, capsys, content, words):
    file = tmp_path / "drop.csv"
    if content is not None:
        file.write_text(content)
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"output: {tmp_path / 'run'}\ndata:\n  source: synthetic\n  exclude: {file}\n"
        "  synthetic: {identities: 3, images_per_identity: 4}\nstages:\n  student:\n"
        "    batch_size: 4\n    device: cpu\n"
    )
    assert main([str(path), "--check"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: mine.yaml line 4: stage 'student': data: 'exclude': ")
    assert words.format(file=file) in error
    assert error.count("\n") == 1
    assert main([str(path), "--check", f"data.exclude={tmp_path / 'other.csv'}"]) == 2
    assert (
        "error: command line: stage 'student': data: 'exclude': cannot" in capsys.readouterr().err
    )


def test_a_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert Data(exclude="~/drop.csv").exclude == "/somewhere/drop.csv"
    assert Data(exclude="").exclude is None
