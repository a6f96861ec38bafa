"""An evaluation as tables, in plain text, Markdown and LaTeX; rates in percent."""

from dataclasses import dataclass

from .compare import PairedDifference
from .operating import OperatingPoint
from .results import BenchResult, Evaluation

NONE = "-"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


@dataclass(frozen=True)
class Table:
    """A title, column heads and rows of cells; the first two columns are left-aligned words."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(evaluation: Evaluation) -> list[Table]:
    """Summary, operating points, and, for several models, differences to the baseline."""
    made = [_summary(evaluation), _operating_points(evaluation)]
    if any(len(bench.models) > 1 for bench in evaluation.benches):
        made.append(_differences(evaluation))
    return made


def as_text(table: Table) -> str:
    """Aligned columns for a terminal."""
    cells = [table.head, *table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.head))]
    lines = ["  ".join(_align(row, widths)).rstrip() for row in cells]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, "", lines[0], rule, *lines[1:]])


def as_markdown(table: Table) -> str:
    """A GitHub-flavoured Markdown table under its title."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (table.head, *table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    rule = "|" + "|".join("---" if i < 2 else "---:" for i in range(len(table.head))) + "|"
    return "\n".join([f"**{table.title}**", "", lines[0], rule, *lines[1:]])


def as_latex(table: Table) -> str:
    r"""A `table` environment with booktabs rules (needs `\usepackage{booktabs}`)."""
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in (table.head, *table.rows)]
    columns = "ll" + "r" * (len(table.head) - 2)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(table.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def far_name(far: float) -> str:
    """A FAR as tables write it: 0.001 -> 1e-3."""
    mantissa, exponent = f"{far:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _summary(evaluation: Evaluation) -> Table:
    fars = [point.target_far for point in evaluation.benches[0].models[0].numbers.points]
    head = ("bench", "model", "accuracy ± fold std", "AUC", "EER")
    rows = []
    for bench in evaluation.benches:
        for model in bench.models:
            n = model.numbers
            accuracy = f"{_percent(n.accuracy.mean)} ± {_percent(n.accuracy.fold_std)}"
            tars = [NONE if point.tar is None else _percent(point.tar) for point in n.points]
            row = (bench.name, model.name, accuracy, _percent(n.auc), _percent(n.eer), *tars)
            rows.append(row)
    return Table(
        "Verification, % (TAR at FAR)",
        (*head, *(far_name(far) for far in fars)),
        tuple(rows),
    )


def _operating_points(evaluation: Evaluation) -> Table:
    rows = [
        (bench.name, model.name, far_name(point.target_far), *_point(point))
        for bench in evaluation.benches
        for model in bench.models
        for point in model.numbers.points
    ]
    return Table(
        "Operating points (TAR in %, thresholds are cosines)",
        ("bench", "model", "FAR", "TAR", "95 % interval", "false accepts", "threshold"),
        tuple(rows),
    )


def _point(point: OperatingPoint) -> tuple[str, ...]:
    if point.tar is None or point.interval is None or point.threshold is None:
        return (NONE, "not enough impostors", f"{point.impostors} pairs", NONE)
    return (
        _percent(point.tar),
        _interval(point.interval),
        f"{point.false_accepts} of {point.allowed} allowed",
        f"{point.threshold:.4f}",
    )


def _differences(evaluation: Evaluation) -> Table:
    rows = [row for bench in evaluation.benches for row in _bench_differences(bench)]
    return Table(
        "Differences on the same pairs, in points (95 % interval; exact McNemar p; thresholds "
        "taken as given)",
        ("bench", "models", "number", "difference", "95 % interval", "p"),
        tuple(rows),
    )


def _bench_differences(bench: BenchResult) -> list[tuple[str, ...]]:
    rows = []
    for name, comparison in bench.comparisons():
        between = f"{name} - {bench.baseline}"
        rows.append((bench.name, between, "accuracy", *_difference(comparison.accuracy)))
        rows += [
            (bench.name, between, f"TAR at {far_name(far)}", *_difference(difference))
            for far, difference in comparison.tars
        ]
    return rows


def _difference(d: PairedDifference) -> tuple[str, ...]:
    low, high = d.interval
    p = "< 0.0001" if d.p_value < 1e-4 else f"{d.p_value:.4f}"
    return f"{100 * d.difference:+.2f}", f"[{100 * low:+.2f}, {100 * high:+.2f}]", p


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f}"


def _interval(ends: tuple[float, float]) -> str:
    return f"[{_percent(ends[0])}, {_percent(ends[1])}]"


def _align(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if i < 2 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
