"""The tiny network is known while the tests of this folder run, on one thread."""

import pytest
import torch
from tiny_runs import tiny

from facekd.backbones import BACKBONES


@pytest.fixture(scope="module", autouse=True)
def _tiny_network():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES._entries, "tiny", tiny)
        yield
    torch.set_num_threads(threads)
