from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from facekd.eval import draw_means, draw_roc_best
from facekd.eval.draw_means import Mean
from facekd.eval.drawing import GRID
from facekd.eval.results import BenchResult, ModelResult
from facekd.eval.trials import Trials
from facekd.eval.verification import Questions, verify

MEANS = [
    Mean("alone", (0.80, 0.82), (0.79, 0.83), (9.0, 9.4)),
    Mean("taught", (0.90, 0.91), (0.88, 0.93), (12.0, 12.2)),
    Mean("a_$very$_long_name_of_a_method", (0.85,), (0.84, 0.86), (10.0,)),
]


def empty(size):
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def test_bars_end_at_the_means_and_dots_are_the_seeds():
    figure = empty(draw_means.bars_size(MEANS))
    draw_means.draw_bars(figure, MEANS, "alone", "lfw")
    (axes,) = figure.axes
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert ends == pytest.approx([0.81, 0.85, 0.905])
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() != "None"]
    assert [tuple(d) for d in dots] == [(0.80, 0.82), (0.85,), (0.90, 0.91)]
    figure.draw_without_rendering()


def test_names_in_the_second_figure_do_not_overlap():
    many = [
        Mean(f"method{i}", (0.8 + 0.001 * (i % 3),), (0.79, 0.81), (9 + 0.01 * i,))
        for i in range(25)
    ]
    figure = empty(draw_means.time_size(many))
    draw_means.draw_time(figure, many, "method0", "lfw")
    figure.draw_without_rendering()
    boxes = sorted(
        (Text.get_window_extent(text) for text in figure.axes[0].texts), key=lambda box: box.y0
    )
    assert len(boxes) == 25
    assert all(low.y1 <= high.y0 + 2 for low, high in pairwise(boxes))
    inside = figure.bbox
    assert all(inside.y0 <= box.y0 and box.y1 <= inside.y1 for box in boxes)


def test_the_best_are_coloured_the_others_grey_and_the_baseline_is_kept():
    rng = np.random.default_rng(0)
    same = np.tile([True, False], 500)
    noise = rng.standard_normal(1000)
    models = tuple(
        ModelResult(
            f"m{i}",
            "",
            "",
            verify(noise + (0.5 + 0.3 * i) * same, Trials(same), Questions((1e-2,))),
        )
        for i in range(12)
    )
    bench = BenchResult("made", "", "pairs", 0, models, "m0")
    best, rest = draw_roc_best.choose(bench, "m0")
    assert [m.name for m in best.models] == ["m0", *(f"m{i}" for i in range(6, 12))]
    assert rest is not None
    assert [m.name for m in rest.models] == [f"m{i}" for i in range(1, 6)]
    figure = empty(draw_roc_best.size(bench))
    draw_roc_best.draw(figure, bench, "m0")
    grey = [line for line in figure.axes[0].lines if line.get_color() == GRID]
    assert len(grey) == 5
    assert draw_roc_best.choose(best) == (best, None)
