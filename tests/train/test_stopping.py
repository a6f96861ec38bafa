"""What stops a stage early and what it leaves: signals, loader processes that die."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tiny_runs import recipe, same_weights, write_recipe
from torch.utils.data import get_worker_info

from facekd.data.loader import Views
from facekd.errors import FacekdError
from facekd.train import loop
from facekd.train.loop import Interrupted
from facekd.train.stages import run_recipe

STUDENT = {"student": {"schedule": {"epochs": 4}}}  # 12 steps
SMALL = {"backbone": "mobilefacenet", "embedding_dim": 8, "input_size": 32, "args": {"width": 0.25}}


def status(folder, stage="student"):
    return json.loads((folder / "run" / stage / "status.json").read_text())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run_recipe(recipe(folder, STUDENT))
    return folder


def test_a_loader_process_that_dies_is_one_sentence_and_nothing_is_lost(
    undisturbed, tmp_path, monkeypatch
):
    made, real, given = recipe(tmp_path, STUDENT, data={"workers": 1}), Views.__getitem__, []

    def dying(views, view):
        given.append(view)
        if get_worker_info() is not None and len(given) > 5 * 8:  # a batch is eight
            os._exit(9)
        return real(views, view)

    with monkeypatch.context() as patch:
        patch.setattr(Views, "__getitem__", dying)
        with pytest.raises(
            FacekdError, match=r"stopped at step [0-5] of 12 because a loader"
        ) as error:
            run_recipe(made)
    assert "its state is saved; the same command goes on" in str(error.value)
    assert "\n" not in str(error.value)
    assert status(tmp_path)["status"] == "failed"
    run_recipe(made)
    assert same_weights(tmp_path / "run/student.pt", undisturbed / "run/student.pt")
    assert status(tmp_path)["status"] == "finished"


def test_the_status_of_an_interrupted_stage(tmp_path, monkeypatch):
    real = loop._forward

    def forward(run, around, batch):
        if run.step == 2:
            assert status(tmp_path)["status"] == "running"
            os.kill(os.getpid(), signal.SIGTERM)
        return real(run, around, batch)

    monkeypatch.setattr(loop, "_forward", forward)
    with pytest.raises(Interrupted):
        run_recipe(recipe(tmp_path, STUDENT))
    found = status(tmp_path)
    assert (found["status"], found["signal"], found["step"]) == ("interrupted", "SIGTERM", 3)
    assert found["pid"] == os.getpid()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_sigterm_exits_with_143(tmp_path):
    long = {"student": {"schedule": {"epochs": 300}}}
    path = write_recipe(tmp_path, long, common={"model": SMALL})
    command = [sys.executable, "-m", "facekd.cli.train", str(path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 100
    while not (tmp_path / "run/student/status.json").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 143, err
    assert "its state is saved; the same command goes on from there." in out
    assert f"stopped at step {status(tmp_path)['step']} of 900" in out


def test_a_stage_that_another_process_trains_is_left_to_it(tmp_path):
    lock = tmp_path / "run/s/.lock"
    holder = (
        "import sys\nfrom facekd.locks import held\n"
        "with held(sys.argv[1], 'taken'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(FacekdError, match=r"another process trains stage 's' in .*status\.json"):
        run_recipe(recipe(tmp_path, {"s": {}}))
    process.kill()
    process.wait()
    run_recipe(recipe(tmp_path, {"s": {}}))
    assert (tmp_path / "run/s.pt").is_file()
