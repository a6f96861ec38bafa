"""Sets of faces that several tests of the command share; made once."""

import numpy as np
import pytest
from eval_command import TINY, evaluate, write_people, write_rec
from ijb_shaped import make_ijb

from facekd.cli.eval import main  # noqa: F401  (the first use pays for torch)
from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.eval.benchmarks import synthetic_pairs


@pytest.fixture(scope="session")
def benches(tmp_path_factory):
    """A data folder: IJBC/ with 2,000 faces, people/, people.rec, drawn.bin of 80 pairs."""
    data = tmp_path_factory.mktemp("benches")
    make_ijb(data / "IJBC")
    write_people(data / "people")
    write_rec(data / "people.rec")
    pairs = synthetic_pairs(32, identities=40, images_each=3, pairs=80)
    order = np.stack([pairs.left, pairs.right], axis=1).ravel().tolist()
    write_bin(
        data / "drawn.bin", [encode_jpeg(pairs.images[i]) for i in order], pairs.same.tolist()
    )
    return data


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Where embeddings are kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def joint(benches, cache, tmp_path_factory):
    """1:1, 1:N and all pairs of a folder in one command, from images."""
    return evaluate(
        tmp_path_factory.mktemp("joint"),
        *("--bench", f"ijbc,ijbc_1n,{benches}/people", "--data", benches),
        *("--model", f"tiny={TINY}", "--save-embeddings", cache, "--device", "cpu"),
    )
