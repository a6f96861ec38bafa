"""A recipe with `partial_fc`, by the command and in one process: results, resume, refusals."""

import os
import signal

import pytest
import torch
from tiny_runs import recipe, rows, same_weights, weights, write_recipe
from torchrun import TRAIN, finish, start_together

from facekd.cli.train import main
from facekd.errors import FacekdError
from facekd.heads import load_head
from facekd.recipe_file import load_recipe
from facekd.train import stages
from facekd.train.loop import Interrupted
from facekd.train.plan import plan_recipe
from facekd.train.stages import run_recipe

SMALL = {"backbone": "mobilefacenet", "embedding_dim": 8, "input_size": 32, "args": {"width": 0.25}}
COMMON = {"model": SMALL, "freeze_bn": True, "optimizer": {"lr": 0.05, "clip_norm": 0.5}}
DATA = {"synthetic": {"identities": 7, "images_per_identity": 5}}
STAGES = {
    "teacher": {"loss": {"preset": "curricularface", "scale": 16.0}},
    "student": {
        "teacher": "teacher",
        "loss": {"preset": "th_kd", "scale": 16.0, "margin": "adaface"},
        "accumulate": 2,
    },
    "shared": {"head": {"source": "student", "frozen": False}},
    "frozen": {"head": {"source": "student"}},
}


def write(folder, cache="auto", **common):
    return write_recipe(folder, STAGES, data=DATA, common=COMMON | common, cache=cache)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One recipe: whole heads in one process; spread over two, all classes or a sample a step.

    Those that are compared have no cache: its half precision makes much of a teacher's last digits.
    """
    folder = tmp_path_factory.mktemp("runs")
    started = [
        start_together(2, *TRAIN, write(folder / "two", "never", partial_fc={})),
        start_together(2, *TRAIN, write(folder / "sampled", partial_fc=0.5)),
    ]
    run_recipe(load_recipe(str(write(folder / "one", "never"))))
    for process in started:
        finish(process)
    return folder


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_with_spread_heads_train_as_one_with_whole_heads(runs, stage):
    (one,), (two,) = (rows(runs / run / "run" / stage / "metrics.csv") for run in ("one", "two"))
    assert one.keys() == two.keys()
    for key in one:
        near = 1e-4 if key == "grad_norm" else 1e-5
        assert float(two[key]) == pytest.approx(float(one[key]), rel=near), key
    ours, theirs = (weights(runs / run / f"run/{stage}.pt") for run in ("one", "two"))
    for key, tensor in ours.items():
        assert torch.allclose(tensor, theirs[key], rtol=1e-4, atol=1e-5), key
    heads = [load_head(runs / run / f"run/{stage}.head.safetensors") for run in ("one", "two")]
    assert heads[0][1] == heads[1][1]
    assert torch.allclose(heads[0][0].weight, heads[1][0].weight, rtol=1e-4, atol=1e-6)


def test_a_sample_of_the_classes_trains_too_and_a_frozen_head_stays(runs):
    source, _ = load_head(runs / "sampled/run/student.head.safetensors")
    frozen, _ = load_head(runs / "sampled/run/frozen.head.safetensors")
    trained, _ = load_head(runs / "sampled/run/shared.head.safetensors")
    assert torch.equal(source.weight, frozen.weight)
    assert source.weight.shape == (7, 8)
    assert not torch.isclose(source.weight, trained.weight).all(dim=1).any()
    (two,), (half,) = (rows(runs / r / "run/teacher/metrics.csv") for r in ("two", "sampled"))
    assert float(half["loss"]) < float(two["loss"])  # fewer wrong classes in the softmax


def test_a_sampled_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    """Momentum of rows that were not drawn, and the generator that draws them, are kept."""
    made = {"s": {"partial_fc": {"sample_rate": 0.4}, "schedule": {"epochs": 3}}}
    whole, cut = (recipe(tmp_path / name, made, data=DATA) for name in ("whole", "cut"))
    run_recipe(whole)
    real = stages.train

    def train(run, around, log):
        choose = run.objective.student_head.choose

        def stop(labels):
            if run.step == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return choose(labels)

        run.objective.student_head.choose = stop
        real(run, around, log)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "train", train)
        with pytest.raises(Interrupted):
            run_recipe(cut)
    run_recipe(cut)
    assert same_weights(tmp_path / "whole/run/s.pt", tmp_path / "cut/run/s.pt")
    one, two = (load_head(tmp_path / n / "run/s.head.safetensors")[0] for n in ("whole", "cut"))
    assert torch.equal(one.weight, two.weight)


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ({"loss": {"term": "sp"}, "teacher": "teacher"}, "its loss reads no head"),
        ({"head": {"centres": 3}}, "head.centres is 3"),
    ],
)
def test_what_cannot_be_spread_is_told_before_anything_trains(tmp_path, stage, sentence):
    made = recipe(tmp_path, {"teacher": {}, "s": {"partial_fc": {}} | stage})
    with pytest.raises(FacekdError, match=sentence):
        plan_recipe(made)


def test_fewer_people_than_processes_and_a_rate_of_zero_are_told(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setenv("WORLD_SIZE", "5")
        made = recipe(tmp_path, {"s": {"partial_fc": {}, "batch_size": 10}})
        with pytest.raises(FacekdError, match="4 identities are too few for 5 processes"):
            plan_recipe(made)
    path = write_recipe(tmp_path / "zero", {"s": {"partial_fc": 0}})
    assert main([str(path), "--check"]) == 2
    assert "sample_rate" in capsys.readouterr().err
    path = write_recipe(tmp_path / "tenth", {"s": {"partial_fc": 0.1}})
    assert main([str(path), "--check"]) == 0
    assert "spread over the processes, 0.1 of them in a step" in capsys.readouterr().out
