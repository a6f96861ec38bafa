"""Runs every installed command once, from an empty folder: python smoke.py BIN_FOLDER.

Not a pytest file: `.ci/run` calls it with the commands of a fresh environment that holds the wheel.
"""

import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

BIN = Path(sys.argv[1])
TINY = Path(__file__).parent / "fixtures" / "format1_tiny.pt"


def call(*command: str, code: int = 0) -> str:
    """Run an installed command and give its output; another exit code ends the smoke test."""
    done = subprocess.run([str(BIN / command[0]), *command[1:]], capture_output=True, text=True)
    if done.returncode != code:
        sys.exit(f"{' '.join(command)} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
    print(f"ok: {' '.join(command)}")
    return done.stdout + done.stderr


def check_wheel() -> None:
    """The wheel puts one name, facekd, into the environment."""
    tops = {f.parts[0] for f in files("facekd") or [] if ".." not in f.parts}
    tops = {t for t in tops if not t.endswith(".dist-info")}
    assert tops == {"facekd"}, tops


def main() -> None:
    check_wheel()
    assert not list(Path.cwd().iterdir()), "start the smoke test in an empty folder"
    for command in ("facekd-train", "facekd-eval", "facekd-data", "facekd-model"):
        assert "usage" in call(command, "--help")
    assert "quickstart" in call("facekd-train", "--list")
    assert "nothing was trained" in call("facekd-train", "quickstart", "--check")
    assert "did you mean 'quickstart'" in call("facekd-train", "quickstat", code=2)
    assert "synthetic" in call("facekd-eval", "--list")
    assert "mobilefacenet" in call("facekd-model", "info", str(TINY))
    assert "mobilefacenet" in call("facekd-data", "inspect", str(TINY))
    assert "of no kind" in call("facekd-data", "inspect", str(Path(__file__)), code=2)


main()
