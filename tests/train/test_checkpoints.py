"""What lies in a run folder while a stage trains: whole, checked, without pickle."""

import hashlib
import json
import os
import pickle
import pickletools
import random
import resource
import shutil
import signal
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_runs import recipe, rows, same_weights, weights

from facekd.errors import FacekdError
from facekd.train import loop, validate
from facekd.train.build import build_training
from facekd.train.checkpoint import load_checkpoint
from facekd.train.checkpoints import Checkpoints
from facekd.train.plan import plan_recipe
from facekd.train.results import refuse_changes
from facekd.train.stages import run_recipe
from facekd.train.tensor_file import write_tensors

CPU = torch.device("cpu")
FIXTURES = Path(__file__).parents[1] / "fixtures"
STUDENT = {"student": {"schedule": {"epochs": 4}}}  # 12 steps, a save every 3
SMALL = {"model": {"backbone": "tiny", "embedding_dim": 4, "input_size": 16}}


class CrashError(Exception):
    pass


@pytest.fixture
def stop_at(monkeypatch):
    """Runs a recipe until a step begins, which a crash then ends."""

    def stop(made, step):
        real = loop._forward

        def forward(run, *others):
            if run.step == step:
                raise CrashError
            return real(run, *others)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "_forward", forward)
            with pytest.raises(CrashError):
                run_recipe(made)

    return stop


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run_recipe(recipe(folder, STUDENT))
    return folder


def training(folder, step, seed=0):
    """A training of known numbers: every tensor drawn anew, one optimizer step done."""
    (plan,) = plan_recipe(recipe(folder, {"student": {}}, common=SMALL, seed=seed))
    run = build_training(plan, CPU, None, None, None)
    for parameter in run.parameters.values():
        parameter.grad = torch.randn_like(parameter)
    run.optimizer.step()
    run.step = step
    return run


def names(folder):
    return sorted(p.name for p in (folder / "checkpoints").iterdir())


def same(one, two):
    states = [(r.model.state_dict(), r.objective.state_dict()) for r in (one, two)]
    assert all(torch.equal(a[k], b[k]) for a, b in zip(*states, strict=True) for k in a)
    for name, parameter in one.parameters.items():
        other = two.optimizer.state[two.parameters[name]]
        assert one.optimizer.state[parameter].keys() == other.keys()
        for key, value in one.optimizer.state[parameter].items():
            assert torch.equal(value, other[key])


@contextmanager
def no_file_above(size):
    """The system refuses to write a file beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_file_is_safetensors_of_any_type_and_stride(tmp_path):
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(3, 8, 5, 7, generator=generator)
    tensors = {
        "flags": torch.tensor([True, False, True]),
        "bytes": torch.arange(7, dtype=torch.uint8),
        "half": wide[0].half(),
        "brain": wide[1].bfloat16(),
        "last": wide.contiguous(memory_format=torch.channels_last),
        "turned": wide[0, 0].T,
        "count": torch.tensor(9),
        "double": wide.double(),
        "none": torch.empty(0, 4),
        "largest": torch.arange(5_000_000),
    }
    size, digest = write_tensors(tmp_path / "x", tensors, {"what": "ä"})
    content = (tmp_path / "x").read_bytes()
    assert (size, digest) == (len(content), hashlib.sha256(content).hexdigest())
    found = load_file(tmp_path / "x")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    with safe_open(tmp_path / "x", framework="pt") as file:
        assert file.metadata() == {"what": "ä"}


def test_every_random_generator_goes_on(tmp_path):
    run = training(tmp_path, 1)
    random.gauss(0, 1), np.random.normal()  # each keeps a second number for later
    kept = Checkpoints(tmp_path, 2)
    kept.save(run, {})
    drawn = [random.gauss(0, 1), np.random.normal(), torch.rand(()).item(), random.random()]
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    kept.load(kept.find(), run)
    again = [random.gauss(0, 1), np.random.normal(), torch.rand(()).item(), random.random()]
    assert again == drawn


def test_the_mean_of_weights_is_kept_or_begins_at_the_weights(tmp_path):
    run = training(tmp_path, 1)
    run.ema = {k: v + 1 if v.is_floating_point() else v for k, v in run.model.state_dict().items()}
    Checkpoints(tmp_path / "mean", 2).save(run, {})
    Checkpoints(tmp_path / "none", 2).save(replace(run, ema=None), {})
    other = training(tmp_path, 0, seed=1)
    other.ema = {k: torch.zeros_like(v) for k, v in run.ema.items()}
    load_checkpoint(Checkpoints(tmp_path / "mean", 2).find(), other)
    assert all(torch.equal(other.ema[k], v) for k, v in run.ema.items())
    load_checkpoint(Checkpoints(tmp_path / "none", 2).find(), other)
    assert all(torch.equal(other.ema[k], v) for k, v in run.model.state_dict().items())


def test_the_manifest_tells_everything(tmp_path, stop_at):
    made = recipe(tmp_path, STUDENT)
    stop_at(made, 8)
    found = tmp_path / "run/student/checkpoints"
    assert names(tmp_path / "run/student") == ["step-00000003", "step-00000006"]
    assert sorted(p.name for p in (found / "step-00000006").iterdir()) == [
        "manifest.json",
        "rank0.safetensors",
    ]
    told = json.loads((found / "step-00000006/manifest.json").read_text())
    assert (told["format"], told["step"], told["world"], told["stage"]) == (2, 6, 1, "student")
    assert told["settings"]["optimizer"]["lr"] == 0.05
    (plan,) = plan_recipe(made)
    assert told["label_map"] == plan.faces.label_map.hash
    size = (found / "step-00000006/rank0.safetensors").stat().st_size
    assert told["files"]["rank0.safetensors"]["bytes"] == size


def test_the_last_few_and_the_best_stay_and_the_best_network_outlives_them(
    tmp_path, monkeypatch, stop_at
):
    """The accuracies are given; everything else is as it happens."""
    settings = {"student": STUDENT["student"] | {"keep_checkpoints": 1}}
    settings["student"]["validation"] = {"benches": ["holdout"], "pairs": 20, "every": 2 / 3}
    data = {"synthetic": {"identities": 24, "images_per_identity": 6}, "holdout": 20}
    made, seen = recipe(tmp_path, settings, data=data), {}

    def look(self, step, network):
        accuracy = {2: 0.7, 4: 0.9, 6: 0.8, 8: 0.9, 10: 0.1, 12: 0.6}[step]
        seen[step] = {k: v.clone() for k, v in network.backbone.state_dict().items()}
        self.last["holdout"] = {"accuracy": accuracy}

    monkeypatch.setattr(validate.PairValidator, "look", look)
    stop_at(made, 5)
    assert names(tmp_path / "run/student") == ["step-00000004"]  # within an epoch, as the best
    manifest = tmp_path / "run/student/checkpoints/step-00000004/manifest.json"
    assert json.loads(manifest.read_text())["metrics"] == {"holdout": {"accuracy": 0.9}}
    stop_at(made, 11)
    assert names(tmp_path / "run/student") == ["step-00000004", "step-00000009"]
    run_recipe(made)
    folder = tmp_path / "run/student"
    assert not (folder / "checkpoints").exists()
    best = json.loads((folder / "summary.json").read_text())["best"]
    assert best == {"bench": "holdout", "step": 4, "accuracy": 0.9}
    assert all(torch.equal(v, seen[4][k]) for k, v in weights(folder / "best.pt").items())
    assert all(
        torch.equal(v, seen[12][k]) for k, v in weights(folder.parent / "student.pt").items()
    )


def spoil(path, how):
    if how == "cut short":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "a bit turned":
        content = bytearray(path.read_bytes())
        content[len(content) * 2 // 3] ^= 1
        path.write_bytes(content)
    elif how == "gone":
        path.unlink()
    else:
        shutil.rmtree(path.parent)
        path.parent.mkdir()


@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("rank0.safetensors", "cut short"),
        ("rank0.safetensors", "a bit turned"),
        ("rank0.safetensors", "gone"),
        ("manifest.json", "cut short"),
        ("manifest.json", "a bit turned"),
        ("manifest.json", "gone"),
        ("manifest.json", "all gone"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    undisturbed, tmp_path, capsys, stop_at, file, how
):
    made = recipe(tmp_path, STUDENT)
    stop_at(made, 7)
    spoil(tmp_path / "run/student/checkpoints/step-00000006" / file, how)
    capsys.readouterr()
    run_recipe(made)
    told = capsys.readouterr().out
    assert "step-00000006 is damaged (" in told
    assert "The one before it is taken." in told
    assert "goes on at step 3 of 12" in told
    assert same_weights(tmp_path / "run/student.pt", undisturbed / "run/student.pt")


def test_when_all_are_damaged_it_says_what_to_delete(tmp_path, stop_at):
    made = recipe(tmp_path, STUDENT)
    stop_at(made, 7)
    folder = tmp_path / "run/student/checkpoints"
    for name in ("step-00000003", "step-00000006"):
        spoil(folder / name / "rank0.safetensors", "cut short")
    with pytest.raises(FacekdError, match=r"06 is damaged .*03 is damaged .*Delete .*checkpoints "):
        run_recipe(made)
    assert names(folder.parent) == ["step-00000003", "step-00000006"]


@pytest.mark.parametrize("how", ["fsync", "write"])
def test_a_full_disk_leaves_the_last_good_checkpoint(undisturbed, tmp_path, monkeypatch, how):
    made, folder = recipe(tmp_path, STUDENT), tmp_path / "run/student"
    save, fsync = Checkpoints.save, os.fsync
    with monkeypatch.context() as patch:

        def full(self, run, about):
            if run.step < 6:
                save(self, run, about)
            elif how == "write":
                with no_file_above(8000):
                    save(self, run, about)
            else:
                patch.setattr(os, "fsync", refuse)
                save(self, run, about)

        def refuse(handle):
            if os.readlink(f"/proc/self/fd/{handle}").endswith("manifest.json"):
                raise OSError(28, "No space left on device")
            fsync(handle)

        patch.setattr(Checkpoints, "save", full)
        with pytest.raises(FacekdError, match=r"cannot write .*(No space left|too large)") as error:
            run_recipe(made)
    assert "\n" not in str(error.value)
    assert "The last good checkpoint is untouched." in str(error.value)
    assert names(folder) == ["step-00000003"]
    run_recipe(made)
    assert same_weights(tmp_path / "run/student.pt", undisturbed / "run/student.pt")


def test_killed_at_any_moment_of_a_save_an_old_or_the_new_state_is_whole(tmp_path):
    """A child process dies at its n-th call that changes the disk, for every n."""
    old, new = training(tmp_path, 1), training(tmp_path, 2, seed=1)
    Checkpoints(tmp_path / "before", 1).save(old, {"a": 1})
    found, n = {1: 0, 2: 0}, 0
    while True:
        folder = tmp_path / f"at{n}"
        shutil.copytree(tmp_path / "before", folder)
        child = os.fork()
        if child == 0:
            _die_at(n)
            Checkpoints(folder, 1).save(new, {"a": 2})
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        kept = Checkpoints(folder, 1)
        whole = kept.find()
        step = kept.values()["step"]
        found[step] += 1
        run = training(tmp_path, 0)
        kept.load(whole, run)
        same(run, {1: old, 2: new}[step])
        run.step = 3
        kept.save(run, {})
        assert names(folder) == ["step-00000003"]  # and nothing half written
        if killed == 0:
            break
        assert killed == -signal.SIGKILL
        n += 1
    assert min(found.values()) >= 3, found


def _die_at(n):
    """Have this process killed before the n-th of these calls."""
    calls = iter(range(10**9))

    def deadly(real):
        def call(*args, **named):
            if next(calls) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **named)

        return call

    for name in ("fsync", "rename", "mkdir", "unlink", "rmdir", "open"):
        setattr(os, name, deadly(getattr(os, name)))


class Malice:
    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


def test_a_planted_pickle_is_never_run(undisturbed, tmp_path, stop_at):
    """Under every name that pickles have in run folders, and in place of our own files."""
    made, run = recipe(tmp_path, STUDENT), tmp_path / "run"
    stop_at(made, 7)
    evil = pickle.dumps(Malice(tmp_path / "ran"))
    for folder in (run, run / "student", *(run / "student/checkpoints").iterdir()):
        for name in (".metadata", "optimizer.pt", "state.pkl", "rank1.safetensors", "__0_0.distcp"):
            (folder / name).write_bytes(evil)
    (run / "student/checkpoints/step-00000009").mkdir()
    (run / "student/checkpoints/step-00000009/manifest.json").write_bytes(evil)
    (run / "student/checkpoints/step-00000006/rank0.safetensors").write_bytes(evil)
    (run / "student/state.safetensors").write_bytes(evil)
    run_recipe(made)
    assert same_weights(run / "student.pt", undisturbed / "run/student.pt")
    assert not (tmp_path / "ran").exists()
    pickle.loads(evil)  # it does run, where somebody unpickles it
    assert (tmp_path / "ran").exists()


def is_pickle(content):
    try:
        return bool(list(pickletools.genops(content)))
    except (ValueError, IndexError):
        return False


def test_what_a_run_writes_holds_no_pickle_but_the_network(tmp_path):
    """`.pt` is read with weights_only."""
    data = {"synthetic": {"identities": 24, "images_per_identity": 6}, "holdout": 20}
    look = {"validation": {"benches": ["holdout"], "pairs": 20}}
    made = recipe(
        tmp_path, {"student": look, "second": {"teacher": "student", "loss": "l2e"}}, data=data
    )
    run_recipe(made)
    for path in (p for p in (tmp_path / "run").rglob("*") if p.is_file()):
        assert path.suffix == ".pt" or not zipfile.is_zipfile(path), path
        assert not is_pickle(path.read_bytes()), path
    assert is_pickle(pickle.dumps({"a": 1}))


def test_a_stage_of_format_1_goes_on(tmp_path, capsys):
    """The file was written by the version before; it loads for ever, and its settings are met."""
    stage = {"student": {"optimizer": {"name": "adamw", "lr": 0.05}}}
    made = recipe(tmp_path, stage, common=SMALL)
    (plan,) = plan_recipe(made)
    old = tmp_path / "run/student/state.safetensors"
    old.parent.mkdir(parents=True)
    shutil.copy(FIXTURES / "state_format1.safetensors", old)
    assert refuse_changes(plan) == {}
    run = build_training(plan, CPU, None, None, "fp32")
    kept = Checkpoints(old.parent, 2)
    kept.load(kept.find(), run)
    _holds(run, load_file(old))
    assert (run.step, run.best, run.allowed) == (3, None, ())
    run_recipe(made)
    assert "goes on at step 3 of 6" in capsys.readouterr().out
    assert [row["step"] for row in rows(old.parent / "metrics.csv")] == ["6"]
    assert not old.exists()


def test_a_damaged_file_of_format_1_is_told(tmp_path):
    made = recipe(tmp_path, STUDENT)
    old = tmp_path / "run/student/state.safetensors"
    old.parent.mkdir(parents=True)
    old.write_bytes((FIXTURES / "state_format1.safetensors").read_bytes()[:-100])
    with pytest.raises(
        FacekdError, match=r"state.safetensors is damaged .*Delete .*safetensors to"
    ):
        run_recipe(made)


def test_a_checkpoint_of_another_optimizer_or_network_is_refused(tmp_path):
    kept = Checkpoints(tmp_path, 2)
    kept.save(training(tmp_path, 1), {})
    settings = SMALL | {"optimizer": {"name": "adamw"}}
    (plan,) = plan_recipe(recipe(tmp_path, {"student": {}}, common=settings))
    with pytest.raises(FacekdError, match=r"is of SGD, not AdamW\. Delete"):
        kept.load(kept.find(), build_training(plan, CPU, None, None, None))
    (plan,) = plan_recipe(recipe(tmp_path, {"student": {}}))
    with pytest.raises(FacekdError, match=r"does not fit this stage .*Delete"):
        kept.load(kept.find(), build_training(plan, CPU, None, None, None))


def _holds(run, tensors):
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            key, _, parameter = rest.partition(".")
            found = run.optimizer.state[run.parameters[parameter]][key]
        elif kind == "rng":
            found = torch.get_rng_state()
        else:
            found = getattr(run, kind).state_dict()[rest]
        assert torch.equal(found, tensor), name
