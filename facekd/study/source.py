"""Which version of facekd a result was made with."""

import subprocess
from pathlib import Path

import facekd

_CODE = ("facekd", "eval", "data_tools")


def version() -> str:
    """The commit of the source tree, "+" behind it where its code was changed; else the release."""
    root = Path(facekd.__file__).resolve().parents[1]
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if not (root / ".git").exists() or not commit:
        return f"facekd {facekd.__version__}"
    changed = _git(root, "status", "--porcelain", "--", *_CODE)
    return commit + ("+" if changed else "")


def _git(root: Path, *command: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *command], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
