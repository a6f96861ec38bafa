import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facekd.cli.data import main
from facekd.data.faces import load_faces
from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.errors import FacekdError
from facekd.recipe import Data

TINY = Path(__file__).parents[1] / "fixtures/format1_tiny.pt"
FACES = SyntheticFaces(6, 4, seed=9)
JPEGS = [encode_jpeg(FACES.image(i)) for i in range(24)]
RECORDS = range(16)  # four people


@pytest.fixture
def train(tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        for i in RECORDS:
            writer.write(i + 1, pack(IRHeader(float(i // 4 + 3), i + 1), JPEGS[i]))
    return tmp_path / "train.rec"


@pytest.fixture
def test_set(tmp_path):
    """Images 2 and 5 of the training set, 5 saved anew, and two of others."""
    again = encode_jpeg(FACES.image(5), 60)
    write_bin(tmp_path / "test.bin", [JPEGS[2], again, JPEGS[17], JPEGS[21]], [True, False])
    return tmp_path / "test.bin"


@pytest.fixture
def folder(tmp_path):
    for i in range(12):
        path = tmp_path / f"people/Pat {'ABC'[i // 4]}/{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEGS[i])
    return tmp_path / "people"


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def counts(out):
    """The rows of the printed table by their first word."""
    return {words[0]: words[1:] for line in out.splitlines() if len(words := line.split()) == 5}


def test_a_recipe_leaves_out_what_overlap_lists(train, test_set, tmp_path, capsys):
    drop = tmp_path / "drop.csv"
    assert main(["overlap", str(train), str(test_set), "--drop", str(drop)]) == 0
    out = capsys.readouterr().out
    assert "found by  images of A  identities of A  images of B  identities of B\n" in out
    assert counts(out) == {
        "name": ["-"] * 4,
        "bytes": ["1", "1", "1", "-"],
        "picture": ["2", "2", "2", "-"],
        "mirrored": ["0", "0", "0", "-"],
    }
    assert "at most 48 of 256 bits" in out
    assert f"2 of 16 images of {train} are listed in {drop}" in out
    assert read(drop) == [{"image": "3", "identity": "3"}, {"image": "6", "identity": "4"}]
    faces = load_faces(Data(source=str(train), exclude=str(drop)), 112)[0]
    assert faces.rows.tolist() == [i for i in RECORDS if i not in (2, 5)]


def test_whole_people_are_left_out(train, test_set, tmp_path, capsys):
    drop = tmp_path / "drop.csv"
    command = ["overlap", str(train), str(test_set), "--drop", str(drop), "--drop-identities"]
    assert main(command) == 0
    assert "8 of 16 images" in capsys.readouterr().out
    faces = load_faces(Data(source=str(train), exclude=str(drop)), 112)[0]
    assert faces.rows.tolist() == list(range(8, 16))


def test_people_are_found_by_name_and_images_by_embedding(folder, tmp_path, capsys):
    other = tmp_path / "others/PAT_c"
    other.mkdir(parents=True)
    (other / "x.jpg").write_bytes(JPEGS[20])
    (other / "y.jpg").write_bytes(encode_jpeg(FACES.image(0)[5:-5, 5:-5]))  # too much for a hash
    found, sheet, kept = tmp_path / "found.csv", tmp_path / "found.png", tmp_path / "kept"
    command = ["overlap", str(folder), str(other.parent), "--csv", str(found)]
    command += ["--model", str(TINY), "--threshold", "0.99", "--save-embeddings", str(kept)]
    assert main([*command, "--sheet", str(sheet), "--workers", "0"]) == 0
    out = capsys.readouterr().out
    table = counts(out)
    assert table["name"] == ["4", "1", "2", "1"]
    assert table["picture"] == ["0", "0", "0", "0"]
    rows = read(found)
    assert [rows[0][key] for key in ("a_identity", "b_identity", "way")] == [
        "Pat C",
        "PAT_c",
        "name",
    ]
    by_embedding = {(row["a_image"], row["b_image"]) for row in rows if row["way"] == "embedding"}
    assert by_embedding
    assert all(float(row["cosine"]) >= 0.99 for row in rows if row["way"] == "embedding")
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    assert len(list(kept.glob("*.npy"))) == 2
    assert main([*command, "--workers", "0"]) == 2  # the CSV is there
    assert "is there already" in capsys.readouterr().err
    assert main([*command, "--workers", "0", "--force"]) == 0
    assert "nothing is embedded again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--drop-identities"], "give both"),
        (["--save-embeddings", "kept"], "give both"),
        (["--sheet", "found.pdf"], "a .png or a .jpg"),
        (["--drop", "d.csv", "--drop-identities"], "does not say whom its images show"),
    ],
)
def test_what_cannot_be_is_told_before_the_work(test_set, train, capsys, more, words):
    assert main(["overlap", str(test_set), str(train), *more]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["none.rec", "none.bin", "none.csv", "none"])
def test_a_set_that_is_not_there_is_one_line(train, tmp_path, capsys, name):
    assert main(["overlap", str(train), str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert name in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", [["--threshold", "2"], ["--threshold", "x"], ["--bits", "-1"]])
def test_settings_out_of_range_are_refused(train, option):
    with pytest.raises(SystemExit, match="2"):
        main(["overlap", str(train), str(train), *option])


@pytest.mark.parametrize("command", ["overlap", "clean"])
def test_help_tells_the_thresholds_and_loads_nothing_heavy(command):
    code = (
        "import sys; from facekd.cli.data import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("(default: ") >= 2
    assert "examples:" in done.stdout
    assert done.stdout.endswith("[]\n")


def save_embeddings(path, labels, wrong):
    """Embeddings of labelled images, some of which lie with the next identity."""
    rng = np.random.default_rng(0)
    centres = np.eye(labels.max() + 1, 16)
    shown = labels.copy()
    shown[wrong] = (labels[wrong] + 1) % (labels.max() + 1)
    np.save(path, (centres[shown] + 0.05 * rng.normal(size=(len(labels), 16))).astype(np.float32))


def test_clean_lists_what_to_look_through(train, tmp_path, capsys):
    labels = np.repeat(np.arange(4), 4)
    save_embeddings(tmp_path / "e.npy", labels, np.array([6]))
    out, sheets = tmp_path / "out", tmp_path / "sheets"
    command = ["clean", str(train), "--embeddings", str(tmp_path / "e.npy"), "--out", str(out)]
    command += ["--threshold", "0.5", "--same", "0.9"]
    assert main([*command, "--sheet", str(sheets)]) == 0
    said = capsys.readouterr().out
    assert "1 images are unlike their identity (cosine below 0.500), 1 of them like another" in said
    assert "0 pairs of identities look like one (cosine from 0.900 on)" in said
    (row,) = read(out / "outliers.csv")
    assert (row["image"], row["identity"]) == ("7", "4")
    assert row["why"].startswith("like identity 5 (")
    assert read(out / "duplicates.csv") == []
    assert sorted(path.name for path in sheets.iterdir()) == ["outliers-01.png"]
    exclude = str(out / "exclude.csv")
    faces = load_faces(Data(source=str(train), exclude=exclude), 112)[0]
    assert faces.rows.tolist() == [i for i in RECORDS if i != 6]
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err


def test_clean_lists_the_smaller_of_two_identities_that_are_one(folder, tmp_path):
    for i in (4, 5, 6):  # the second person's images, but one, are the first's
        (folder / "Pat B" / f"{i}.jpg").write_bytes(JPEGS[i - 4])
    (folder / "Pat B" / "7.jpg").unlink()
    labels = np.repeat([0, 0, 1], [4, 3, 4])
    save_embeddings(tmp_path / "e.npy", labels, np.array([], dtype=int))
    out = tmp_path / "out"
    command = ["clean", str(folder), "--embeddings", str(tmp_path / "e.npy"), "--out", str(out)]
    assert main([*command, "--threshold", "0", "--same", "0.9", "--drop-duplicates"]) == 0
    (row,) = read(out / "duplicates.csv")
    assert (row["identity"], row["images"], row["other"], row["other_images"]) == (
        "Pat B",
        "3",
        "Pat A",
        "4",
    )
    assert read(out / "exclude.csv") == [{"image": "", "identity": "Pat B"}]
    faces = load_faces(Data(source=str(folder), exclude=str(out / "exclude.csv")), 112)[0]
    assert faces.label_map.names == ("Pat A", "Pat C")


def test_clean_embeds_with_a_model(folder, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["clean", str(folder), "--model", str(TINY), "--out", str(out), "--workers", "0"]
    assert main(command) == 0
    assert "12 images of 3 identities" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "outliers.csv",
        "duplicates.csv",
        "exclude.csv",
    }


def test_embeddings_of_another_set_are_refused(train, tmp_path, capsys):
    np.save(tmp_path / "e.npy", np.ones((5, 4), np.float32))
    command = ["clean", str(train), "--embeddings", str(tmp_path / "e.npy")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "5 embeddings for 16 faces" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.data
def test_what_real_sets_share(data_dir, tmp_path, capsys):
    """The training half of LFW lies in lfw.bin; CFP does not, but for people nobody named alike."""
    bench = str(data_dir / "lfw/lfw.bin")
    assert main(["overlap", str(data_dir / "lfw_train/train.rec"), bench]) == 0
    table = counts(capsys.readouterr().out)
    assert table["bytes"] == ["6,152", "3,391", "6,152", "-"]
    assert table["picture"] == ["6,159", "3,394", "6,152", "-"]
    assert table["mirrored"] == ["0", "0", "0", "-"]
    command = ["overlap", str(data_dir / "cfp_train/train.rec"), bench]
    model = data_dir / "weights/mobilefacenet_arcface128.onnx"
    assert main([*command, "--model", str(model)]) == 0
    table = counts(capsys.readouterr().out)
    assert table["bytes"] == table["picture"] == table["mirrored"] == ["0", "0", "0", "-"]
    images, people = (int(cell) for cell in table["embedding"][:2])
    assert 150 < images < 200
    assert 20 <= people <= 28


def test_names_of_the_list_beside_a_rec_reach_the_recipe(train, folder, tmp_path):
    places = [f"{i + 1}\t{i // 4 + 3}\tpat_{'abcd'[i // 4]}/{i}.jpg\n" for i in RECORDS]
    train.with_suffix(".lst").write_text("".join(places))
    drop = tmp_path / "drop.csv"
    command = ["overlap", str(train), str(folder), "--drop", str(drop), "--drop-identities"]
    assert main(command) == 0
    assert read(drop)[0] == {"image": "pat_a/0.jpg", "identity": "pat_a"}
    with pytest.raises(FacekdError, match="1 identities with 4 images are left"):
        load_faces(Data(source=str(train), exclude=str(drop)), 112)
