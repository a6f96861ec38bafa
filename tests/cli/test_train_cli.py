import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import write_recipe

from facekd.cli.train import main
from facekd.train import stages
from facekd.train.loop import Interrupted

SMALL = {"backbone": "mobilefacenet", "embedding_dim": 8, "input_size": 32, "args": {"width": 0.25}}
SHORT = {"model": SMALL, "precision": "fp32", "schedule": {"epochs": 0.4}}  # one step
COMMAND = Path(sys.executable).with_name("facekd-train")


@pytest.fixture
def path(tmp_path):
    return write_recipe(tmp_path, {"first": {}, "student": {}}, common=SHORT)


def test_help_needs_no_torch():
    code = "import sys; from facekd.cli.train import main\n"
    code += "try: main(['--help'])\n"
    code += "except SystemExit as done: sys.exit(done.code or bool({'torch', 'pydantic', 'numpy'}"
    code += " & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "facekd-train quickstart" in done.stdout


def test_train_and_the_same_again(path, tmp_path, capsys):
    assert main([str(path), "--stage", "student"]) == 0
    assert (tmp_path / "run/student.pt").is_file()
    assert not (tmp_path / "run/first.pt").exists()
    assert main([str(path), "--stage", "student"]) == 0
    assert "stage 'student' is finished: " in capsys.readouterr().out


def test_check_trains_nothing_and_overrides_are_heard(path, tmp_path, capsys):
    arguments = [
        str(path),
        "--check",
        f"output={tmp_path / 'other'}",
        "stages.first.optimizer.lr=1e-3",
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert f"run folder {tmp_path / 'other'}" in printed
    assert "lr 0.001" in printed
    assert "The recipe is sound; nothing was trained." in printed
    assert not (tmp_path / "other").exists()


def test_check_tells_of_a_folder_made_with_other_settings(path, capsys):
    assert main([str(path), "--stage", "first"]) == 0
    assert main([str(path), "--stage", "first", "--check", "seed=3"]) == 2
    assert "seed was 0, is now 3" in capsys.readouterr().err


def test_list_names_what_there_is(capsys):
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    for word in ("real_small", "th_kd", "proxyless", "l2e", "arcface", "iresnet50", "mbf"):
        assert word in printed


def test_no_recipe_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "name a recipe" in capsys.readouterr().err


def test_an_interrupted_run_says_how_to_go_on(path, monkeypatch, capsys):
    def stopped(*_recipe):
        raise Interrupted(signal.SIGTERM, "the same command goes on from there.")

    monkeypatch.setattr(stages, "run_recipe", stopped)
    assert main([str(path)]) == 128 + signal.SIGTERM
    assert "the same command goes on" in capsys.readouterr().out


@pytest.mark.skipif(not COMMAND.exists(), reason="the package is not installed")
def test_the_installed_command(path, tmp_path):
    done = subprocess.run(
        [COMMAND, path, "--check", "stages.first.loss=arcfase"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr == "error: command line: stage 'first': unknown preset 'arcfase'; "
        "did you mean 'arcface'?\n"
    )
