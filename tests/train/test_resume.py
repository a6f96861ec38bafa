import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from tiny_runs import recipe, rows, same_weights, write_recipe

from facekd.errors import FacekdError
from facekd.heads.classifier import load_head
from facekd.train import loop, stages
from facekd.train.build import build_training
from facekd.train.checkpoints import Checkpoints
from facekd.train.loop import Interrupted
from facekd.train.plan import plan_recipe
from facekd.train.stages import run_recipe

CPU = torch.device("cpu")
STUDENT = {"student": {"schedule": {"epochs": 9, "warmup_epochs": 1}}}  # 27 steps
DISTIL = {
    "teacher": {"model": {"backbone": "tiny", "embedding_dim": 12, "input_size": 32}},
    "student": {
        "teacher": "teacher",
        "loss": {"preset": "th_kd", "scale": 16.0},
        "schedule": {"epochs": 7},
        "optimizer": {"name": "adamw", "lr": 0.01},
        "validation": {"benches": ["holdout"], "pairs": 20, "every": 2},
    },
}
HELD = {"synthetic": {"identities": 24, "images_per_identity": 6}, "holdout": 20}


class CrashError(Exception):
    pass


def stop_at(monkeypatch, step):
    """Raise out of the loop when the step begins, as a crash would; nothing is saved then."""
    real = loop._forward

    def forward(run, around, batch):
        if run.step == step:
            raise CrashError
        return real(run, around, batch)

    monkeypatch.setattr(loop, "_forward", forward)


def signal_at(monkeypatch, step, signum=signal.SIGINT):
    """Send this process a signal during a step."""
    real = loop._forward

    def forward(run, around, batch):
        if run.step == step:
            os.kill(os.getpid(), signum)
        return real(run, around, batch)

    monkeypatch.setattr(loop, "_forward", forward)


def steps(stage_folder):
    """Of the checkpoints there are, the newest first; nothing half written stands beside them."""
    names = sorted((p.name for p in (stage_folder / "checkpoints").iterdir()), reverse=True)
    return [int(name.removeprefix("step-")) for name in names]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run_recipe(recipe(folder / "a", STUDENT))
    run_recipe(recipe(folder / "b", DISTIL, data=HELD))
    return folder


def assert_same_run(mine, whole):
    assert same_weights(mine / "run/student.pt", whole / "run/student.pt")
    for name in ("metrics.csv", "validation.csv"):
        if (whole / "run/student" / name).exists():
            assert rows(mine / "run/student" / name) == rows(whole / "run/student" / name)
    heads = [load_head(folder / "run/student.head.safetensors") for folder in (mine, whole)]
    assert torch.equal(heads[0][0].weight, heads[1][0].weight)
    assert heads[0][1] == heads[1][1]


def test_the_same_recipe_gives_the_same_bits(undisturbed, tmp_path):
    run_recipe(recipe(tmp_path, STUDENT))
    assert_same_run(tmp_path, undisturbed / "a")
    assert [row["step"] for row in rows(tmp_path / "run/student/metrics.csv")] == ["20", "27"]


@pytest.mark.parametrize("crash", [0, 1, 4, 13, 26])
def test_a_crashed_run_goes_on_to_the_same_bits(undisturbed, tmp_path, monkeypatch, crash):
    made = recipe(tmp_path, STUDENT)
    with monkeypatch.context() as patch:
        stop_at(patch, crash)
        with pytest.raises(CrashError):
            run_recipe(made)
    assert not (tmp_path / "run/student.pt").exists()
    run_recipe(made)
    assert_same_run(tmp_path, undisturbed / "a")


def test_many_stops_and_workers_change_nothing(undisturbed, tmp_path, monkeypatch):
    made = recipe(tmp_path, STUDENT)
    for step in (2, 3, 10, 19, 20, 25):
        with monkeypatch.context() as patch:
            signal_at(patch, step)
            with pytest.raises(Interrupted, match=f"stopped at step {step + 1} of 27"):
                run_recipe(made)
        assert steps(tmp_path / "run/student")[0] == step + 1
    run_recipe(recipe(tmp_path, STUDENT, data={"workers": 1}))
    assert_same_run(tmp_path, undisturbed / "a")


@pytest.mark.parametrize("step", [0, 4, 11, 20])
def test_distilling_with_adamw_projector_and_validation_goes_on_alike(
    undisturbed, tmp_path, monkeypatch, step
):
    made = recipe(tmp_path, DISTIL, data=HELD)
    with monkeypatch.context() as patch:
        real, calls = stages.train, []

        def train(run, around, log):
            calls.append(around.plan.name)
            if around.plan.name == "student":
                signal_at(patch, step)
            real(run, around, log)

        patch.setattr(stages, "train", train)
        with pytest.raises(Interrupted):
            run_recipe(made)
        assert calls == ["teacher", "student"]
    run_recipe(made)
    assert_same_run(tmp_path, undisturbed / "b")
    summary = json.loads((tmp_path / "run/student/summary.json").read_text())
    whole = json.loads((undisturbed / "b/run/student/summary.json").read_text())
    assert summary["validation"] == whole["validation"]
    assert summary["validation"]["holdout"]["accuracy"] > 0


def test_a_signal_during_the_last_step_is_not_lost(tmp_path, monkeypatch, capsys):
    stages_two = {"first": {"schedule": {"epochs": 1}}, "second": {}}
    with monkeypatch.context() as patch:
        signal_at(patch, 2, signal.SIGTERM)
        with pytest.raises(Interrupted) as stopped:
            run_recipe(recipe(tmp_path, stages_two))
    assert stopped.value.signum == signal.SIGTERM
    assert not (tmp_path / "run/second").exists()
    run_recipe(recipe(tmp_path, stages_two))
    assert (tmp_path / "run/second.pt").exists()


def test_finished_stages_are_not_run_again(undisturbed, monkeypatch, capsys):
    monkeypatch.setattr(stages, "run_stage", lambda plan: pytest.fail("it trains again"))
    before = (undisturbed / "b/run/student.pt").stat().st_mtime_ns
    paths = run_recipe(recipe(undisturbed / "b", DISTIL, data=HELD))
    assert [path.name for path in paths] == ["teacher.pt", "student.pt"]
    assert paths[1].stat().st_mtime_ns == before
    assert "stage 'teacher' is finished" in capsys.readouterr().out


def test_a_run_of_the_first_versions_wrote_rgb_for_an_unsaid_order_of_channels(
    undisturbed, tmp_path
):
    shutil.copytree(undisturbed / "b", tmp_path / "b")
    path = tmp_path / "b/run/student/summary.json"
    summary = json.loads(path.read_text())
    assert summary["settings"]["teacher"]["channels"] is None
    summary["settings"]["teacher"]["channels"] = "rgb"
    path.write_text(json.dumps(summary))
    run_recipe(recipe(tmp_path / "b", DISTIL, data=HELD))
    summary["settings"]["teacher"]["channels"] = "bgr"
    path.write_text(json.dumps(summary))
    with pytest.raises(FacekdError, match=r"teacher\.channels was 'bgr', is now None"):
        run_recipe(recipe(tmp_path / "b", DISTIL, data=HELD))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"common": {"batch_size": 4}}, "batch_size was 8, is now 4"),
        ({"common": {"optimizer": {"lr": 0.1}}}, r"optimizer.lr was 0.05, is now 0.1"),
        ({"seed": 1}, "seed was 0, is now 1"),
        ({"data": {"flip": False}}, "data.flip was True, is now False"),
        ({"common": {"loss": {"preset": "arcface", "m": 0.2}}}, r"loss was .* is now"),
    ],
)
def test_other_settings_are_refused_by_name(undisturbed, tmp_path, monkeypatch, changes, told):
    with pytest.raises(FacekdError, match=told) as error:  # a finished stage
        run_recipe(recipe(undisturbed / "a", STUDENT, **changes))
    assert "Choose another output=" in str(error.value)
    with monkeypatch.context() as patch:  # one that was stopped
        signal_at(patch, 1)
        with pytest.raises(Interrupted):
            run_recipe(recipe(tmp_path, STUDENT))
    with pytest.raises(FacekdError, match=told):
        run_recipe(recipe(tmp_path, STUDENT, **changes))


def test_a_student_of_a_teacher_that_is_gone_or_other_is_out_of_date(tmp_path):
    made = recipe(tmp_path, DISTIL, data=HELD)
    run_recipe(made)
    teacher = tmp_path / "run/teacher.pt"
    content = torch.load(teacher, weights_only=True)
    content["state_dict"]["0.bias"] += 1
    torch.save(content, teacher)
    with pytest.raises(FacekdError, match=r"built_on\.teacher was"):
        run_recipe(made)
    teacher.unlink()
    with pytest.raises(FacekdError, match=r"built_on\.teacher was .* is now None"):
        run_recipe(made)


def test_what_does_not_touch_the_weights_may_change(undisturbed):
    free = {"checkpoint_minutes": 0.5, "validation": {"every": 2}}
    run_recipe(recipe(undisturbed / "a", STUDENT, common=free, data={"workers": 1}))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_checkpoint_holds_everything(tmp_path, monkeypatch, name):
    made = recipe(tmp_path, DISTIL, data=HELD, common={"optimizer": {"name": name}})
    plan = plan_recipe(made)[0]
    saved = {}
    real = stages.train

    def train(run, around, log):
        real(run, around, log)
        Checkpoints(tmp_path, 2).save(run, {"a": 1})
        saved["run"], saved["rng"] = run, torch.get_rng_state()

    monkeypatch.setattr(stages, "train", train)
    stages.run_stage(plan)
    run = saved["run"]
    fresh = build_training(plan, CPU, None, None, None)
    kept = Checkpoints(tmp_path, 2)
    assert kept.values()["a"] == 1
    kept.load(kept.find(), fresh)
    assert torch.equal(torch.get_rng_state(), saved["rng"])
    assert (fresh.step, fresh.seconds, fresh.bad) == (run.step, run.seconds, run.bad)
    for one, two in ((run.model, fresh.model), (run.objective, fresh.objective)):
        assert all(torch.equal(v, two.state_dict()[k]) for k, v in one.state_dict().items())
    for key, parameter in run.parameters.items():
        before = run.optimizer.state[parameter]
        after = fresh.optimizer.state[fresh.parameters[key]]
        assert before.keys() == after.keys()
        assert all(torch.equal(before[k], after[k]) for k in before)


def full_disk(monkeypatch, when):
    real = os.fsync

    def fsync(handle):
        if when(os.readlink(f"/proc/self/fd/{handle}")):
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("file", ["student.pt", "student.head.safetensors", "summary.json"])
def test_a_full_disk_at_the_end_is_made_good_by_the_same_command(
    undisturbed, tmp_path, monkeypatch, file
):
    made = recipe(tmp_path, STUDENT)
    with monkeypatch.context() as patch:
        full_disk(patch, lambda path: f".{file}." in path)
        with pytest.raises(FacekdError, match=r"cannot write .*No space left"):
            run_recipe(made)
    run_recipe(made)
    assert_same_run(tmp_path, undisturbed / "a")
    assert not (tmp_path / "run/student/checkpoints").exists()


def test_a_damaged_summary_is_told(tmp_path):
    made = recipe(tmp_path, {"student": {"schedule": {"epochs": 0.3}}})
    run_recipe(made)
    (tmp_path / "run/student/summary.json").write_text("{")
    with pytest.raises(FacekdError, match=r"summary.json is damaged"):
        run_recipe(made)


def test_half_a_line_in_the_log_does_not_stop_a_resume(tmp_path, monkeypatch, undisturbed):
    made = recipe(tmp_path, STUDENT)
    with monkeypatch.context() as patch:
        signal_at(patch, 22)
        with pytest.raises(Interrupted):
            run_recipe(made)
    with (tmp_path / "run/student/metrics.csv").open("a") as file:
        file.write("2")
    run_recipe(made)
    assert_same_run(tmp_path, undisturbed / "a")


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of a POSIX system")
def test_ctrl_c_on_a_terminal_saves_and_the_same_command_goes_on(tmp_path):
    """SIGINT reaches the whole process group there, loader processes included."""
    network = {"backbone": "mobilefacenet", "embedding_dim": 8, "input_size": 32}
    common = {"model": network | {"args": {"width": 0.25}}}
    made = {"student": {"schedule": {"epochs": 4}}}
    code = textwrap.dedent(
        """
        import sys, torch
        torch.set_num_threads(1)
        from facekd.cli.train import main
        sys.exit(main(sys.argv[1:]))
        """
    )

    def start(workers):
        path = write_recipe(tmp_path / "a", made, common=common, data={"workers": workers})
        return subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    process = start(workers=1)
    saved = tmp_path / "a/run/student/checkpoints"
    deadline = time.monotonic() + 100
    while not any(saved.glob("step-*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert "its state is saved; the same command goes on from there." in out
    assert "Traceback" not in err
    process = start(workers=0)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "goes on at step" in out
    run_recipe(recipe(tmp_path / "b", made, common=common))
    assert same_weights(tmp_path / "a/run/student.pt", tmp_path / "b/run/student.pt")
