import csv
import hashlib

import numpy as np
import pytest

from facekd.cli.data import main
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack

PEOPLE = {"ann": 4, "bob": 3, "cy": 2, "dee": 1, "eve": 5, "fay": 2}


def jpeg(number):
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return encode_jpeg(pixels)


@pytest.fixture
def people(tmp_path):
    return make_people(tmp_path / "people", PEOPLE)


def make_people(folder, counts, first=0):
    for person, images in counts.items():
        (folder / person).mkdir(parents=True)
        for k in range(images):
            (folder / person / f"{k}.jpg").write_bytes(jpeg(first))
            first += 1
    return folder


@pytest.fixture
def nameless(tmp_path):
    """A shuffled .rec without a list: labels 9, 4, 9, 4, 6, 9."""
    with RecordWriter(tmp_path / "nameless.rec") as writer:
        for key, label in enumerate([9, 4, 9, 4, 6, 9]):
            writer.write(key, pack(IRHeader(float(label), key), jpeg(100 + key)))
    return tmp_path / "nameless.rec"


def content(path):
    """Identity -> the hashes of its images' bytes."""
    found = open_labelled(path)
    made = {}
    for i, label in enumerate(found.labels.tolist()):
        identity = found.names[label] if found.names else str(label)
        digest = hashlib.sha256(bytes(found.images.encoded(i))).hexdigest()
        made.setdefault(identity, set()).add(digest)
    return made


def labels_are_dense(path):
    labels = open_labelled(path).labels
    return (np.unique(labels) == np.arange(labels.max() + 1)).all()


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def error_of(capsys, *arguments):
    assert main([str(one) for one in arguments]) == 2
    *_, error = capsys.readouterr().err.splitlines()  # progress bars come before it
    assert error.startswith("error: ")
    return error


def run(*arguments):
    assert main([str(one) for one in arguments]) == 0


@pytest.mark.parametrize("kind", ["rec", "folder", "tar"])
def test_split_and_merge_give_back_the_same_images(people, tmp_path, capsys, kind):
    parts = tmp_path / "parts"
    run("split", people, parts, "--val-identities", 1, "--test", 0.34, "--to", kind)
    out = capsys.readouterr().out
    assert "no identity stands in two parts" in out
    end = ".rec" if kind == "rec" else ""
    paths = [parts / f"{name}{end}" for name in ("train", "val", "test")]
    made = [content(path) for path in paths]
    assert [len(one) for one in made] == [3, 1, 2]
    assert all(labels_are_dense(path) for path in paths)
    whole = content(people)
    assert {name: images for one in made for name, images in one.items()} == whole
    run("merge", *paths, tmp_path / "back.rec", "--join", "names")
    assert content(tmp_path / "back.rec") == whole
    assert labels_are_dense(tmp_path / "back.rec")
    table = rows(parts / "labels.csv")
    assert {(row["part"], row["name"]) for row in table} == {
        (path.stem, name) for path, one in zip(paths, made, strict=True) for name in one
    }
    assert all(int(row["images"]) == PEOPLE[row["name"]] for row in table)


def test_a_split_is_that_of_its_seed(people, tmp_path, capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("split", people, tmp_path / name, "--val", 0.5, "--seed", seed)
    one, same, other = (content(tmp_path / name / "val").keys() for name in "abc")
    assert one == same != other


def test_names_of_two_sources_are_kept_apart_or_joined(people, tmp_path, capsys):
    more = make_people(tmp_path / "more", {"ann": 2, "zoe": 1}, first=50)
    run("merge", people, more, tmp_path / "apart.rec")
    out = capsys.readouterr().out
    assert "1 names stand in more than one source and were kept apart, as people__ann" in out
    apart = content(tmp_path / "apart.rec")
    assert apart.keys() == {f"people__{name}" for name in PEOPLE} | {"more__ann", "more__zoe"}
    assert len(apart["people__ann"]) == 4
    run("merge", f"x={people}", f"y={more}", tmp_path / "joined", "--join", "names")
    assert "1 names stand in more than one source: each is one" in capsys.readouterr().out
    joined = content(tmp_path / "joined")
    assert joined.keys() == {*PEOPLE, "zoe"}
    assert len(joined["ann"]) == 6
    assert (tmp_path / "joined/ann/y_0.jpg").is_file()  # of the two called 0.jpg the second
    table = rows(tmp_path / "joined.labels.csv")
    assert [row["source"] for row in table] == ["x"] * 6 + ["y"] * 2
    ann = [row for row in table if row["name"] == "ann"]
    assert [row["label"] for row in ann] == ["0", "0"]
    assert [row["images"] for row in ann] == ["4", "2"]


def test_label_numbers_stand_for_names_that_are_not_there(people, nameless, tmp_path, capsys):
    run("merge", people, nameless, tmp_path / "joint.rec")
    assert {"nameless__4", "nameless__6", "nameless__9"} < content(tmp_path / "joint.rec").keys()
    words = "nameless has no identity names, only label numbers, and equal numbers are not equal"
    arguments = ("merge", people, nameless, tmp_path / "x.rec", "--join", "names")
    assert words in error_of(capsys, *arguments)
    run("subset", nameless, tmp_path / "some.rec", "--min-images", 2)
    table = rows(tmp_path / "some.labels.csv")
    assert [(row["old_label"], row["label"], row["name"]) for row in table] == [
        ("4", "0", "4"),
        ("9", "1", "9"),
    ]
    assert labels_are_dense(tmp_path / "some.rec")
    assert content(tmp_path / "some.rec").keys() == {"4", "9"}


def test_a_vector_label_keeps_its_other_numbers(tmp_path, capsys):
    with RecordWriter(tmp_path / "v.rec") as writer:
        for key, label in enumerate([7, 3, 3]):
            vector = np.array([label, 0.5 + key], np.float32)
            writer.write(key, pack(IRHeader(vector, key), jpeg(key)))
    run("subset", tmp_path / "v.rec", tmp_path / "w.rec", "--identities", 2)
    records = open_labelled(tmp_path / "w.rec").images.records
    assert [records.read(i)[0].label.tolist() for i in range(3)] == [[0, 1.5], [0, 2.5], [1, 0.5]]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--min-images", "3"], {"ann": 4, "bob": 3, "eve": 5}),
        (["--max-images", "2"], {"cy": 2, "dee": 1, "fay": 2}),
        (["--per-identity", "2"], dict.fromkeys(PEOPLE, 2) | {"dee": 1}),
        (["--min-images", "4", "--per-identity", "3", "--images", "5"], None),
    ],
)
def test_subsets(people, tmp_path, capsys, options, left):
    run("subset", people, tmp_path / "some", *options)
    made = content(tmp_path / "some")
    whole = content(people)
    assert all(images <= whole[name] for name, images in made.items())
    sizes = {name: len(images) for name, images in made.items()}
    if left is None:
        assert sizes in ({"ann": 3}, {"eve": 3})
    else:
        assert sizes == left


def test_a_subset_by_a_list_of_names(people, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("eve\n\nann\n")
    (tmp_path / "names.csv").write_text("why,identity\nx,eve\ny,ann\n")
    for kind in ("txt", "csv"):
        run("subset", people, tmp_path / f"{kind}.rec", "--list", tmp_path / f"names.{kind}")
        assert content(tmp_path / f"{kind}.rec").keys() == {"ann", "eve"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("split {people} {out}", "a split needs two parts; give --val or --test"),
        ("split {people} {out} --val 0.2 --val-identities 2", "give --val or --val-identities"),
        ("split {people} {out} --val-identities 6", "train would get no identity of 6"),
        ("split {people} {out} --val-identities 9", "val 9 identities are asked for, and there"),
        ("split {people} {out} --train 0.5 --val 0.2", "would leave 2 in no part"),
        ("split {people} {out} --val 0.01", "val would get no identity of 6"),
        ("split {people} {out} --val nan", "val is nan; give a share"),
        ("split {people}/none {out} --val 0.5", "none does not exist"),
        ("split {people} {people}/parts --val 0.5", "is, or lies in, "),
        ("split {people} {tmp} --val 0.5", "is there already; give another name, or --force"),
        ("split {people} {tmp} --val 0.5 --force", "was not written by facekd-data split"),
        ("split {people} {tmp}/names.txt --val 0.5", "names.txt is a file; give a folder's name"),
        ("subset {people} {out}", "a subset of what"),
        ("subset {people} {out} --min-images 6", "no identity is left of 6 with 1 to 5 images"),
        ("subset {people} {out} --identities 7", "7 identities are asked for, and 6 are left"),
        ("subset {people} {out} --list {tmp}/names.txt", "names.txt, line 2: there is no identity"),
        ("subset {people} {out} --list {tmp}/gone.txt", "cannot read the list"),
        ("subset {people} {out} --list {tmp}/empty.txt", "empty.txt names no identity"),
        ("subset {people} {out} --list {tmp}/bad.csv", "has no column 'identity'"),
        ("subset {people} {out}.zip --images 5", "stands for no kind of set"),
        ("subset {people} {people} --images 5 --force", "is, or lies in, "),
        ("merge {people} {out}", "a merge needs two sources or more"),
        ("merge {people} {people} {out}", "people is given twice"),
        ("merge {people} people={tmp}/more {out}", "two sources are called 'people'; give one as"),
        ("merge {people} =x {out}", "'=x' is neither PATH nor NAME=PATH"),
        ("merge {people} ../x={tmp}/gone {out}", "does not exist"),
        ("merge {people} {tmp}/names.txt {out}", "names.txt is of no known kind"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(people, tmp_path, capsys, command, words):
    (tmp_path / "names.txt").write_text("ann\nnobody\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "bad.csv").write_text("name\nann\n")
    make_people(tmp_path / "more", {"zoe": 1})
    before = sorted(path.name for path in tmp_path.iterdir())
    text = command.format(people=people, out=tmp_path / "out", tmp=tmp_path)
    assert words in error_of(capsys, *text.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_nothing_is_overwritten_without_force(people, tmp_path, capsys):
    split = ("split", people, tmp_path / "parts", "--val-identities", 2)
    run(*split)
    assert "is there already" in error_of(capsys, *split)
    run(*split, "--force", "--test-identities", 1)
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == [
        "labels.csv",
        "test",
        "train",
        "val",
    ]
    subset = ("subset", people, tmp_path / "some.rec", "--identities", 2)
    run(*subset)
    assert "some.labels.csv is there already" in error_of(capsys, *subset)
    (tmp_path / "some.labels.csv").unlink()
    assert "give another name, or --force" in error_of(capsys, *subset)
    run(*subset, "--force")


def test_a_broken_image_leaves_no_half_output(people, tmp_path, capsys):
    (people / "eve/4.jpg").write_bytes(b"")
    assert main(["split", str(people), str(tmp_path / "parts"), "--val", "0.5"]) == 2
    assert "eve/4.jpg" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["people"]


@pytest.mark.data
def test_real_records_split_and_merged_are_the_same(data_dir, tmp_path, capsys):
    source = data_dir / "formats/face2rec/train.rec"
    run("split", source, tmp_path / "p", "--train", 0.8, "--val", 0.1, "--test", 0.1)
    parts = [tmp_path / "p" / f"{name}.rec" for name in ("train", "val", "test")]
    assert [len(content(path)) for path in parts] == [24, 3, 3]
    run("merge", *parts, tmp_path / "back.rec", "--join", "names")
    assert content(tmp_path / "back.rec") == content(source)


@pytest.mark.data
def test_people_of_lfw_with_two_images(data_dir, tmp_path, capsys):
    run("subset", data_dir / "lfw_train/train.rec", tmp_path / "two.rec", "--min-images", 2)
    assert "7037 images of 1334 identities" in capsys.readouterr().out
