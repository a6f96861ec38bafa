"""What a stage may set about its steps: accumulation, frozen batch norm, EMA, bits, compiling."""

import json
import os
from functools import partial

import pytest
import torch
from tiny_runs import recipe, rows, same_weights, tiny, weights
from torch import nn

from facekd.backbones import BACKBONES
from facekd.train import loop, stages
from facekd.train.ema import start_mean, update_mean, with_mean
from facekd.train.log import append_rows
from facekd.train.stages import run_recipe
from facekd.train.step_module import set_training

SMALL = {"backbone": "mobilefacenet", "embedding_dim": 8, "input_size": 32, "args": {"width": 0.25}}
SHORT = {"schedule": {"epochs": 1}}


def test_passes_that_are_accumulated_are_one_batch(tmp_path):
    common = {"model": SMALL, "freeze_bn": True}
    made = {"one": SHORT, "four": SHORT | {"accumulate": 4}}
    run_recipe(recipe(tmp_path, made, common=common))
    one, four = (rows(tmp_path / "run" / name / "metrics.csv")[0] for name in made)
    assert float(one["loss"]) == pytest.approx(float(four["loss"]), rel=1e-5)
    ours, theirs = (weights(tmp_path / f"run/{name}.pt") for name in made)
    for key, tensor in ours.items():
        assert torch.allclose(tensor, theirs[key], rtol=1e-4, atol=1e-5), key


def test_frozen_batch_norm_keeps_its_statistics_and_learns_its_affine_part(tmp_path):
    run_recipe(recipe(tmp_path, {"a": SHORT, "b": SHORT | {"start_from": "a", "freeze_bn": True}}))
    before, after = (weights(tmp_path / f"run/{name}.pt") for name in "ab")
    for key, tensor in before.items():
        kept = "running" in key or "tracked" in key
        assert torch.equal(tensor, after[key]) is kept, key


def test_frozen_batch_norm_is_the_only_part_in_evaluation():
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm1d(3)))
    set_training(network, nn.Linear(2, 2).eval(), freeze_bn=True)
    assert [m.training for m in network.modules()] == [True, True, False, True, False]


def test_ema_of_a_run_is_that_of_a_slow_loop(tmp_path, monkeypatch):
    seen, real = [], loop.update_mean

    def update(mean, network, decay, updates):
        real(mean, network, decay, updates)
        seen.append({k: v.double() for k, v in network.state_dict().items()})

    monkeypatch.setattr(loop, "update_mean", update)
    first, start = {}, loop.train

    def train(run, around, log):
        first.update({k: v.double() for k, v in run.model.state_dict().items()})
        start(run, around, log)

    monkeypatch.setattr(stages, "train", train)
    run_recipe(recipe(tmp_path, {"s": {"ema": 0.3}}))
    assert len(seen) == 6
    saved = weights(tmp_path / "run/s.pt")
    assert not torch.allclose(saved["0.weight"].double(), seen[-1]["backbone.0.weight"])
    for key, tensor in saved.items():
        mean = first[f"backbone.{key}"].flatten().tolist()
        for t, state in enumerate(seen):
            d = min(0.3, (1 + t) / (10 + t))
            now = state[f"backbone.{key}"].flatten().tolist()
            if not tensor.is_floating_point():
                mean = now
            else:
                mean = [d * m + (1 - d) * w for m, w in zip(mean, now, strict=True)]
        assert tensor.flatten().tolist() == pytest.approx(mean, rel=1e-5, abs=1e-6), key


def test_a_copy_carries_the_mean_and_the_network_stays():
    network = nn.Linear(2, 2)
    mean = start_mean(network)
    before = network.weight.detach().clone()
    with torch.no_grad():
        network.weight += 1
    update_mean(mean, network, 0.5, 1000)
    assert torch.allclose(with_mean(network, mean).weight, before + 0.5)
    assert torch.equal(network.weight, before + 1)
    assert with_mean(network, None) is network


def test_deterministic_runs_are_equal_and_leave_torch_as_it_was(tmp_path):
    made = {"a": SHORT | {"deterministic": True}, "b": SHORT | {"deterministic": True}}
    run_recipe(recipe(tmp_path, made))
    assert same_weights(tmp_path / "run/a.pt", tmp_path / "run/b.pt")
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_network_that_cannot_be_compiled_trains_as_it_is(tmp_path, monkeypatch, capsys):
    def backend(graph, inputs):
        raise OSError("no compiler here")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    made = {"plain": SHORT, "failing": SHORT | {"compile": "on"}}
    run_recipe(recipe(tmp_path, made))
    told = capsys.readouterr().out
    assert "stage 'failing': compile: off, because torch.compile failed here (" in told
    assert "no compiler here)" in told
    assert same_weights(tmp_path / "run/plain.pt", tmp_path / "run/failing.pt")


def without_dropout(embedding_dim: int, input_size: int):
    """A compiled network draws other random numbers."""
    return nn.Sequential(*(m for m in tiny(embedding_dim, input_size) if type(m) is not nn.Dropout))


@pytest.mark.long
@pytest.mark.parametrize("wanted", ["on", "auto"])
def test_a_compiled_network_trains_alike_and_its_gain_is_told(
    tmp_path, monkeypatch, capsys, wanted
):
    monkeypatch.setitem(BACKBONES._entries, "plain", without_dropout)
    common = {"model": {"backbone": "plain", "embedding_dim": 8, "input_size": 32}}
    run_recipe(recipe(tmp_path, {"a": SHORT, "b": SHORT | {"compile": wanted}}, common=common))
    told = capsys.readouterr().out
    assert "img/s as it is, " in told
    assert "img/s compiled" in told
    ours, theirs = (weights(tmp_path / f"run/{name}.pt") for name in "ab")
    for key, tensor in ours.items():
        assert torch.allclose(tensor, theirs[key], rtol=1e-3, atol=1e-4), key


def test_the_log_in_lines_says_what_the_tables_say(tmp_path):
    held = {"synthetic": {"identities": 24, "images_per_identity": 6}, "holdout": 20}
    look = {"validation": {"benches": ["holdout"], "pairs": 20}}
    run_recipe(recipe(tmp_path, {"a": look}, data=held))
    lines = [json.loads(s) for s in (tmp_path / "run/a/log.jsonl").read_text().splitlines()]
    assert [(e["what"], e["step"]) for e in lines] == [
        ("validation", 3),
        ("training", 6),
        ("validation", 6),
    ]
    (row,) = rows(tmp_path / "run/a/metrics.csv")
    assert {key: float(value) for key, value in row.items()}.items() <= lines[1].items()
    assert min(lines[1][f"{part}_ms"] for part in ("data", "forward", "backward", "step")) > 0
    assert lines[1]["memory_mib"] > 1


def test_a_table_begun_with_other_columns_keeps_them(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,2.5\n")
    append_rows(path, [{"step": 2, "new": 1, "loss": 0.5}])
    assert path.read_text() == "step,loss\n1,2.5\n2,0.5\n"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_on_a_cuda_device(tmp_path, precision, optimizer):
    settings = {"device": "cuda", "precision": precision, "deterministic": precision == "fp32"}
    common = {"model": SMALL, "optimizer": {"name": optimizer, "lr": 0.01}, **settings}
    made = {"t": {}, "s": {"teacher": "t", "loss": "th_kd", "accumulate": 2, "ema": 0.9}}
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    run_recipe(recipe(tmp_path, made, common=common))
    for name in made:
        assert all(torch.isfinite(v).all() for v in weights(tmp_path / f"run/{name}.pt").values())
        (row,) = rows(tmp_path / "run" / name / "metrics.csv")
        assert float(row["skipped_steps"]) < 6
