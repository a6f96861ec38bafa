import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facekd.eval.drawing import COLUMNS, fit, headline, point_at, power_of_ten, thin
from facekd.eval.figures import DRAWINGS, draw_singly
from facekd.eval.inline_svg import inline_svg
from facekd.eval.results import BenchResult, Evaluation, ModelResult
from facekd.eval.trials import Trials
from facekd.eval.verification import Questions, verify

DRAW = np.random.default_rng(0)
HALF = np.arange(100) % 2 == 0
CASES = {
    "one pair each": ([0.5, 0.1], [True, False]),
    "all alike": ([0.5] * 8, [True, False] * 4),
    "never wrong": (np.where(HALF, 0.9, 0.1), HALF),
    "always wrong": (np.where(HALF, 0.1, 0.9), HALF),
    "an untrained network": (0.99 + DRAW.random(100) * 1e-3, HALF),
    "faces not found": (np.where(DRAW.random(100) < 0.3, -1, DRAW.random(100)), HALF),
    "one genuine pair": (DRAW.random(400), np.arange(400) == 3),
    "one impostor pair": (DRAW.random(400), np.arange(400) != 3),
}


def bench(scores, same, protocol="exact"):
    groups = np.array(["W" * 40, "b"])[np.arange(len(same)) // 2 % 2] if len(same) > 2 else None
    worth = np.arange(int(np.sum(same)), dtype=np.float32)
    trials = Trials(np.asarray(same), groups=groups)
    numbers = verify(scores, trials, Questions(protocol=protocol), genuine_quality=worth)
    models = tuple(ModelResult(name, "m.pt", "", numbers) for name in ("W" * 40, "_m$i$" * 9))
    return BenchResult("M" * 50, "x", "pairs", 4, models, models[0].name)


@pytest.mark.parametrize("protocol", ["exact", "insightface"])
@pytest.mark.parametrize("case", CASES)
def test_odd_scores_are_drawn_without_a_warning(case, protocol):
    made = bench(*CASES[case], protocol)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = list(draw_singly(Evaluation((made,), protocol)))
    assert len(drawn) == sum(drawing.shows(made) for drawing in DRAWINGS) >= 3
    for drawing, _, text in drawn:
        width = float(text.split('viewBox="0 0 ')[1].split()[0])
        assert width == pytest.approx(72 * drawing.size(made)[0])
        assert "nan" not in text


def test_a_far_that_has_too_few_impostors_is_no_headline():
    scores, same = CASES["an untrained network"]
    for protocol in ("exact", "insightface"):  # which gives a number, and a warning, even so
        made = bench(scores, same, protocol)
        numbers = made.models[0].numbers
        assert headline(made) == 0.1
        assert point_at(numbers, 1e-3) is None
    assert numbers.point(1e-3).tar is not None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.integers(1, 40))
def test_a_thinned_curve_keeps_its_ends_and_every_column(values, repeats):
    place = np.sort(np.repeat(values, repeats))
    kept = thin(place)
    assert (kept[0], kept[-1]) == (0, len(place) - 1)
    assert (np.diff(kept) > 0).all()
    between = np.diff(place[kept]) > 1.001 * max(np.ptp(place), 1e-12) / COLUMNS
    assert (np.diff(kept)[between] == 1).all()  # nothing is left out across a gap


def test_a_long_curve_becomes_short():
    assert len(thin(np.linspace(0, 1, 1_000_000))) <= 2 * COLUMNS + 2


def test_names_are_cut_where_they_do_not_fit():
    assert fit("short", 10, 200) == "short"
    assert fit("a$b$c", 10, 200) == r"a\$b\$c"
    narrow, wide = fit("i" * 60, 10, 200), fit("W" * 60, 10, 200)
    assert len(wide) < len(narrow)
    assert "…" in wide


def test_powers_of_ten():
    assert [power_of_ten(value) for value in (1e-4, 0.1, 1.0)] == ["10⁻⁴", "10⁻¹", "1"]


def test_an_inline_drawing_has_names_of_its_own_and_the_pages_colours():
    text = """<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9pt" height="9pt"
      xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9"><metadata>who</metadata>
      <defs><style>*{color:red}</style></defs><defs><path id="a" d="M 0.123456 1 "/></defs>
      <g id="patch_1"/><g id="lost"><use xlink:href="#a" style="stroke: #0072b2"/></g>
      <g clip-path="url(#c)" style="fill:#FFFFFF"/><clipPath id="c"/><text>a &lt; b</text></svg>"""
    svg = inline_svg(text, "x1", 'say "hi" & <bye>')
    assert svg == (
        '<svg viewBox="0 0 9 9" width="9" height="9" role="img" '
        'aria-label="say &quot;hi&quot; &amp; &lt;bye&gt;">'
        '<defs><path id="x1-a" d="M 0.12 1" /></defs>'
        '<g><use href="#x1-a" style="stroke: var(--c0)" /></g>'
        '<g clip-path="url(#x1-c)" style="fill:var(--paper)" /><clipPath id="x1-c" />'
        "<text>a &lt; b</text></svg>"
    )
