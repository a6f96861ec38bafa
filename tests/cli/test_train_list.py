"""`facekd-train --list`: what each loss needs comes from its terms."""

import pytest

from facekd.distill import PRESETS, TERMS
from facekd.heads import MARGINS
from facekd.train.check import list_everything


@pytest.fixture(scope="module")
def sections():
    """Title -> its lines by name."""
    found = {}
    for block in list_everything().split("\n\n"):
        title, *lines = block.splitlines()
        found[title.split(" ")[0].rstrip(":")] = {line.split()[0]: line for line in lines}
    return found


def test_everything_is_there(sections):
    assert set(sections["losses"]) == set(PRESETS)
    assert set(sections["terms"]) == set(TERMS)
    assert set(sections["margins"]) == set(MARGINS)
    assert {"mobilefacenet", "iresnet50"} <= set(sections["backbones"])
    assert "quickstart" in sections["recipes"]


@pytest.mark.parametrize(
    ("loss", "needs"),
    [
        ("arcface", "labels, student head"),
        ("subcenter_arcface", "labels, several centres of a class, student head"),
        ("proxyless", "labels, teacher head"),
        ("th_kd", "labels, student head, teacher embeddings, teacher head"),
        ("crd", "labels, sample index, student head, teacher embeddings"),
    ],
)
def test_what_a_loss_needs(sections, loss, needs):
    assert f"  needs {needs}  [" in sections["losses"][loss]


def test_every_line_says_where_it_comes_from(sections):
    for name, line in sections["losses"].items():
        assert line.endswith(f"[{PRESETS[name].paper}]")
        assert PRESETS[name].summary in line
    for name, line in sections["margins"].items():
        assert line.endswith(f"[{MARGINS[name].paper}]")
        assert MARGINS[name].summary() in line
        assert MARGINS[name].summary().endswith(".")
        assert "arXiv" in MARGINS[name].paper
