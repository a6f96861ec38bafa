"""What takes minutes (`make test-long`): many kills, real faces, claims about synthetic ones."""

import csv
import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy import stats
from tiny_runs import rows, same_weights

from facekd.cli.eval import main as evaluate
from facekd.cli.train import main as train

pytestmark = pytest.mark.long

RECIPE = """
data: {source: synthetic, synthetic: {identities: 30, images_per_identity: 10}}
common:
  model: {backbone: mobilefacenet, embedding_dim: 16, input_size: 32, args: {width: 0.25}}
  batch_size: 16
  schedule: {epochs: 6, warmup_epochs: 1, decay: cosine}
  precision: fp32
  checkpoint_minutes: 0
stages:
  teacher: {}
  student: {teacher: teacher, loss: th_kd}
"""


def test_many_kills(tmp_path):
    """Killed ten times at random moments, saves included, a run ends with the very same bits."""
    recipe = tmp_path / "kills.yaml"
    recipe.write_text(RECIPE)
    command = [sys.executable, "-m", "facekd.cli.train", str(recipe), f"output={tmp_path}/killed"]
    chance = random.Random(0)
    kills = 0
    while kills < 10:
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(6, 14))
        if run.poll() is not None:
            break
        run.send_signal(signal.SIGKILL)
        run.wait()
        kills += 1
    assert kills >= 3
    assert subprocess.run(command, check=False).returncode == 0
    assert train([str(recipe), f"output={tmp_path}/calm"]) == 0
    for stage in ("teacher", "student"):
        calm, killed = tmp_path / "calm", tmp_path / "killed"
        assert same_weights(calm / f"{stage}.pt", killed / f"{stage}.pt")
        assert rows(calm / stage / "metrics.csv") == rows(killed / stage / "metrics.csv")


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
