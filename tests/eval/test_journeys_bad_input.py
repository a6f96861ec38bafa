"""facekd-eval with bad input: one sentence, exit code 2, no traceback, nothing half-written."""

import contextlib
import io
import re
import shutil

import numpy as np
import pytest
from eval_command import EACH, PEOPLE, TINY, clustered, evaluate, write_people
from ijb_shaped import make_ijb

from facekd.cli.eval import main
from facekd.model import FaceModel

LABELS = np.repeat(np.arange(PEOPLE), EACH)
MODEL = "--model TINY --device cpu"
FACE = "people/person_{0:02d}/person_{0:02d}_{1:04d}.jpg".format


def write_meta(folder, rest, change):
    path = folder / f"IJBC/meta/ijbc_{rest}"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


@pytest.fixture(scope="module")
def mess(tmp_path_factory):
    """Everything that can be wrong with a file, side by side."""
    folder = tmp_path_factory.mktemp("mess")
    write_people(folder / "people")
    write_arrays(folder)
    write_tables(folder)
    write_ijb(folder)
    (folder / "empty_folder").mkdir()
    (folder / "file").write_text("")
    (folder / "bad.pt").write_bytes(b"no network")
    (folder / "bad.json").write_text("{")
    (folder / "foreign").mkdir()
    (folder / "foreign/results.json").write_text('{"accuracy": 1}')
    for person, source in (("ann", 1), ("ann", 2), ("bea", 1), ("bea", 2)):
        (folder / "corrupt" / person).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / FACE(0, source), folder / f"corrupt/{person}/{source}.jpg")
    (folder / "corrupt/bea/2.jpg").write_bytes(b"no image")
    shutil.copytree(folder / "corrupt/ann", folder / "one/ann")
    for name, *more in (("mine",), ("other",), ("mine", "--protocol", "insightface")):
        out = folder / f"report_{name}{'_theirs' if more else ''}"
        evaluate(out, "--scores", folder / f"{name}.csv", *more)
    shutil.copytree(folder / "report_mine", folder / "report_cut")
    (folder / "report_cut/scores/scores.npz").unlink()
    return folder


def write_arrays(folder):
    good = clustered(LABELS)
    arrays = {"good": good, "short": good[:50], "odd": good[:, :7], "empty": good[:0]}
    arrays |= {"flat": good[:, 0], "whole": good.astype(int)}
    for name, value in (("nan", np.nan), ("zero", 0.0)):
        arrays[name] = good.copy()
        arrays[name][7] = value
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "infinite.npy", np.array([1.0, np.inf]))
    np.save(folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "cut.npy").write_bytes((folder / "good.npy").read_bytes()[:500])
    (folder / "text.npy").write_text("no array")


def write_tables(folder):
    rows = "0.9,1\n0.1,0\n0.4,1\n0.5,0\n"
    tables = {
        "mine": "score,same\n" + rows * 5,
        "other": "score,same\n" + rows * 6,
        "blank": "",
        "header": "score,same\n",
        "nan_score": "score,same\n0.9,1\nnan,0\n",
        "genuine_only": "score,same\n0.9,1\n0.8,1\n",
        "swapped": "score,same\n0.1,0\n0.9,1\n",
        "unknown_images": "image,group\nnobody.jpg,a\n",
        "two_columns": "image,a,b\nx,1,2\n",
        "one_group": "pair,group\n0,a\n1,a\n",
    }
    pairs = {
        "pairs": f"{FACE(0, 1)},{FACE(0, 2)},1\n{FACE(0, 1)},{FACE(1, 2)},0\n",
        "twice": f"{FACE(0, 1)},{FACE(0, 2)},1\n{FACE(0, 2)},{FACE(0, 1)},1\n",
        "one_kind": f"{FACE(0, 1)},{FACE(0, 2)},1\n",
        "gone_image": f"{FACE(0, 1)},people/gone.jpg,1\n{FACE(0, 1)},{FACE(1, 2)},0\n",
        "no_pairs": "",
    }
    folded = [line + ",%s" for line in pairs["pairs"].splitlines()]
    tables["one_fold"] = "a,b,same,fold\n" + "\n".join(folded) % ("0", "0")
    tables["unmixed_folds"] = "a,b,same,fold\n" + "\n".join(folded) % ("A", "B")
    tables |= {name: "a,b,same\n" + text for name, text in pairs.items()}
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)


def write_ijb(folder):
    made = make_ijb(folder / "good/IJBC", faces=80, images=False)
    faces = np.random.default_rng(0).normal(size=(len(made.template), 8)).astype(np.float32)
    np.save(folder / "ijb.npy", faces)
    faces[np.flatnonzero(made.found)[3]] = np.nan
    np.save(folder / "ijb_nan.npy", faces)
    changes = {
        "unknown_template": ("template_pair_label.txt", lambda lines: [*lines, "9999 7 1"]),
        "repeated_pair": ("template_pair_label.txt", lambda lines: [*lines, lines[0]]),
        "impostors_only": (
            "template_pair_label.txt",
            lambda lines: [line for line in lines if line.endswith("0")],
        ),
        "fewer_scores": ("name_5pts_score.txt", lambda lines: lines[:-1]),
        "unknown_probe": ("1N_probe_mixed.csv", lambda lines: [*lines, "9999,1,x.jpg,0"]),
    }
    for name, (file, change) in changes.items():
        shutil.copytree(folder / "good", folder / name)
        write_meta(folder / name, file, change)


def refuse(folder, out, command):
    """What the command says on stderr; `{}` is the folder."""
    texts = command.replace("{}", str(folder)).replace("TINY", str(TINY)).split()
    if "--out" not in texts:
        texts += ["--out", str(out)]
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main(texts)
        except SystemExit as leave:  # how argparse ends
            status = leave.code
    assert status == 2
    sentence = told.getvalue()
    assert sentence.startswith("error: ")
    assert sentence.count("\n") == 1
    assert "Traceback" not in sentence
    assert not out.exists()
    return sentence


SCORES = "--scores {}/mine.csv"
PEOPLE_GOOD = "--bench {}/people --embeddings {}/good.npy"
IJB = "--bench ijbc --embeddings {}/ijb.npy --data {}/"
SEARCH = "--bench ijbc_1n --embeddings {}/ijb.npy --data {}/good"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        # benches
        ("", "nothing to evaluate; give --bench NAME with --model"),
        ("--bench synthetic", "nothing to evaluate"),
        (MODEL, "need a bench to be scored on; give --bench"),
        (f"--bench , {MODEL}", "--bench , names no bench; --list"),
        (f"--bench sinthetic {MODEL}", "did you mean 'synthetic'"),
        (f"--bench {{}}/gone.bin {MODEL}", "gone.bin is not there"),
        (f"--bench {{}}/empty_folder {MODEL}", "has no sub-folders: expected"),
        (f"--bench {{}}/bad.pt {MODEL}", "of no known kind; give a .bin"),
        (f"--bench lfw --data {{}}/file {MODEL}", "--data names .*/file, which is not a folder"),
        (f"--bench lfw --data {{}} {MODEL}", "62 MB.: none of .*lfw.bin.*vis-www.cs.umass.edu"),
        (f"--bench {{}}/people,{{}}/people/ {MODEL} --out {{}}/file", "names two benches alike"),
        (f"--bench {{}}/one {MODEL}", "all 2 images are of one identity"),
        (f"--bench {{}}/corrupt {MODEL}", "corrupt/bea/2.jpg: 8 bytes do not decode"),
        (f"--bench {{}}/twice.csv {MODEL}", "line 3: .* were already compared in .*line 2"),
        (f"--bench {{}}/one_kind.csv {MODEL}", "none of its 1 pairs is impostor"),
        (f"--bench {{}}/gone_image.csv {MODEL}", "line 2: there is no image .*--missing count"),
        (f"--bench {{}}/no_pairs.csv {MODEL}", "no_pairs.csv has no rows"),
        # models
        ("--bench synthetic --model gone.pt", "gone.pt does not exist"),
        ("--bench synthetic --model {}", "is a folder"),
        (
            "--bench synthetic --model /dev/null",
            "/dev/null is no plain file: give a network's file",
        ),
        ("--bench synthetic --scores /dev/zero", "there is no file /dev/zero"),
        (f"{PEOPLE_GOOD} --groups /dev/zero", "/dev/zero is a device; write what it gives"),
        (
            "--bench synthetic --model {}/bad.pt",
            "bad.pt is no file of plain weights: it is damaged",
        ),
        ("--bench synthetic --model {}/good.npy", "no suffix of a network's file"),
        (f"--bench synthetic --model a/x.pt --model b/x.pt {MODEL}", "both named 'x'; .*NAME=b/x"),
        ("--bench synthetic --model =x.pt", "--model =x.pt: give FILE, or NAME=FILE"),
        ("--bench synthetic --model x=", "--model x=: give FILE, or NAME=FILE"),
        ("--bench synthetic --model runs/a=b/x.pt", "error: runs/a=b/x.pt does not exist"),
        (f"--bench synthetic {MODEL} --baseline x", "none of the models: format1_tiny"),
        (f"--bench synthetic {MODEL} --halves", "--halves tells what rows of --embeddings are"),
        (f"--bench synthetic {MODEL} --save-embeddings {{}}/file", "folder .*/file"),
        # embeddings
        ("--bench {}/people --embeddings {}/gone.npy", "there is no file .*gone.npy"),
        ("--bench {}/people --embeddings {}/people", "there is no file .*people"),
        ("--bench {}/people --embeddings {}/mine.csv", "mine.csv cannot be read as a .npy"),
        ("--bench {}/people --embeddings {}/text.npy", "text.npy cannot be read as a .npy"),
        ("--bench {}/people --embeddings {}/pickled.npy", "pickled.npy cannot be read as a .npy"),
        ("--bench {}/people --embeddings {}/cut.npy", "cut.npy cannot be read as a .npy"),
        ("--bench {}/people --embeddings {}/short.npy", "50 embeddings for 60 faces"),
        ("--bench {}/people --embeddings {}/empty.npy", "0 embeddings for 60 faces"),
        ("--bench {}/people --embeddings {}/flat.npy", r"float32 .60,.; .*\(faces, width\)"),
        ("--bench {}/people --embeddings {}/whole.npy", "int64 .60, 16.; .*float32"),
        ("--bench {}/people --embeddings {}/nan.npy", "row 7 has norm nan .1 of 60"),
        ("--bench {}/people --embeddings {}/zero.npy", "row 7 has norm 0 .1 of 60"),
        ("--bench {}/people --embeddings {}/odd.npy --halves", "7 numbers cannot be halved"),
        ("--bench {}/people,synthetic --embeddings {}/good.npy", "belong to one bench"),
        # IJB
        (f"{IJB}good --embeddings b={{}}/good.npy", "good.npy holds 60 embeddings for 80 faces"),
        ("--bench ijbc --data {}/good --embeddings {}/ijb_nan.npy", r"row \d+ has norm nan"),
        (f"--bench ijbc --data {{}}/good {MODEL}", r"not there \(.*/IJBC/loose_crop\); .*--emb"),
        (f"{IJB}unknown_template", r"line \d+: template 9999 has no faces"),
        (f"{IJB}repeated_pair", r"line \d+: .*already compared in line 1.*--keep-duplicates"),
        (f"{IJB}impostors_only", "none of its .* pairs is genuine"),
        (f"{IJB}fewer_scores", "has 80 lines and ijbc_name_5pts_score.txt 79"),
        ("--bench ijbc_1n --data {}/unknown_probe --embeddings {}/ijb.npy", "template 9999"),
        (f"{SEARCH} --bootstrap 5", "--bootstrap is about pairs, which ijbc_1n .1:N. has none"),
        (f"{SEARCH} --groups {{}}/one_group.csv", "--groups is about pairs"),
        (f"{SEARCH} --fars 1e-3", "--fars is about pairs"),
        (f"{SEARCH} --threshold-from {{}}/report_mine/results.json", "--threshold-from is about"),
        ("--bench ijbc_1n --data {}/good --scores {}/mine.csv", "mine.csv: ijbc_1n lists no pairs"),
        # scores
        ("--scores {}/blank.csv", "blank.csv has no rows"),
        ("--scores {}/header.csv", "header.csv has no rows"),
        ("--scores {}/nan_score.csv", "line 3: the score 'nan' is no finite number"),
        ("--scores {}/genuine_only.csv", "genuine_only.csv: none of its 2 pairs is impostor"),
        ("--scores {}/good.npy", "good.npy is no .csv, .*--bench"),
        (f"{SCORES} --scores {{}}/other.csv", "other.csv does not list the pairs of .*mine.csv"),
        (f"--bench {{}}/pairs.csv {SCORES}", "mine.csv: 20 scores for the 2 pairs of pairs"),
        ("--bench {}/pairs.csv --scores {}/good.npy", "shape .60, 16.; scores are one float"),
        ("--bench {}/pairs.csv --scores {}/text.npy", "text.npy cannot be read as a .npy"),
        ("--bench {}/pairs.csv --scores {}/swapped.csv", "line 2: same is not what the bench"),
        ("--bench {}/pairs.csv --scores {}/infinite.npy", "score 1, counted from 0, is inf"),
        (f"--bench {{}}/people {SCORES}", "mine.csv: people lists no pairs"),
        # thresholds and groups
        (f"{SCORES} --threshold-from gone.json", "cannot read gone.json: No such file"),
        (f"{SCORES} --threshold-from {{}}/bad.json", "bad.json is not JSON"),
        (f"{SCORES} --threshold-from {{}}/foreign/results.json", "has no benches"),
        (f"{SCORES} --threshold-from {{}}/report_mine", "Is a directory"),
        (f"{SCORES} --threshold-from {{}}/report_mine/results.json:x", "no bench 'x'.*'scores'"),
        (f"{SCORES} --groups {{}}/one_group.csv", "bring their groups in a column group"),
        (f"{PEOPLE_GOOD} --groups gone.csv", "cannot read gone.csv"),
        (f"{PEOPLE_GOOD} --groups {{}}", "Is a directory"),
        (f"{PEOPLE_GOOD} --groups {{}}/unknown_images.csv", "it does name 'nobody.jpg'"),
        (f"{PEOPLE_GOOD} --groups {{}}/two_columns.csv", "say which .*two_columns.csv:COLUMN"),
        (f"{PEOPLE_GOOD} --groups {{}}/two_columns.csv:c", "has no column 'c'"),
        (
            f"--bench {{}}/pairs.csv --groups {{}}/one_group.csv {MODEL}",
            "name only the group 'a'",
        ),
        # options
        (f"{SCORES} --fars 0", r"--fars: '0' is no list of different rates in \(0, 1\]"),
        (f"{SCORES} --fars 1e-3,x", "--fars: '1e-3,x' is no list"),
        (f"{SCORES} --fars 0.1,1e-1", "--fars: .* different rates"),
        (f"{SCORES} --bootstrap x", "--bootstrap: 'x' is no whole number from 0 on"),
        (f"{SCORES} --seed=-1", "--seed: '-1' is no whole number from 0 on"),
        (f"{SCORES} --batch-size 0", "--batch-size: '0' is no whole number from 1 on"),
        (
            f"--bench synthetic {MODEL} --input-range=0,1",
            "says itself that 0 and 255 become -0.5 and 0.5",
        ),
        (f"--bench synthetic {MODEL} --channels rgb", "says itself that it takes bgr; leave --ch"),
        (f"{PEOPLE_GOOD} --precision bf16", "--precision is about the network of --model FILE"),
        (f"{PEOPLE_GOOD} --channels rgb", "--channels is about the network of --model FILE"),
        (f"{SCORES} --input-range 0,1", "--input-range is about the network of --model FILE"),
        (f"{SCORES} --save-embeddings {{}}/kept", "--save-embeddings keeps those of --model"),
        (f"{SCORES} --no-flip", "--no-flip is about embeddings, and scores are given"),
        (f"{SCORES} --no-norm", "--no-norm is about the templates .* scores without a bench has"),
        (f"{PEOPLE_GOOD} --no-norm", "--no-norm is about the templates of IJB-B and IJB-C, and --"),
        (f"{PEOPLE_GOOD} --no-detector", "--no-detector is about the templates of .*leave it out"),
        (f"{PEOPLE_GOOD} --keep-duplicates", "--keep-duplicates is about pairs that a .csv"),
        (f"{PEOPLE_GOOD} --missing count", "--missing is about images that a list names, and --b"),
        (f"{SEARCH} --keep-duplicates", "--keep-duplicates is about .* --bench ijbc_1n has none"),
        (f"{SCORES} --seed 3", "--seed is the bootstrap's; give --bootstrap N, too"),
        (f"{SCORES} --input-range=1,-1", "--input-range: '1,-1' is not LO,HI"),
        (f"{SCORES} --input-range nan,1", "--input-range: 'nan,1' is not LO,HI"),
        (f"{SCORES} --protocol theirs", "invalid choice: 'theirs'"),
        (f"{SCORES} --colour", "unrecognized arguments: --colour; see facekd-eval --help"),
        # output
        (f"{SCORES} --out {{}}/file", "cannot go to .*/file: .*another --out"),
        (f"{SCORES} --out {{}}/file/below", "cannot go to .*/file/below: .*/file is no folder"),
        # comparisons
        ("--compare", "--compare: expected at least one argument"),
        ("--compare {}/empty_folder", "cannot read .*empty_folder/results.json"),
        ("--compare {}/file", "cannot read .*file/results.json: Not a directory"),
        ("--compare {}/foreign", "foreign/results.json has format None"),
        ("--compare {}/report_cut", "cannot read the scores in .*evaluate again"),
        ("--compare {}/report_mine {}/report_mine/", "names a folder twice"),
        ("--compare {}/report_mine {}/report_other", "bench 'scores' is not the same in"),
        ("--compare {}/report_mine {}/report_mine_theirs", "follow different protocols"),
        ("--compare {}/report_mine --baseline x", "none of the models on scores: mine"),
        ("--compare {}/report_mine --fars 0.1", "measures nothing again; leave out --fars"),
        ("--compare {}/report_mine --no-flip", "leave out --no-flip"),
        (
            "--compare {}/report_mine {}/report_other --out {}/report_other",
            "report_other is one of the reports compared",
        ),
    ],
)
def test_bad_input_is_one_sentence(mess, tmp_path, command, told):
    before = sorted(mess.rglob("*"))
    assert re.search(told, refuse(mess, tmp_path / "out", command))
    assert sorted(mess.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("--bench {}/people,{}/twice.csv", "already compared"),
        ("--bench {}/people,{}/one", "all 2 images are of one identity"),
        ("--bench {}/people --embeddings x={}/short.npy", "50 embeddings for 60 faces"),
        ("--bench {}/one_fold.csv", "one_fold.csv: 1 folds, 2 fold numbers for 2 pairs"),
        ("--bench {}/unmixed_folds.csv", "unmixed_folds.csv: outside fold 0 all pairs are of one"),
        ("--bench {}/people,ijbc --data {}/good", "images are not there"),
        ("--bench {}/pairs.csv --scores x={}/mine.csv", "20 scores for the 2 pairs"),
        ("--bench {}/people --threshold-from {}/foreign/results.json", "has no benches"),
        ("--bench {}/people --groups {}/unknown_images.csv", "labels 0 of the 60 images"),
        ("--bench {}/people --out {}/file", "the report cannot go to"),
    ],
)
def test_nothing_is_embedded_before_a_mistake_is_told(mess, tmp_path, monkeypatch, command, told):
    def embed(self, images, **options):
        raise AssertionError("embedded")

    monkeypatch.setattr(FaceModel, "embed", embed)
    assert told in refuse(mess, tmp_path / "out", f"{command} {MODEL}")


def test_a_compared_report_needs_a_place(mess, capsys):
    assert main(["--compare", str(mess / "report_mine")]) == 2
    assert "say where with --out DIR" in capsys.readouterr().err


def test_too_late_to_write(mess, tmp_path, capsys):
    """A folder that only looks as if it could be made."""
    assert main(["--scores", str(mess / "mine.csv"), "--out", "/proc/facekd/report"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write /proc/facekd/report/")
    assert error.count("\n") == 1


def test_embeddings_of_a_bin_are_as_many_as_its_images(benches, tmp_path, capsys):
    np.save(tmp_path / "e.npy", np.ones((7, 4), np.float32))
    command = ["--bench", str(benches / "drawn.bin"), "--embeddings", str(tmp_path / "e.npy")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert re.search(
        r"e\.npy holds 7 embeddings for the 160 images of drawn, \d+ of them different",
        capsys.readouterr().err,
    )
    array = np.ones((160, 4), np.float32)
    array[159] = np.nan
    np.save(tmp_path / "e.npy", array)
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "row 159 has norm nan" in capsys.readouterr().err


def test_names_and_paths_as_people_type_them(mess, tmp_path):
    """A slash at the end, empty names between commas, an equals sign in a folder's name."""
    folder = tmp_path / "lr=0.1"
    folder.mkdir()
    shutil.copy(TINY, folder / "student.pt")
    bench = f"{mess}/people/,,{mess}/corrupt/../pairs.csv,"
    made = evaluate(tmp_path / "out", "--bench", bench, "--model", folder / "student.pt")
    assert [one["name"] for one in made.results["benches"]] == ["people", "pairs"]
    assert made.model("people")["name"] == "student"
    named = evaluate(tmp_path / "b", "--bench", bench, "--model", f"2nd|<b>={folder}/student.pt")
    assert named.model("people")["name"] == "2nd|<b>"


def test_reports_go_to_a_folder_named_after_the_benches(mess, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["--embeddings", str(mess / "good.npy"), "--no-figures"]
    assert main(["--bench", f"{mess}/corrupt/../people/:all", *command]) == 0
    assert (tmp_path / "runs/eval/people/results.json").is_file()
    monkeypatch.chdir(mess / "people")
    assert main(["--bench", ".", *command, "--out", str(tmp_path / "here")]) == 0
    assert main(["--scores", str(mess / "mine.csv"), "--out", str(tmp_path / "s")]) == 0


def test_an_interrupted_run_goes_on(mess, tmp_path, monkeypatch, capsys):
    """Ctrl-C while embedding; what has been saved is not embedded again."""
    monkeypatch.setattr("facekd.eval.embed._SAVE_EVERY", 1)
    plain, seen = FaceModel.embed, []

    def embed(self, images, **options):
        seen.append(len(images))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return plain(self, images, **options)

    monkeypatch.setattr(FaceModel, "embed", embed)
    command = ["--bench", str(mess / "people"), "--model", str(TINY), "--batch-size", "10"]
    command += ["--save-embeddings", str(tmp_path / "kept"), "--no-flip", "--workers", "0"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 130
    assert not (tmp_path / "out").exists()
    done = sum(seen[:-1])
    went_on = evaluate(tmp_path / "out", *command)
    assert f"going on after {done}" in went_on.printed
    assert (done, sum(seen) - sum(seen[:4])) == (30, 30)
    fresh = evaluate(tmp_path / "fresh", *command[:-5], "--no-flip")
    assert fresh.results["benches"][0]["models"][0]["auc"] == went_on.model("people")["auc"]
