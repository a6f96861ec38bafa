import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tiny_runs import DATA, rows, same_weights, write_recipe

from facekd.cli.train import main
from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError
from facekd.eval.accuracy import fold_accuracy
from facekd.eval.saved_scores import read_scores_file
from facekd.train import loop, study_bench, study_work
from facekd.train.loop import Interrupted
from facekd.train.study import run_study
from facekd.train.study_bench import pack, unpack
from facekd.train.study_file import StudyBench, load_study
from facekd.train.study_grid import describe, make_grid

HELD = {"synthetic": {"identities": 24, "images_per_identity": 6}, "holdout": 20}
STAGES = {
    "alone": {},
    "teacher": {"head": "alone", "model": {"backbone": "tiny", "embedding_dim": 8}},
    "taught": {"teacher": "teacher", "loss": {"preset": "l2e", "scale": 16.0, "beta": 4.0}},
}
STUDY = {
    "recipe": "mine.yaml",
    "set": {"common.model.input_size": 32, "stages.teacher.model.input_size": 32},
    "seeds": [0, 1],
    "shared": ["alone", "teacher"],
    "bench": {"held": {"source": "holdout", "draw": 40, "flip": "off"}},
    "methods": {"alone": None, "taught": None},
}
MADE_ANEW = ("date", "minutes", "minutes_built_on", "images_per_second", "threads", "commit")


def write_study(folder, **changes):
    """Write `<folder>/grid.yaml` over a recipe beside it; gives its path."""
    write_recipe(folder, STAGES, data=HELD)
    path = folder / "grid.yaml"
    path.write_text(json.dumps({**STUDY, "runs": str(folder / "runs"), **changes}, indent=1))
    return str(path)


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
    deadline = time.monotonic() + 90
    while not list((tmp_path / "two/runs").glob("*/log.txt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    both.send_signal(signal.SIGINT)
    told = both.communicate(timeout=90)[0]
    assert both.returncode == 128 + signal.SIGINT, told
    two = [subprocess.Popen(command, **kept) for _ in range(2)]
    for process in two:
        told = process.communicate(timeout=90)[0]
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


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, r"grid.yaml line \d+: unknown key 'seed'; did you mean 'seeds'"),
        ({"seeds": [1, 1]}, "a seed is given twice"),
        ({"seeds": []}, r"grid.yaml line \d+: seeds: .*at least 1"),
        ({"baseline": "aline"}, "baseline: no method 'aline'; did you mean 'alone'"),
        ({"methods": {}}, "methods: .*at least 1"),
        ({"bench": {}}, "bench: .*at least 1"),
        ({"bench": {"held": {"source": "holdout", "flop": "off"}}}, "did you mean 'flip'"),
        ({"format": 2}, "format: Input should be 1, found 2"),
        ({"methods": {"x": {"like": "alon"}}}, r"grid.yaml line \d+: no stage 'alon' to start"),
        (
            {"methods": {"x": {"like": "alone", "optimiser": {}}}},
            r"grid.yaml line \d+: unknown key 'stages.x.optimiser'; did you mean 'optimizer'",
        ),
        (
            {"methods": {"x": {"like": "taught", "loss": {"preset": "l2e", "betta": 1}}}},
            r"grid.yaml line \d+: stage 'x': .*'betta'",
        ),
        ({"set": {"common.model.inputsize": 32}}, r"grid.yaml `set`: unknown key"),
        ({"shared": ["teecher"]}, "no method builds on a stage 'teecher'; did you mean 'teacher'"),
        (
            {"methods": {"x": {"like": "alone", "seed": 3}}, "shared": []},
            r"grid.yaml line \d+: .*own; the study's `seeds`",
        ),
        ({"recipe": "nowhere.yaml"}, "no recipe file 'nowhere.yaml'"),
        ({"bench": {"nowhere": None}}, "bench 'nowhere'"),
        (
            {"bench": {"held": {"source": "holdout", "draw": 40, "pairs": [30, 41]}}},
            r"pairs: \[30, 41\] is no range of its 40 pairs",
        ),
        (
            {"bench": {"held": {"source": "holdout", "draw": 40, "pairs": [1, 4]}}},
            "1 folds, 4 fold numbers",
        ),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path, capsys, changes, told):
    path = write_study(tmp_path, **changes)
    assert main(["--study", path]) == 2
    error = capsys.readouterr().err
    assert re.search(told, error), error
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "grid.csv").exists()


def test_held_back_people_must_be(tmp_path):
    path = write_study(tmp_path)
    with pytest.raises(FacekdError, match=r"nobody is; set data\.holdout"):
        make_grid(path, ["data.holdout=0"])


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


def test_a_range_of_pairs_keeps_their_images_and_folds():
    images = [np.full((4, 4, 3), i, np.uint8) for i in range(12)]
    whole = PairSet(
        "made",
        images,
        left=np.array([0, 2, 4, 6, 8, 10, 5, 1]),
        right=np.array([1, 3, 5, 7, 9, 11, 0, 2]),
        same=np.array([True, False] * 4),
        folds=np.repeat(np.arange(4), 2),
    )
    part = study_bench._cut(whole, StudyBench(pairs=(3, 6)))
    assert len(part.images) == 8
    assert part.folds.tolist() == [1, 1, 2, 2]
    for i, pair in enumerate(range(2, 6)):
        assert part.images[part.left[i]][0, 0, 0] == whole.left[pair]
        assert part.images[part.right[i]][0, 0, 0] == whole.right[pair]
        assert part.same[i] == whole.same[pair]


@pytest.mark.parametrize("count", [1, 8, 13, 6000])
def test_packed_decisions_come_back(count):
    bits = np.random.default_rng(count).random(count) < 0.5
    text = pack(bits)
    assert (unpack(text) == bits).all()
    assert len(text) < count / 6 + 12
    with pytest.raises(ValueError, match=r"bits for|padd"):
        unpack(text[:-4])


def test_a_study_knows_its_places(tmp_path):
    study, rest = load_study(write_study(tmp_path), ["study.seeds=[5]", "data.holdout=3"])
    assert (study.seeds, rest) == ((5,), ["data.holdout=3"])
    assert study.results_path == tmp_path / "grid.csv"
    assert study.against == "alone"
    assert DATA["workers"] == 0
    assert torch.get_num_threads() == 1
