import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tiny_runs import rows, same_weights, write_recipe
from tiny_studies import HELD, STAGES, write_study

from facekd.cli.train import main
from facekd.eval.accuracy import fold_accuracy
from facekd.eval.saved_scores import read_scores_file
from facekd.study import work as study_work
from facekd.study.grid import describe, make_grid
from facekd.study.judged import unpack
from facekd.study.run import run_study
from facekd.train import loop
from facekd.train.loop import Interrupted

MADE_ANEW = ("date", "minutes", "minutes_built_on", "images_per_second", "threads", "commit")


def table(folder):
    """The rows of the study's table by method and seed, without what is measured anew."""
    with (folder / "grid.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert len({(r["method"], r["seed"], r["settings_hash"]) for r in found}) == len(found)
    return {
        (row["method"], row["seed"], row["settings_hash"]): {
            key: value for key, value in row.items() if key not in MADE_ANEW
        }
        for row in found
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    assert run_study(write_study(folder)) == 0
    return folder


def stop_after(monkeypatch, steps, how):
    """Do something in the middle of the study's so-manieth training step."""
    real, count = loop._forward, []

    def forward(run, around, batch):
        count.append(1)
        if len(count) == steps:
            how()
        return real(run, around, batch)

    monkeypatch.setattr(loop, "_forward", forward)


def test_each_method_and_seed_has_a_row_with_its_numbers(undisturbed):
    found = table(undisturbed)
    assert [key[:2] for key in found] == [
        ("alone", "0"),
        ("taught", "0"),
        ("alone", "1"),
        ("taught", "1"),
    ]
    for (method, seed, mark), row in found.items():
        scores = undisturbed / f"runs/scores/{method}-seed{seed}-{mark[:8]}/held.npz"
        saved = read_scores_file(scores, 10)
        again = fold_accuracy(saved.scores[0], saved.trials.same, saved.trials.folds)
        assert float(row["held_accuracy"]) == pytest.approx(again.mean, abs=1e-6)
        assert (unpack(row["held_correct"]) == again.correct).all()
        assert row["images"] == "48"  # 2 epochs of 3 batches of 8
    settings = [json.loads(row["settings"]) for row in found.values()]
    assert settings[0] == settings[2]
    assert settings[0]["benches"]["held"].startswith("40 pairs, no flip, ")
    assert settings[1]["built_on"]["teacher"].endswith(", seed 0")
    assert str(undisturbed) not in json.dumps(settings)


def test_what_is_shared_is_trained_once_and_by_the_first_seed(undisturbed):
    trained = sorted(path.parent.name for path in (undisturbed / "runs").glob("*/*.pt"))
    assert [name.rsplit("-", 1)[0] for name in trained] == [
        "alone-seed0",
        "alone-seed1",
        "taught-seed0",
        "taught-seed1",
        "teacher-seed0",
    ]
    one, two = (undisturbed.glob(f"runs/alone-seed{seed}-*/alone.pt") for seed in (0, 1))
    assert not same_weights(next(one), next(two))


def test_a_finished_study_trains_nothing(undisturbed, monkeypatch, capsys):
    monkeypatch.setattr(study_work, "run_recipe", lambda recipe: pytest.fail("it trains again"))
    before = (undisturbed / "grid.csv").read_bytes()
    assert run_study(str(undisturbed / "grid.yaml")) == 0
    assert (undisturbed / "grid.csv").read_bytes() == before
    assert "4 done, 0 to do; nothing is left to train" in capsys.readouterr().out


@pytest.mark.parametrize("steps", [2, 14, 28])
def test_a_stopped_study_goes_on_to_the_same_rows(undisturbed, tmp_path, monkeypatch, steps):
    path = write_study(tmp_path)
    with monkeypatch.context() as patch:
        stop_after(patch, steps, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(Interrupted):
            run_study(path)
    if steps > 6:
        assert 0 < len(table(tmp_path)) < 4
    assert run_study(path) == 0
    assert table(tmp_path) == table(undisturbed)


def test_a_network_without_a_row_is_only_judged(undisturbed, tmp_path, monkeypatch):
    path = write_study(tmp_path)
    shutil.copytree(undisturbed / "runs", tmp_path / "runs")
    monkeypatch.setattr(study_work, "run_recipe", lambda recipe: pytest.fail("it trains again"))
    assert run_study(path) == 0
    assert table(tmp_path) == table(undisturbed)


def test_changed_settings_make_other_rows_and_keep_the_old(undisturbed, tmp_path, capsys):
    for name in ("grid.csv", "runs"):
        copy = shutil.copytree if name == "runs" else shutil.copy
        copy(undisturbed / name, tmp_path / name)
    path = write_study(tmp_path, seeds=[0])
    override = ["stages.taught.loss.beta=2.0"]
    told = describe(make_grid(path, override), 1)
    assert "alone seed 0" in told
    assert "taught seed 0" in told
    assert "its row has other settings (loss was" in told
    assert run_study(path, override) == 0
    now, before = table(tmp_path), table(undisturbed)
    assert len(now) == 5
    assert {key: now[key] for key in before} == before
    capsys.readouterr()
    assert main(["--study", path, "--table"]) == 0
    assert "Rows with other settings than the newest, left out: 2 of taught" in (
        capsys.readouterr().out
    )


def test_machine_and_looks_are_no_settings(undisturbed, tmp_path):
    path = write_study(tmp_path, recipe=str(tmp_path / "elsewhere/mine.yaml"))
    other = {"checkpoint_minutes": 1.0, "validation": {"benches": ["holdout"], "pairs": 40}}
    write_recipe(tmp_path / "elsewhere", STAGES, data=HELD | {"workers": 1}, common=other)
    keys = {run.key for run in make_grid(path).runs}
    assert keys == {("grid", *key) for key in table(undisturbed)}


def test_a_failing_method_stops_no_other(tmp_path, capsys):
    wild = {"like": "alone", "optimizer": {"lr": 1e30, "clip_norm": 0}}
    path = write_study(tmp_path, methods={"wild": wild, "alone": None}, seeds=[3], shared=[])
    assert main(["--study", path]) == 2
    told = capsys.readouterr()
    assert "error: 1 of 2 runs are not done" in told.err
    assert "wild seed 3: step 1: the loss is nan" in told.err.replace("inf", "nan")
    assert [key[0] for key in table(tmp_path)] == ["alone"]
    (error,) = tmp_path.glob("runs/wild-*/error.json")
    assert "Traceback" in json.loads(error.read_text())["traceback"]
    assert main(["--study", path]) == 2  # tried again, told again
    assert "wild seed 3" in capsys.readouterr().err


SMALL = {"backbone": "mobilefacenet", "embedding_dim": 8, "input_size": 32, "args": {"width": 0.25}}


def test_several_processes_share_the_work_through_a_stop(tmp_path):
    """Two processes are stopped, then two invocations run at once: each run is made once."""
    changes = {
        "set": {f"common.model.{key}": value for key, value in SMALL.items()},
        "methods": {"alone": None, "again": {"like": "alone", "optimizer": {"lr": 0.02}}},
        "shared": [],
        "threads": 1,
    }
    for name in ("one", "two"):
        write_study(tmp_path / name, **changes)
    assert run_study(str(tmp_path / "one/grid.yaml")) == 0
    path = str(tmp_path / "two/grid.yaml")
    command = [sys.executable, "-m", "facekd.cli.train", "--study", path]
    kept = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = subprocess.Popen([*command, "--jobs", "2"], **kept)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "two/runs").glob("*/log.txt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    both.send_signal(signal.SIGINT)
    told = both.communicate(timeout=300)[0]
    assert both.returncode == 128 + signal.SIGINT, told
    two = [subprocess.Popen(command, **kept) for _ in range(2)]
    for process in two:
        told = process.communicate(timeout=300)[0]
        assert process.returncode == 0, told
    assert table(tmp_path / "one") == table(tmp_path / "two")
    logs = [path.read_text() for path in (tmp_path / "two/runs").glob("*/log.txt")]
    assert [log.count("is finished after") for log in logs] == [1] * 4


def test_the_table_needs_only_the_csv(undisturbed, tmp_path, capsys):
    path = write_study(tmp_path)
    (tmp_path / "mine.yaml").unlink()
    shutil.copy(undisturbed / "grid.csv", tmp_path / "grid.csv")
    assert main(["--study", path, "--table"]) == 0
    printed = capsys.readouterr().out
    assert "No scores are kept here of alone, taught" in printed
    written = {p.name for p in tmp_path.iterdir()}
    assert {"grid-table.md", "grid-table.csv", "grid-bars.png", "grid-time.svg"} <= written
    assert "grid-roc.png" not in written
    taught = next(r for r in rows(tmp_path / "grid-table.csv") if r["method"] == "taught")
    found = table(tmp_path).values()
    accuracy = {
        method: [float(r["held_accuracy"]) for r in found if r["method"] == method]
        for method in ("alone", "taught")
    }
    assert float(taught["accuracy"]) == pytest.approx(100 * np.mean(accuracy["taught"]), abs=0.006)
    assert float(taught["std of seeds"]) == pytest.approx(
        100 * np.std(accuracy["taught"], ddof=1), abs=0.006
    )
    each = 100 * (np.array(accuracy["taught"]) - accuracy["alone"])
    assert [float(d) for d in taught["of each seed"].split()] == pytest.approx(each, abs=0.006)


def test_with_scores_the_table_draws_the_roc(undisturbed, capsys):
    assert main(["--study", str(undisturbed / "grid.yaml"), "--table"]) == 0
    assert "No scores" not in capsys.readouterr().out
    assert (undisturbed / "grid-roc.png").read_bytes()[1:4] == b"PNG"
    assert "(method, seed)" not in (undisturbed / "grid-table.md").read_text()


def test_a_damaged_table_is_told_and_kept(undisturbed, tmp_path, capsys):
    path = write_study(tmp_path)
    text = (undisturbed / "grid.csv").read_text()
    for broken, told in (
        (text.replace("commit", "comment", 1), "no column 'commit'"),
        (text + "<<<<<<< HEAD\n", "fields, the header has"),
        (text.replace("\n1,", "\n7,", 1), "line 2: format '7'"),
    ):
        (tmp_path / "grid.csv").write_text(broken)
        assert main(["--study", path]) == 2
        assert told in capsys.readouterr().err
        assert (tmp_path / "grid.csv").read_text() == broken
    (tmp_path / "grid.csv").write_text(text.replace(",40:", ",48:", 1))
    assert main(["--study", path, "--table"]) == 2
    assert "held_correct of the table is damaged" in capsys.readouterr().err
