"""Losses that remember past batches: a stage that stops goes on to the same bits."""

import os
import signal

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import recipe, rows, same_weights

from facekd.train import stages
from facekd.train.checkpoints import Checkpoints
from facekd.train.loop import Interrupted
from facekd.train.stages import run_recipe

LOSS = [
    {"preset": "crd", "scale": 16.0, "negatives": 9},
    {"term": "crd", "name": "crd_queue", "memory": "queue", "negatives": 13, "width": 16},
    {"preset": "qud", "queue": 11},
    {"term": "ekd", "momentum": 0.3},
    {"term": "triplet", "distance": "angle"},
]
STAGES = {
    "teacher": {"model": {"backbone": "tiny", "embedding_dim": 12, "input_size": 32}},
    "student": {
        "teacher": "teacher",
        "loss": LOSS,
        "balance": {"images_per_identity": 2},
        "schedule": {"epochs": 4},
    },
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run_recipe(recipe(folder, STAGES))
    return folder


@pytest.mark.parametrize("step", [0, 4])
def test_banks_queues_thresholds_and_draws_go_on_alike(undisturbed, tmp_path, monkeypatch, step):
    made = recipe(tmp_path, STAGES)
    real = stages.train

    def train(run, around, log):
        if around.plan.name == "student":
            forward = run.objective.forward

            def stop(*arguments, **named):
                if run.step == step:
                    os.kill(os.getpid(), signal.SIGINT)
                return forward(*arguments, **named)

            run.objective.forward = stop
        real(run, around, log)

    with monkeypatch.context() as patch:
        patch.setattr(stages, "train", train)
        with pytest.raises(Interrupted):
            run_recipe(made)
    state = load_file(Checkpoints(tmp_path / "run/student", 2).find() / "rank0.safetensors")
    memories = [name for name in state if name.startswith("objective.terms.")]
    assert {"objective.terms.crd.bank.teacher", "objective.terms.qud.queue.oldest"} < set(memories)
    assert state["objective.terms.crd.fixed"].dtype == torch.bool
    run_recipe(made)
    assert same_weights(tmp_path / "run/student.pt", undisturbed / "run/student.pt")
    found, whole = (rows(f / "run/student/metrics.csv") for f in (tmp_path, undisturbed))
    assert found == whole
    assert {"crd", "crd_queue", "qud", "ekd", "triplet"} <= found[0].keys()
