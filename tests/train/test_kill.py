"""Proof by killing: a run that SIGKILL ends again and again ends with the bits of a calm one."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import recipe, rows, same_weights
from torchrun import RUN, TRAIN, children

from facekd.train.checkpoints import Checkpoints
from facekd.train.stages import run_recipe

STAGES = ("teacher", "student")
BATCH = 16
SETTINGS = [  # of the recipe `smoke`: a small network, a head that takes time to save, every step
    "data.synthetic.identities=420",
    "data.synthetic.images_per_identity=2",
    "data.workers=0",
    f"common.batch_size={BATCH}",
    "common.model.embedding_dim=256",
    "common.model.input_size=32",
    "stages.teacher.model.embedding_dim=256",
    "stages.teacher.model.input_size=32",
    "common.schedule.warmup_epochs=0.1",
    "common.validation.every=0.2",
    "common.validation.pairs=40",
    "common.checkpoint_minutes=0",
]


def family(pid):
    """A process and all below it, which torchrun puts into sessions of their own."""
    with suppress(FileNotFoundError):
        return [pid, *(p for child in children(pid) for p in family(child))]
    return []


def send(pids, signum):
    for pid in reversed(pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


def gone(pid):
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def checkpoints(folder, stage):
    return sorted((folder / stage / "checkpoints").glob("step-*"))


def saved(folder, totals):
    """Steps that are on the disk, of both stages together."""
    steps = 0
    for stage in STAGES:
        newest = checkpoints(folder, stage)[-1:]  # looked at before a finished stage clears them
        finished = (folder / f"{stage}.pt").exists()
        steps += totals[stage] if finished else sum(map(step_of, newest))
    return steps


def step_of(checkpoint):
    return int(checkpoint.name.removeprefix("step-"))


def begun(folder):
    """What the next sitting has to say: it goes on behind the newest checkpoint."""
    for stage in STAGES:
        newest = checkpoints(folder, stage)[-1:]
        if newest and not (folder / f"{stage}.pt").exists():
            return f"stage {stage!r} goes on at step {step_of(*newest)} of"
    return ""


def half_saved(folder):
    """Files of checkpoints that are being written."""
    return [path for stage in STAGES for path in folder.glob(f"{stage}/checkpoints/.new.part/*")]


class Run:
    """One run folder, worked on by sitting after sitting of the same command.

    Args:
        folder: Where it is.
        world: Processes of a sitting.
        epochs: Of each stage.
    """

    def __init__(self, folder, world, epochs):
        folder.mkdir()
        self.folder, self.told, self.sittings = folder / "run", folder / "told.txt", 0
        start = [sys.executable] if world == 1 else [*RUN, f"--nproc-per-node={world}"]
        settings = [f"output={self.folder}", f"common.schedule.epochs={epochs}", *SETTINGS]
        self.command = [*start, *TRAIN, "smoke", *settings]

    @contextmanager
    def sitting(self):
        """The command runs while the block does; afterwards nobody of it is left."""
        self.sittings += 1
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with self.told.open("w") as told:
            process = subprocess.Popen(
                self.command, stdout=told, stderr=subprocess.STDOUT, env=env, start_new_session=True
            )
        try:
            yield process
        finally:
            pids = family(process.pid)
            send(pids, signal.SIGKILL)
            process.wait()
            wait(lambda: all(map(gone, pids)))

    def finish(self):
        with self.sitting() as process:
            assert process.wait(timeout=300) == 0, self.told.read_text()

    def kill(self, target, totals, in_a_save, chance):
        """Start it, and kill it behind some step, at once or in the next save; how, in words."""
        with self.sitting() as process:

            def reached():
                assert process.poll() is None, f"it ended by itself: {self.told.read_text()}"
                return saved(self.folder, totals) >= target

            wait(reached)
            if in_a_save:
                wait(lambda: reached() and caught_saving(process.pid, self.folder, chance))
                return "within a save"
            time.sleep(chance.uniform(0, 2) * totals["seconds"])
            assert process.poll() is None, f"it ended by itself: {self.told.read_text()}"
            started = children(process.pid)
            if not started or chance.random() < 0.5:
                return "all of it"
            os.kill(chance.choice(started), signal.SIGKILL)  # torchrun's other processes stop
            assert process.wait(timeout=200) == 1
            return "one process"


def wait(condition):
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for minutes"
        time.sleep(0.001)


def caught_saving(pid, folder, chance):
    """Stop it in a save, so that it can be killed there; whether that came off."""
    if not half_saved(folder):
        return False
    time.sleep(chance.uniform(0, 0.01))
    pids = family(pid)
    send(pids, signal.SIGSTOP)
    if half_saved(folder):
        return True
    send(pids, signal.SIGCONT)
    return False


def check_what_is_left(folder, keep=2):
    """The newest checkpoints are whole, by their own checksums.

    An older one may have lost files already: it was being removed.
    """
    for stage in STAGES:
        for path in checkpoints(folder, stage)[-keep:]:
            manifest = json.loads((path / "manifest.json").read_text())
            assert f"step-{manifest['step']:08d}" == path.name
            for name, known in manifest["files"].items():
                data = (path / name).read_bytes()
                assert (len(data), hashlib.sha256(data).hexdigest()) == (
                    known["bytes"],
                    known["sha256"],
                )


@pytest.mark.parametrize(
    ("world", "kills", "epochs"),
    [
        (1, 2, 0.4),
        (2, 1, 0.4),
        pytest.param(1, 15, 2, marks=pytest.mark.long),
        pytest.param(2, 15, 2, marks=pytest.mark.long),
    ],
)
def test_killed_at_random_moments_a_run_ends_with_the_same_bits(tmp_path, world, kills, epochs):
    """Every second kill, the first one among them, falls into a save."""
    seed = int(os.environ.get("FACEKD_KILL_SEED", random.SystemRandom().randrange(2**32)))
    print(f"FACEKD_KILL_SEED={seed}")
    chance = random.Random(seed)
    calm, killed = (Run(tmp_path / name, world, epochs) for name in ("calm", "killed"))
    calm.finish()
    summaries = [json.loads((calm.folder / s / "summary.json").read_text()) for s in STAGES]
    totals = {summary["stage"]: summary["steps"] for summary in summaries}
    totals["seconds"] = BATCH / summaries[0]["images_per_second"]  # a step's, its save included
    steps = sum(totals[stage] for stage in STAGES)

    within_saves = 0
    for number, target in enumerate(sorted(chance.sample(range(steps // 2), kills))):
        before = saved(killed.folder, totals)
        goes_on = begun(killed.folder)
        how = killed.kill(max(target, before + 1), totals, number % 2 == 0, chance)
        after = saved(killed.folder, totals)
        print(f"kill {number + 1}: {how}, at step {after} of {steps}")
        assert after > before
        check_what_is_left(killed.folder)
        within_saves += bool(half_saved(killed.folder))
        if goes_on:
            assert goes_on in killed.told.read_text()
    killed.finish()

    assert killed.sittings == kills + 1
    assert within_saves >= (kills + 1) // 2
    for stage in STAGES:
        one, other = calm.folder / stage, killed.folder / stage
        assert same_weights(calm.folder / f"{stage}.pt", killed.folder / f"{stage}.pt")
        for name in ("metrics.csv", "validation.csv"):
            assert rows(one / name) == rows(other / name)
        heads = [load_file(run.folder / f"{stage}.head.safetensors") for run in (calm, killed)]
        assert torch.equal(*(head["weight"] for head in heads))
        assert not (other / "checkpoints").exists()
    assert {p.name for p in killed.folder.iterdir()} >= {p.name for p in calm.folder.iterdir()}


def test_the_next_start_sweeps_what_a_kill_left_half_written(tmp_path):
    """And nothing else: no other stage's, no user's, none in use."""
    made = recipe(tmp_path, {"student": {}})
    code = """
import os, signal, sys
from facekd.files import atomic_path
for path in sys.argv[1:]:
    with_ = atomic_path(path).__enter__()
    with_.write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = tmp_path / "run"
    ours = [run / "student.pt", run / "student.head.safetensors", run / "student/metrics.csv"]
    others = [run / "student2.pt", run / "mine/status.json"]
    assert subprocess.run([sys.executable, "-c", code, *ours, *others]).returncode == -9
    (run / "student/.of_the_user").write_text("kept")
    halves = [path for path in run.rglob(".*") if path.read_text() == "half"]
    assert len(halves) == 5
    run_recipe(made)
    left = [path for path in halves if path.exists()]
    assert sorted(path.name[:-9] for path in left) == [".status.json", ".student2.pt"]
    assert (run / "student/.of_the_user").exists()


class KilledError(Exception):
    pass


def test_a_kill_between_results_and_tidying_leaves_no_checkpoints_for_good(tmp_path, monkeypatch):
    made = recipe(tmp_path, {"student": {}})

    def killed(_checkpoints):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "clear", killed)
        with pytest.raises(KilledError):
            run_recipe(made)
    assert checkpoints(tmp_path / "run", "student")
    run_recipe(made)
    assert not checkpoints(tmp_path / "run", "student")
    assert (tmp_path / "run/student.pt").is_file()
