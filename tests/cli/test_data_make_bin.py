import csv
import pickle

import numpy as np
import pytest
from eval_command import TINY, evaluate

from facekd.cli.data import main
from facekd.data_tools.binfile import read_bin
from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.pair_files import from_csv
from facekd.data_tools.pairs import from_bin
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack

PEOPLE = [f"p{k:02d}" for k in range(20)]
CROP = (112, 112)
NO_HEADER = "".join(
    f"{a}\t1\t2\n{a}\t1\t{b}\t2\n" for a, b in zip(PEOPLE[::2], PEOPLE[1::2], strict=True)
)


def jpeg(number, size=CROP):
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return encode_jpeg(np.kron(small, np.ones((16, 16, 1), np.uint8))[: size[0], : size[1]])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Twenty people with three 112 x 112 JPEGs each, and the same as a .rec with a list."""
    root = tmp_path_factory.mktemp("made")
    with RecordWriter(root / "faces.rec") as writer, (root / "faces.lst").open("w") as listed:
        for key in range(60):
            person, image = PEOPLE[key // 3], key % 3 + 1
            place = f"{person}/{person}_{image:04d}.jpg"
            (root / "lfw" / person).mkdir(parents=True, exist_ok=True)
            (root / "lfw" / place).write_bytes(jpeg(key))
            writer.write(key, pack(IRHeader(float(key // 3), key), jpeg(key)))
            listed.write(f"{key}\t{key // 3}\t{place}\n")
    return root


def run(*arguments):
    assert main([str(one) for one in arguments]) == 0


def error_of(capsys, *arguments):
    assert main([str(one) for one in arguments]) == 2
    *_, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    return error


def image(person, number):
    return jpeg(3 * PEOPLE.index(person) + number - 1)


@pytest.mark.parametrize("source", ["lfw", "faces.rec"])
@pytest.mark.parametrize("header", ["", "10\t1\n"])
def test_lfw_pairs_of_a_folder_or_records(shared, tmp_path, capsys, source, header):
    (tmp_path / "pairs.txt").write_text(header + NO_HEADER)
    run("make-bin", shared / source, tmp_path / "pairs.txt", tmp_path / "lfw.bin")
    out = capsys.readouterr().out
    assert "20 pairs, 10 genuine and 10 impostor, of 30 images; read back and found equal" in out
    assert "30 untouched, 0 resized" in out
    assert "folds: 10 of 1 genuine and 1 impostor pairs each" in out
    made = read_bin(tmp_path / "lfw.bin")
    assert made.same.tolist() == [True, False] * 10
    wanted = []
    for a, b in zip(PEOPLE[::2], PEOPLE[1::2], strict=True):
        wanted += [image(a, 1), image(a, 2), image(a, 1), image(b, 2)]
    assert [bytes(one) for one in made.encoded] == wanted
    encoded, same = pickle.loads((tmp_path / "lfw.bin").read_bytes())  # as insightface reads it
    assert (encoded, same) == (wanted, [True, False] * 10)


def test_the_folds_of_a_csv_are_brought_into_file_order(shared, tmp_path, capsys):
    rows = [
        (f"{p}/{p}_0001.jpg", f"{q}/{q}_000{2 + (p != q)}.jpg", int(p == q), k)
        for k, (a, b) in enumerate(zip(PEOPLE[::2], PEOPLE[1::2], strict=True))
        for p, q in ((a, a), (b, a))
    ]
    lines = [",".join(map(str, row)) for row in [*rows[::2], *rows[1::2]]]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,same,fold", *lines]))
    run("make-bin", shared / "lfw", tmp_path / "pairs.csv", tmp_path / "x.bin")
    made = read_bin(tmp_path / "x.bin")
    assert made.same.tolist() == [True, False] * 10
    assert bytes(made.encoded[2]) == image("p01", 1)
    five = [line[:-1] + str(int(line[-1]) // 2) for line in lines]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,same,fold", *five]))
    words = "has 5 folds of 4 to 4 pairs, and a .bin is read as 10 of equal size"
    arguments = ("make-bin", shared / "lfw", tmp_path / "pairs.csv", tmp_path / "y.bin")
    assert words in error_of(capsys, *arguments)
    assert not (tmp_path / "y.bin").exists()


def test_cfp_folders(tmp_path, capsys):
    lists = {"F": [], "P": []}
    for person in range(1, 21):
        for kind, folder, count in (("F", "frontal", 2), ("P", "profile", 1)):
            for k in range(1, count + 1):
                place = f"Data/Images/{person:03d}/{folder}/{k:02d}.jpg"
                (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / place).write_bytes(jpeg(1000 * count + 10 * person + k))
                lists[kind].append(f"{len(lists[kind]) + 1} ../{place}\n")
    for kind, lines in lists.items():
        (tmp_path / "Protocol").mkdir(exist_ok=True)
        (tmp_path / f"Protocol/Pair_list_{kind}.txt").write_text("".join(lines))
    for fold in range(10):
        one, other = 2 * fold, 2 * fold + 1  # people, from 0
        for protocol, same, diff in (
            ("FP", f"{2 * one + 1},{one + 1}", f"{2 * one + 1},{other + 1}"),
            ("FF", f"{2 * one + 1},{2 * one + 2}", f"{2 * one + 1},{2 * other + 1}"),
        ):
            folder = tmp_path / f"Protocol/Split/{protocol}/{fold + 1:02d}"
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text(same + "\n")
            (folder / "diff.txt").write_text(diff + "\n")
    for protocol in ("FP", "FF"):
        out = tmp_path / f"{protocol}.bin"
        run("make-bin", tmp_path, tmp_path / "Protocol", out, "--cfp", protocol)
        pairs = from_bin(out)
        assert pairs.same.tolist() == [True, False] * 10
    first = read_bin(tmp_path / "FP.bin").encoded
    assert [bytes(one) for one in first[:2]] == [jpeg(2011), jpeg(1011)]


def test_other_sizes_and_kinds_are_encoded_anew_and_counted(shared, tmp_path, capsys):
    import cv2

    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "crop.jpg").write_bytes(jpeg(1))
    (folder / "small.jpg").write_bytes(jpeg(2, (64, 64)))
    (folder / "wide.jpg").write_bytes(jpeg(3, (64, 96)))
    cv2.imwrite(str(folder / "crop.png"), decode_rgb(jpeg(4)))
    (tmp_path / "p.csv").write_text("a,b,same\ncrop.jpg,small.jpg,1\nwide.jpg,crop.png,0\n")
    run("make-bin", folder, tmp_path / "p.csv", tmp_path / "p.bin")
    out = capsys.readouterr().out
    assert "1 untouched, 3 resized to 112x112 and encoded with quality 95" in out
    assert "(1 were not square: align them first)" in out
    assert "the list has none; readers cut 10 in file order" in out
    made = [bytes(one) for one in read_bin(tmp_path / "p.bin").encoded]
    assert made[0] == jpeg(1)
    assert all(decode_rgb(one).shape == (112, 112, 3) for one in made)
    assert all(one.startswith(b"\xff\xd8") for one in made)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("make-bin {shared}/lfw {tmp}/good.txt {tmp}/x.rec", "a verification set ends in .bin"),
        ("make-bin {shared}/gone {tmp}/good.txt {tmp}/x.bin", "gone does not exist"),
        ("make-bin {shared}/lfw {tmp}/gone.txt {tmp}/x.bin", "cannot read"),
        ("make-bin {shared}/lfw {tmp}/good.txt {tmp}/good.txt.bin", "is there already"),
        ("make-bin {shared}/lfw {tmp}/twice.txt {tmp}/x.bin", "already compared in"),
        ("make-bin {shared}/lfw {tmp}/absent.txt {tmp}/x.bin", "line 2: there is no image"),
        ("make-bin {shared}/faces.rec {tmp}/absent.txt {tmp}/x.bin", "p01_0009.jpg in"),
        ("make-bin {shared}/lfw {tmp}/one.txt {tmp}/x.bin", "none of its 1 pairs is impostor"),
        ("make-bin {shared}/lfw {tmp} {tmp}/x.bin", "is a folder, and not the folder Protocol"),
        ("make-bin {tmp}/broken {tmp}/b.csv {tmp}/x.bin", "broken/2.jpg: "),
        ("make-pairs {shared}/lfw {tmp}/x.txt", "pairs are written as .csv or .bin"),
        ("make-pairs {shared}/lfw {tmp}/good.txt.bin", "is there already"),
        ("make-pairs {shared}/gone {tmp}/x.csv", "gone does not exist"),
        ("make-pairs {shared}/lfw {tmp}/x.csv --pairs 30", "cannot be halved over 10 folds"),
        ("make-pairs {shared}/lfw {tmp}/x.csv --pairs 140", "ask for 120 pairs at most"),
        ("make-pairs {shared}/lfw {tmp}/x.csv --folds 15", "ask for 0 pairs at most with 15"),
        ("make-pairs {shared}/lfw {tmp}/x.bin --folds 5", "5 folds of 24 to 24 pairs, and a .bin"),
        ("make-pairs {tmp}/spaces {tmp}/x.csv --folds 1", "' a/1.jpg' cannot stand"),
    ],
)
def test_bad_requests_are_one_line_and_leave_nothing(shared, tmp_path, capsys, command, words):
    (tmp_path / "good.txt").write_text(NO_HEADER)
    (tmp_path / "good.txt.bin").write_bytes(b"mine")
    (tmp_path / "twice.txt").write_text("p00 1 2\np00 1 p01 1\np00 2 1\n")
    (tmp_path / "absent.txt").write_text("p00 1 2\np00 1 p01 9\n")
    (tmp_path / "one.txt").write_text("p00 1 2\n")
    (tmp_path / "b.csv").write_text("a,b,same\n1.jpg,2.jpg,1\n1.jpg,3.jpg,0\n")
    (tmp_path / "broken").mkdir()
    for name, data in (("1", jpeg(1)), ("2", b"no image"), ("3", jpeg(3))):
        (tmp_path / "broken" / f"{name}.jpg").write_bytes(data)
    for name in (" a/1", " a/2", "b/1", "b/2"):
        (tmp_path / "spaces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "spaces" / f"{name}.jpg").write_bytes(jpeg(1))
    before = sorted(path.name for path in tmp_path.iterdir())
    text = command.format(shared=shared, tmp=tmp_path)
    assert words in error_of(capsys, *text.split()).replace("' a/2.jpg'", "' a/1.jpg'")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "good.txt.bin").read_bytes() == b"mine"


@pytest.mark.parametrize("source", ["lfw", "faces.rec"])
def test_drawn_pairs_are_read_back_and_evaluated(shared, tmp_path, capsys, source):
    out = tmp_path / "drawn.csv"
    run("make-pairs", shared / source, out, "--pairs", 60, "--folds", 5, "--seed", 3)
    printed = capsys.readouterr().out
    assert "60 pairs in 5 folds of 6 genuine and 6 impostor pairs" in printed
    pairs = from_csv(out, shared / source)
    assert np.bincount(pairs.folds).tolist() == [12] * 5
    assert int(pairs.same.sum()) == 30
    people = [name.partition("/")[0] for name in pairs.ids]
    left, right = (np.array([people[i] for i in side]) for side in (pairs.left, pairs.right))
    assert ((left == right) == pairs.same).all()
    folds = [set(left[pairs.folds == k]) | set(right[pairs.folds == k]) for k in range(5)]
    assert sum(map(len, folds)) == len(set().union(*folds))
    bench = printed.rpartition("--bench ")[2].split()[0]
    assert bench == f"{out}:{shared / source}"
    result = evaluate(tmp_path / "report", "--bench", bench, "--model", TINY)
    assert result.scores("drawn")["scores"].shape == (1, 60)


def test_the_same_pairs_as_csv_and_as_bin(shared, tmp_path, capsys):
    for out in ("a.csv", "b.csv", "c.bin"):
        run("make-pairs", shared / "lfw", tmp_path / out, "--pairs", 40)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    run("make-bin", shared / "lfw", tmp_path / "a.csv", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "c.bin").read_bytes()
    run("make-pairs", shared / "lfw", tmp_path / "a.csv", "--force", "--pairs", 40, "--seed", 1)
    assert (tmp_path / "a.csv").read_bytes() != (tmp_path / "b.csv").read_bytes()


def test_by_default_as_many_pairs_as_there_are(shared, tmp_path, capsys):
    run("make-pairs", shared / "faces.rec", tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120  # ten folds of two people with three images: six genuine pairs each
    assert {row["subject_a"] for row in rows} == set(PEOPLE)


@pytest.mark.data
def test_a_bin_of_drawn_pairs_of_real_records(data_dir, tmp_path, capsys):
    source = data_dir / "formats/face2rec/train.rec"
    run("make-pairs", source, tmp_path / "a.csv", "--pairs", 200)
    run("make-bin", source, tmp_path / "a.csv", tmp_path / "a.bin")
    assert "0 resized" in capsys.readouterr().out
    assert len(from_bin(tmp_path / "a.bin")) == 200


@pytest.mark.data
def test_lfw_as_a_folder_becomes_the_same_bin_again(data_dir, tmp_path, capsys):
    run("convert", data_dir / "lfw/lfw.bin", tmp_path / "lfw")
    run("make-bin", tmp_path / "lfw", tmp_path / "lfw/pairs.csv", tmp_path / "lfw.bin")
    there, made = read_bin(data_dir / "lfw/lfw.bin"), read_bin(tmp_path / "lfw.bin")
    assert (there.same == made.same).all()
    assert all(bytes(a) == bytes(b) for a, b in zip(there.encoded, made.encoded, strict=True))
