"""Damaged files give a FacekdError or a valid read: no crash, no hang, no memory blow-up.

The cases run in a process of their own, whose memory is limited: see tests/fuzz.py.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "fuzz.py"


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.long)])
def test_damaged_files(count):
    run = subprocess.run(
        [sys.executable, FUZZ, "--count", str(count)], capture_output=True, text=True, timeout=1800
    )
    print(run.stdout)  # the seeds
    assert run.returncode == 0, run.stdout + "\n" + run.stderr[-4000:]
    read = {name: int(n) for name, n in re.findall(r"(\w+): seeds .*, (\d+) read", run.stdout)}
    assert len(read) >= 12
    assert all(n < 0.8 * count / len(read) for n in read.values()), read
    assert 0.05 < sum(read.values()) / count < 0.5, read
