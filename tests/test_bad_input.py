"""Bad input to `facekd-train`: one sentence on stderr, no traceback, exit code 2."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import write_recipe

from facekd.cli.train import main
from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack

SMALL = {"backbone": "mobilefacenet", "embedding_dim": 8, "input_size": 32, "args": {"width": 0.25}}
JPEG = encode_jpeg(np.full((32, 32, 3), 90, np.uint8))


def write_rec(path, labels=(0, 1, 0, 1, 2, 2, 0, 1), images=None):
    with RecordWriter(path) as writer:
        for i, label in enumerate(labels):
            image = (images or {}).get(i, JPEG)
            writer.write(i, pack(IRHeader(float(label), i), image))
    return path


def offset(path, i):
    return int(path.with_suffix(".idx").read_text().split("\n")[i].split("\t")[1])


def truncated(folder):
    path = write_rec(folder / "a.rec")
    path.write_bytes(path.read_bytes()[: offset(path, 6) + 20])
    return path, rf"a.rec record 6 at byte {offset(path, 6)}: .*cut short; copy it again"


def past_the_end(folder):
    path = write_rec(folder / "a.rec")
    with path.with_suffix(".idx").open("a") as file:
        file.write("8\t99999999\n")
    return path, "a.rec record 8 at byte 99999999: .*past the end"


def broken_index(folder):
    path = write_rec(folder / "a.rec")
    path.with_suffix(".idx").write_text("0 zero\n")
    return path, "a.idx line 1 is not"


def truncated_without_index(folder):
    path, _ = truncated(folder)
    path.with_suffix(".idx").unlink()
    return path, "a.rec record 6 at byte .*cut short"


def undecodable(folder):
    path = write_rec(folder / "a.rec", images={3: b"\xff\xd8 no jpeg \xff\xd9"})
    return path, rf"a.rec record 3 at byte {offset(path, 3)}: .* do(es)? not decode.*on_bad_record"


def cut_jpeg(folder):
    path = write_rec(folder / "a.rec", images={3: JPEG[:-30]})
    return path, rf"a.rec record 3 at byte {offset(path, 3)}: a JPEG of .*cut short"


def empty_file(folder):
    (folder / "a.rec").write_bytes(b"")
    return folder / "a.rec", r"a.rec.* is empty"


def empty_folder(folder):
    (folder / "faces").mkdir()
    return folder / "faces", "faces has no sub-folders"


def empty_person(folder):
    (folder / "faces" / "al").mkdir(parents=True)
    return folder / "faces", "al holds no images"


def one_identity(folder):
    return write_rec(folder / "a.rec", labels=[4] * 8), "1 identities with 8 images are left"


def one_person(folder):
    (folder / "faces" / "al").mkdir(parents=True)
    for i in range(8):
        (folder / f"faces/al/{i}.jpg").write_bytes(JPEG)
    return folder / "faces", "1 identities with 8 images are left"


def negative_label(folder):
    path = write_rec(folder / "a.rec", labels=[0, 1, -3, 1, 2, 2])
    return path, rf"a.rec record 2 at byte {offset(path, 2)} has the label -3"


def nan_label(folder):
    path = write_rec(folder / "a.rec", labels=[0, 1, float("nan"), 1, 2, 2])
    return path, rf"a.rec record 2 at byte {offset(path, 2)} has the label nan"


def huge_label(folder):
    return write_rec(folder / "a.rec", labels=[0, 1, 3e9, 1, 2, 2]), "record 2 .*has the label 3e"


def bad_file_in_folder(folder):
    for name in ("al", "bea"):
        (folder / "faces" / name).mkdir(parents=True)
        for i in range(3):
            (folder / f"faces/{name}/{i}.jpg").write_bytes(JPEG)
    (folder / "faces/bea/1.jpg").write_bytes(b"text")
    return folder / "faces", r"faces/bea/1.jpg: 4 bytes do not decode"


def run(capsys, *arguments):
    """Exit code 2 and one sentence, which is given back."""
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    sentence = error[error.rindex("error: ") :]  # a progress bar may stand before it
    assert sentence.count("\n") == 1
    assert "Traceback" not in error
    return sentence


@pytest.fixture
def recipe(tmp_path):
    def write(stage=None, **settings):
        common = {"model": SMALL, "precision": "fp32", "batch_size": 4, "schedule": {"epochs": 2}}
        return write_recipe(tmp_path, {"s": stage or {}}, common=common, **settings)

    return write


@pytest.mark.parametrize(
    "make",
    [
        truncated,
        past_the_end,
        broken_index,
        truncated_without_index,
        undecodable,
        cut_jpeg,
        empty_file,
        empty_folder,
        empty_person,
        one_identity,
        one_person,
        negative_label,
        nan_label,
        huge_label,
        bad_file_in_folder,
    ],
    ids=lambda make: make.__name__,
)
def test_data(make, recipe, tmp_path, capsys):
    source, told = make(tmp_path)
    assert re.search(told, run(capsys, recipe(data={"source": str(source)})))
    assert not (tmp_path / "run/s.pt").exists()


class Evil:
    """What a pickle with code in it does when it is opened carelessly."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("key", ["start_from", "teacher"])
def test_a_pt_with_code_in_it_is_not_run(key, recipe, tmp_path, capsys):
    torch.save({"format": 1, "state_dict": Evil(tmp_path / "ran")}, tmp_path / "evil.pt")
    stage = {key: str(tmp_path / "evil.pt"), "loss": "arcface"}
    assert "none of which was run" in run(capsys, recipe(stage))
    assert not (tmp_path / "ran").exists()


def test_a_validation_set_of_one_class_is_told_before_the_first_step(recipe, tmp_path, capsys):
    write_bin(tmp_path / "one.bin", [JPEG] * 8, [True] * 4)
    stage = {"validation": {"benches": [str(tmp_path / "one.bin")]}}
    sentence = run(capsys, recipe(stage))
    assert "one" in sentence
    assert "genuine" in sentence or "impostor" in sentence
    assert not (tmp_path / "run/s").exists()


def test_a_malicious_validation_set_is_not_run(recipe, tmp_path, capsys):
    (tmp_path / "evil.bin").write_bytes(pickle.dumps(([Evil(tmp_path / "ran")], [True])))
    run(capsys, recipe({"validation": {"benches": [str(tmp_path / "evil.bin")]}}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["stages.s.optimizer.lrr=1"], "unknown key 'stages.s.optimizer.lrr'; did you mean 'lr'?"),
        (["stages.t.batch_size=1"], "no stage 't'"),
        (["--stage", "t"], "there is no stage 't'"),
        (["seed=one"], "seed"),
        (["stages.s.device=tpu"], "'auto', 'cpu' or 'cuda', found 'tpu'"),
        (["data.source=/nowhere/train.rec"], "/nowhere/train.rec does not exist"),
    ],
)
def test_command_line(arguments, told, recipe, capsys):
    assert told in run(capsys, recipe(), *arguments)


def test_no_such_recipe(capsys):
    assert "did you mean 'real_small'?" in run(capsys, "real_smal")


def test_an_output_that_cannot_be_written(recipe, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "cannot write" in run(capsys, recipe(), f"output={tmp_path / 'file' / 'run'}")


def test_the_command_itself_shows_no_traceback(recipe, tmp_path):
    source, _ = truncated(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "facekd.cli.train", recipe(data={"source": str(source)})],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: stage 's': a.rec record 6 at byte ")
    assert done.stderr.count("\n") == 1
