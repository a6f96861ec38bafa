"""Settings that change while a stage trains: refused by name, or let through by name."""

import json
import signal

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import recipe, write_recipe

from facekd.cli.train import main
from facekd.errors import FacekdError
from facekd.train import loop
from facekd.train.checkpoints import Checkpoints
from facekd.train.loop import Interrupted
from facekd.train.stages import run_recipe

STAGES = {"student": {"schedule": {"epochs": 4}}}  # 12 steps


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A run folder whose stage stopped after four steps."""
    real = loop._forward

    def forward(run, *others):
        if run.step == 3:
            signal.raise_signal(signal.SIGTERM)
        return real(run, *others)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_forward", forward)
        with pytest.raises(Interrupted):
            run_recipe(recipe(tmp_path, STAGES))
    return tmp_path


def test_every_difference_is_listed_with_what_would_let_it_through(begun, capsys):
    path = write_recipe(begun, STAGES, seed=3, common={"batch_size": 4, "optimizer": {"lr": 0.1}})
    assert main([str(path)]) == 2
    told = capsys.readouterr().err
    for change in ("batch_size was 8, is now 4", "optimizer.lr was 0.05, is now 0.1", "seed was 0"):
        assert change in told
    flags = "--allow-changed batch_size --allow-changed optimizer.lr --allow-changed seed"
    assert f"({flags})" in told
    flags = flags.replace(" --allow-changed seed", "").split()
    assert main([str(path), *flags]) == 2
    told = capsys.readouterr().err
    assert "seed was 0" in told
    assert "batch_size was" not in told


def test_an_allowed_change_is_made_and_told_for_ever(begun, capsys, monkeypatch):
    path = write_recipe(begun, STAGES, common={"optimizer": {"lr": 0.1}})
    change = "optimizer.lr was 0.05, is now 0.1"
    assert main([str(path), "--check", "--allow-changed", "optimizer.lr"]) == 0
    rates = []
    take_step = loop.take_step

    def watched(run, around, batch):
        if run.step == 6:
            signal.raise_signal(signal.SIGTERM)
        rates.append(run.optimizer.param_groups[0]["lr"])
        return take_step(run, around, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", watched)
        assert main([str(path), "--allow-changed", "optimizer.lr"]) == 143
    assert rates[0] == pytest.approx(0.1 * (1 - 4 / 12))
    assert change in capsys.readouterr().out
    values = Checkpoints(begun / "run/student", 2).values()
    assert values["settings"]["optimizer"]["lr"] == 0.1
    assert values["allowed"] == [f"{change}, from step 4"]
    assert main([str(path)]) == 0  # it is the run's own setting now
    summary = json.loads((begun / "run/student/summary.json").read_text())
    assert summary["allowed_changes"] == [f"{change}, from step 4"]


def test_a_group_may_be_named_and_a_new_precision_counts(begun, capsys):
    common = {"optimizer": {"lr": 0.01, "momentum": 0.5}, "precision": "bf16"}
    made = recipe(begun, STAGES, common=common)
    with pytest.raises(FacekdError, match=r"precision was 'fp32', is now 'bf16'\. "):
        run_recipe(made, allow_changed=["optimizer"])
    run_recipe(made, allow_changed=["optimizer", "precision"])
    assert "bf16 on cpu" in capsys.readouterr().out


def test_what_does_not_fit_is_refused_although_allowed(begun):
    before = {p: p.read_bytes() for p in (begun / "run/student").rglob("*.safetensors")}
    other = recipe(begun, STAGES, common={"optimizer": {"name": "adamw", "lr": 0.05}})
    with pytest.raises(FacekdError, match="is of SGD, not AdamW"):
        run_recipe(other, allow_changed=["optimizer.name"])
    model = {"backbone": "tiny", "embedding_dim": 6, "input_size": 32}
    with pytest.raises(FacekdError, match="does not fit this stage"):
        run_recipe(recipe(begun, STAGES, common={"model": model}), allow_changed=["model"])
    assert {p: p.read_bytes() for p in before} == before


def test_a_key_that_is_none_is_told(begun, capsys):
    path = write_recipe(begun, STAGES)
    assert main([str(path), "--allow-changed", "optimizer.rate"]) == 2
    assert "--allow-changed optimizer.rate: there is no such setting" in capsys.readouterr().err
    assert main([str(path), "--allow-changed", "optimiser.lr"]) == 2
    assert "did you mean 'optimizer.lr'" in capsys.readouterr().err


def test_a_finished_stage_stays_as_it_is(tmp_path, capsys):
    stages = {"student": {}}
    run_recipe(recipe(tmp_path, stages))
    head = load_file(tmp_path / "run/student.head.safetensors")
    other = recipe(tmp_path, stages, common={"optimizer": {"lr": 0.1}})
    run_recipe(other, allow_changed=["optimizer.lr"])
    assert "is now 0.1, and it stays" in capsys.readouterr().out
    now = load_file(tmp_path / "run/student.head.safetensors")
    assert torch.equal(head["weight"], now["weight"])
    summary = json.loads((tmp_path / "run/student/summary.json").read_text())
    assert summary["settings"]["optimizer"]["lr"] == 0.05
