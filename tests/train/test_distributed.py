"""Training in several processes, started by torchrun as a user starts it."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from tiny_runs import rows, same_weights, weights, write_recipe
from torchrun import TRAIN, children, finish, start_together

from facekd.data.augment import Augment
from facekd.data.batches import Batches
from facekd.data.slices import Slices
from facekd.errors import FacekdError
from facekd.recipe_file import load_recipe
from facekd.train.distributed import check_batch
from facekd.train.plan import plan_recipe
from facekd.train.stages import run_recipe

SMALL = {"backbone": "mobilefacenet", "embedding_dim": 8, "input_size": 32, "args": {"width": 0.25}}
COMMON = {"model": SMALL, "freeze_bn": True, "optimizer": {"lr": 0.01}}
STAGES = {
    "teacher": {"schedule": {"epochs": 1}},
    "student": {
        "teacher": "teacher",
        "loss": {"preset": "th_kd", "scale": 16.0},
        "schedule": {"epochs": 2},
        "ema": 0.5,
    },
}


def write(folder, **common):
    """Without a cache: its half precision makes much of a teacher's last digits."""
    return write_recipe(folder, STAGES, common=COMMON | common, cache="never")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same recipe on 1, 2 and 4 processes, two of them in two passes a step."""
    folder = tmp_path_factory.mktemp("runs")
    started = [
        start_together(2, *TRAIN, write(folder / "two")),
        start_together(4, *TRAIN, write(folder / "four")),
    ]
    run_recipe(load_recipe(str(write(folder / "one"))))
    run_recipe(load_recipe(str(write(folder / "passes", accumulate=4))))
    told = [finish(process) for process in started]
    return folder, told


@pytest.mark.parametrize("name", ["two", "four", "passes"])
def test_the_same_batch_gives_the_same_losses_however_it_is_shared(runs, name):
    """Batch norm is frozen: it would see other images otherwise."""
    folder, _ = runs
    for stage in STAGES:
        (one,), (other,) = (
            rows(folder / run / "run" / stage / "metrics.csv") for run in ("one", name)
        )
        assert one.keys() == other.keys()
        for key in one:
            near = 1e-4 if key == "grad_norm" else 1e-5
            assert float(other[key]) == pytest.approx(float(one[key]), rel=near), key
        ours, theirs = (weights(folder / run / f"run/{stage}.pt") for run in ("one", name))
        for key, tensor in ours.items():
            assert torch.allclose(tensor, theirs[key], rtol=1e-4, atol=1e-5), key


def test_only_the_first_process_tells(runs):
    folder, told = runs
    for (out, err), world in zip(told, (2, 4), strict=True):
        assert out.count("stage 'student' is finished after") == 1
        assert f"fp32 on cpu, {world} processes" in out
        assert "Traceback" not in err
    summary = json.loads((folder / "four/run/student/summary.json").read_text())
    assert summary["machine"]["processes"] == 4
    assert summary["images_seen"] == 48
    assert set(summary["machine"]["step_ms"]) == {"data", "forward", "backward", "step"}
    status = json.loads((folder / "four/run/student/status.json").read_text())
    assert (status["status"], status["step"]) == ("finished", 6)


def wait_for(condition, process):
    deadline = time.monotonic() + 200
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def notes_sigterm(pid):
    """Whether a process has begun to train, and so handles the signal."""
    lines = dict(s.split(":", 1) for s in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(lines["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


def test_a_signal_to_one_process_stops_all_at_one_step_and_the_same_command_goes_on(runs, tmp_path):
    path, status = write(tmp_path), tmp_path / "run/student/status.json"
    process = start_together(2, *TRAIN, path)
    wait_for(status.exists, process)
    first = json.loads(status.read_text())["pid"]
    (other,) = set(children(process.pid)) - {first}
    wait_for(lambda: notes_sigterm(other), process)
    os.kill(other, signal.SIGTERM)
    out, err = finish(process, code=1)  # torchrun's own, whatever its processes' was
    assert "exitcode  : 143" in err
    assert "exitcode  : 1 " not in err
    found = json.loads(status.read_text())
    assert (found["status"], found["signal"]) == ("interrupted", "SIGTERM")
    assert out.count(f"stopped at step {found['step']} of 6, and its state is saved") == 1
    out, _ = finish(start_together(2, *TRAIN, path))
    assert "stage 'teacher' is finished: " in out
    assert found["step"] == 0 or f"goes on at step {found['step']} of 6" in out
    assert same_weights(tmp_path / "run/student.pt", runs[0] / "two/run/student.pt")


def test_a_process_that_is_killed_ends_the_others_with_a_sentence(tmp_path):
    path = write_recipe(tmp_path, {"s": {"schedule": {"epochs": 300}}}, common=COMMON)
    status = tmp_path / "run/s/status.json"
    process = start_together(2, *TRAIN, path)
    wait_for(status.exists, process)
    first = json.loads(status.read_text())["pid"]
    (other,) = set(children(process.pid)) - {first}
    os.kill(other, signal.SIGKILL)
    _, err = finish(process, code=1)
    told = "error: one of the 2 processes ended, so the others stopped; what it printed says why."
    assert told in err
    assert "exitcode  : 2 " in err
    found = json.loads(status.read_text())
    assert found["status"] == "failed"
    assert found["reason"] in err


SCRIPT = """
import sys
import torch
from facekd import ranks
from facekd.cli.train import main
from facekd.distill.term import TERMS, Term


class Planted(Term):
    "Not finite in the second process at the third step; zero otherwise."

    seen = 0

    def forward(self, step):
        self.seen += 1
        bad = ranks.rank() == 1 and self.seen == 3
        return step.embeddings.sum() * (float("nan") if bad else 0.0)


TERMS.register("planted")(Planted)
sys.exit(main(sys.argv[1:]))
"""


def test_all_processes_leave_out_a_step_that_is_not_finite_in_one(tmp_path):
    loss = [{"term": "margin", "scale": 16.0}, {"term": "planted"}]
    path = write_recipe(tmp_path, {"s": {"loss": loss}}, common=COMMON)
    (tmp_path / "script.py").write_text(SCRIPT)
    finish(start_together(2, tmp_path / "script.py", path))
    (row,) = rows(tmp_path / "run/s/metrics.csv")
    assert (row["step"], float(row["skipped_steps"])) == ("6", 1)
    listed = rows(tmp_path / "run/s/nonfinite.csv")
    assert [(r["step"], r["process"]) for r in listed] == [("2", "0")] * 4 + [("2", "1")] * 4
    plan = plan_recipe(load_recipe(str(path), ["stages.s.loss=arcface"]))[0]
    third = next(iter(Batches(24, 8, plan.seed, plan.augment, 2, 3)))
    assert [int(r["position"]) for r in listed] == [position for position, _ in third]
    assert all(torch.isfinite(v).all() for v in weights(tmp_path / "run/s.pt").values())


def test_slices_are_the_parts_of_every_step_in_order():
    batches = Batches(20, 6, 1, Augment(), 1, 5)
    parts = [list(Slices(batches, rank, 3)) for rank in range(3)]
    assert [a + b + c for a, b, c in zip(*parts, strict=True)] == list(batches)
    assert {len(views) for views in parts[2]} == {2}


@pytest.mark.parametrize(
    ("world", "settings", "told"),
    [
        ("3", {}, r"3 processes x accumulate 1 = 3 parts do not divide"),
        ("2", {"accumulate": 3}, r"2 processes x accumulate 3 = 6 parts do not divide"),
        ("4", {"accumulate": 2}, r"leaves one image for a batch norm; .*freeze_bn"),
        ("4", {"accumulate": 2, "freeze_bn": True}, None),
        ("1", {"sync_bn": True}, r"sync_bn is torch's SyncBatchNorm, .*CUDA devices only"),
    ],
)
def test_what_cannot_be_shared_is_told_before_the_start(
    tmp_path, monkeypatch, world, settings, told
):
    monkeypatch.setenv("WORLD_SIZE", world)
    path = write_recipe(tmp_path, {"s": settings})
    if told is None:
        check_batch(load_recipe(str(path)).stages["s"])
        return
    with pytest.raises(FacekdError, match=told):
        plan_recipe(load_recipe(str(path)))


def test_frozen_and_synchronised_batch_norm_exclude_each_other(tmp_path):
    path = write_recipe(tmp_path, {"s": {"freeze_bn": True, "sync_bn": True}})
    with pytest.raises(FacekdError, match="freeze_bn uses no batch's statistics"):
        load_recipe(str(path))
