"""Two gloo processes: what they sum and gather, and that all pairs come out as in one."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from facekd.errors import FacekdError
from facekd.eval.all_pairs import score_all_pairs
from facekd.together import start

SCRIPT = """
import sys
from contextlib import closing
import numpy as np
from facekd.eval.all_pairs import score_all_pairs
from facekd.together import start

made = np.load(sys.argv[1])
with closing(start()) as together:
    rank = together.rank
    total = together.sum(np.array([1, 10**12, rank]))
    rows = together.gather(np.full((2 * rank, 3), rank, dtype=np.float32))
    together.barrier()
    scores = score_all_pairs(made["unit"], made["labels"], [0.3, 1e-3], together=together, block=37)
    np.savez(
        f"{sys.argv[2]}-{rank}.npz", total=total, shapes=[r.shape for r in rows], last=rows[-1],
        world=together.world, genuine=scores.genuine, impostor=scores.impostor,
        counts=scores.impostor_counts,
    )
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of two processes got, and what one alone got."""
    folder = tmp_path_factory.mktemp("together")
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((300, 24)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.savez(folder / "made.npz", unit=unit, labels=rng.integers(0, 40, 300))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    both = [{**meeting, "RANK": str(rank)} for rank in range(2)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, folder / "made.npz", folder / name],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, environment in [("two", both[0]), ("two", both[1]), ("one", {})]
    ]
    for process in running:
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == 0, errors
    return {name: np.load(folder / f"{name}.npz") for name in ("two-0", "two-1", "one-0")}


def test_sum_and_gather(results):
    for rank in range(2):
        mine = results[f"two-{rank}"]
        assert mine["world"] == 2
        assert mine["total"].tolist() == [2, 2 * 10**12, 1]
        assert mine["shapes"].tolist() == [[0, 3], [2, 3]]
        assert mine["last"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert results["one-0"]["world"] == 1
    assert results["one-0"]["total"].tolist() == [1, 10**12, 0]


def test_all_pairs_of_two_processes_are_bit_for_bit_those_of_one(results):
    for rank in range(2):
        for name in ("genuine", "impostor", "counts"):
            ours, theirs = results[f"two-{rank}"][name], results["one-0"][name]
            assert ours.dtype == theirs.dtype
            assert ours.tobytes() == theirs.tobytes()
    assert results["one-0"]["counts"].sum() + len(results["one-0"]["genuine"]) == 300 * 299 / 2


def test_more_processes_than_blocks():
    """A process without a block takes part with nothing."""

    class Last:
        rank, world = 5, 6

        def sum(self, array, /):
            return array + everything

        def gather(self, array, /):
            assert len(array) == 0
            return [array, np.ones(1, dtype=array.dtype)]

        def barrier(self): ...

        def close(self): ...

    everything = np.zeros(2**20 + 1, dtype=np.int64)
    everything[-1] = 1
    scores = score_all_pairs(np.ones((3, 1)), [0, 0, 1], [1.0], together=Last())
    assert scores.impostors == 1


def test_processes_that_cannot_meet(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FacekdError, match=r"WORLD_SIZE=2 speaks of several .*with torchrun"):
        start()
