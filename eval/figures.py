"""Which figures an evaluation gives, as files with a panel a bench or one by one for the page."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import atomic_path
from . import draw_det, draw_groups, draw_histogram, draw_reject, draw_roc
from .results import BenchResult, Evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure, FigureBase

PANELS_A_ROW = 3
DPI = 200
_STYLE: Any = {"hatch.linewidth": 0.6, "pdf.fonttype": 42, "svg.hashsalt": "facekd"}
_NO_DATE = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}


@dataclass(frozen=True)
class Drawing:
    """One kind of figure.

    Attributes:
        name: Of its files.
        title: What it is.
        caption: How to read it.
        formats: Which files are written.
        shows: Whether it has something to show of a bench.
        size: Inches, width and height.
        draw: Draws a bench into an empty figure.
        words: The figure in words.
    """

    name: str
    title: str
    caption: str
    formats: tuple[str, ...]
    shows: Callable[[BenchResult], bool]
    size: Callable[[BenchResult], tuple[float, float]]
    draw: Callable[["FigureBase", BenchResult], None]
    words: Callable[[BenchResult], str]


def _has_pairs(bench: BenchResult) -> bool:
    return bench.genuine > 0


DRAWINGS = (
    Drawing(
        "roc",
        "ROC",
        "True accepts over false accepts, from one false accept upwards. A mark shows where the "
        "number in the legend is read off.",
        ("png", "pdf", "svg"),
        _has_pairs,
        draw_roc.size,
        draw_roc.draw,
        draw_roc.words,
    ),
    Drawing(
        "det",
        "DET",
        "False rejects over false accepts on normal-deviate axes: lower is better, and Gaussian "
        "scores give straight lines. Both axes start at one wrong decision. The mark is the equal "
        "error rate, on the dotted diagonal.",
        ("png", "pdf", "svg"),
        _has_pairs,
        draw_det.size,
        draw_det.draw,
        draw_det.words,
    ),
    Drawing(
        "histogram",
        "Scores",
        "Densities of genuine and impostor scores; each has an area of one. The dashed line is the "
        "model's threshold.",
        ("png", "svg"),
        _has_pairs,
        draw_histogram.size,
        draw_histogram.draw,
        draw_histogram.words,
    ),
    Drawing(
        "reject",
        "Error against reject",
        "False rejects among the genuine pairs that are left when those of lowest quality (norm of "
        "the embedding) are turned away; the threshold stays.",
        ("png", "svg"),
        lambda bench: any(numbers.quality for _, numbers in bench.verified()),
        draw_reject.size,
        draw_reject.draw,
        draw_reject.words,
    ),
    Drawing(
        "groups",
        "Groups",
        "Error rates of each group at one common threshold a model, with 95 % intervals; the "
        "dashed line is the rate asked for. A triangle at the left edge: no false match seen.",
        ("png", "pdf", "svg"),
        lambda bench: any(numbers.groups for _, numbers in bench.verified()),
        draw_groups.size,
        draw_groups.draw,
        draw_groups.words,
    ),
)


def file_names() -> list[str]:
    """All files that `draw_files` may write."""
    return [f"{drawing.name}.{suffix}" for drawing in DRAWINGS for suffix in drawing.formats]


def draw_files(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write every figure there is something for, all benches in one, in each of its formats."""
    from matplotlib import rc_context

    written: list[Path] = []
    for drawing in DRAWINGS:
        benches = [bench for bench in evaluation.benches if drawing.shows(bench)]
        if not benches:
            continue
        with rc_context(_STYLE):
            figure = _grid(drawing, benches)
            written += _save(figure, folder / drawing.name, drawing.formats)
    return written


def write_figure(
    size: tuple[float, float],
    draw: Callable[["FigureBase"], None],
    stem: Path,
    formats: Sequence[str],
) -> list[Path]:
    """Write one figure that is not about benches.

    Args:
        size: Inches, width and height.
        draw: Draws it into an empty figure.
        stem: The files without their suffix.
        formats: Which files are written.
    """
    from matplotlib import rc_context

    with rc_context(_STYLE):
        figure = _figure(*size)
        draw(figure)
        return _save(figure, stem, formats)


def _save(figure: "Figure", stem: Path, formats: Sequence[str]) -> list[Path]:
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not once a format
    written = []
    for suffix in formats:
        path = stem.with_name(f"{stem.name}.{suffix}")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=DPI, metadata=_NO_DATE[suffix])
        written.append(path)
    return written


def draw_singly(evaluation: Evaluation) -> Iterator[tuple[Drawing, BenchResult, str]]:
    """Every figure of every bench on its own, as SVG with its text as text."""
    import io

    from matplotlib import rc_context

    for drawing in DRAWINGS:
        for bench in evaluation.benches:
            if drawing.shows(bench):
                text = io.StringIO()
                with rc_context({**_STYLE, "svg.fonttype": "none"}):
                    figure = _figure(*drawing.size(bench))
                    drawing.draw(figure, bench)
                    figure.savefig(text, format="svg", metadata=_NO_DATE["svg"])
                yield drawing, bench, text.getvalue()


def _grid(drawing: Drawing, benches: list[BenchResult]) -> "Figure":
    """A panel a bench, three a row; a row is as high as its highest panel."""
    columns = min(len(benches), PANELS_A_ROW)
    rows = math.ceil(len(benches) / columns)
    sizes = [drawing.size(bench) for bench in benches]
    heights = [max(h for _, h in sizes[row * columns :][:columns]) for row in range(rows)]
    figure = _figure(sizes[0][0] * columns, sum(heights))
    parts = figure.subfigures(rows, columns, squeeze=False, height_ratios=heights).ravel()
    for part, bench in zip(parts, benches, strict=False):
        drawing.draw(part, bench)
    return figure


def _figure(width: float, height: float) -> "Figure":
    """An empty figure that lays itself out; no pyplot, no backend chosen for anybody."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
