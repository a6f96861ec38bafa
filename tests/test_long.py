"""What takes minutes (`make test-long`): real faces, claims about synthetic ones."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from facekd.cli.eval import main as evaluate
from facekd.cli.train import main as train

pytestmark = pytest.mark.long


def test_synthetic_teacher_beats_the_student_alone(tmp_path):
    """Three seeds, 20,000 pairs, the same images: the lower 95 % bound is above zero."""
    differences = []
    for seed in range(3):
        run = tmp_path / str(seed)
        stages = ["--stage", "teacher", "--stage", "alone"]
        assert train(["quickstart", *stages, f"output={run}", f"seed={seed}"]) == 0
        models = ["--model", f"{run}/alone.pt", "--model", f"{run}/teacher.pt"]
        assert evaluate(["--bench", "synthetic", *models, "--out", f"{run}/eval"]) == 0
        (bench,) = json.loads((run / "eval/results.json").read_text())["benches"]
        alone, teacher = (model["accuracy"]["mean"] for model in bench["models"])
        differences.append(teacher - alone)
        print(f"seed {seed}: alone {alone:.4f}, teacher {teacher:.4f}")
    low = np.mean(differences) + stats.t.ppf(0.025, 2) * stats.sem(differences)
    print(f"teacher minus alone: {np.mean(differences):.4f}, lower 95 % bound {low:.4f}")
    assert low > 0


@pytest.mark.data
def test_real_faces(data_dir, tmp_path, monkeypatch):
    """Two epochs of L2E on real faces lifts people never seen well above chance."""
    monkeypatch.setenv("FACEKD_DATA", str(data_dir))
    settings = [f"output={tmp_path}", f"cache.dir={tmp_path}/cache", "common.schedule.epochs=2"]
    settings += ["common.validation.every=2", "common.schedule.warmup_epochs=0.2"]
    assert train(["real_small", "--stage", "l2e", *settings]) == 0
    with (tmp_path / "l2e/validation.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["accuracy"]) > 0.65
