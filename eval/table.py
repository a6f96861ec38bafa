"""A table, and its forms: plain text, Markdown, LaTeX, HTML."""

from dataclasses import dataclass
from html import escape

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
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
}


@dataclass(frozen=True)
class Table:
    """A title, column heads and rows of cells.

    Attributes:
        title: What it shows, and in which unit.
        head: The columns.
        rows: Cells, as many as there are columns.
        words: How many of the first columns are words, set to the left; the rest are numbers.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 2


def as_text(table: Table) -> str:
    """Aligned columns for a terminal."""
    cells = [table.head, *table.rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.head))]
    lines = ["  ".join(_align(row, widths, table.words)).rstrip() for row in cells]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([table.title, "", lines[0], rule, *lines[1:]])


def as_markdown(table: Table) -> str:
    """A GitHub-flavoured Markdown table under its title."""
    cells = [[_markdown(cell) for cell in row] for row in (table.head, *table.rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    sides = ("---" if i < table.words else "---:" for i in range(len(table.head)))
    return "\n".join([f"**{table.title}**", "", lines[0], "|" + "|".join(sides) + "|", *lines[1:]])


def as_latex(table: Table) -> str:
    r"""A `table` environment with booktabs rules (needs `\usepackage{booktabs}`)."""
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in (table.head, *table.rows)]
    columns = "l" * table.words + "r" * (len(table.head) - table.words)
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


def as_html(table: Table) -> str:
    """A heading and a table in a box of its own, which scrolls where the page is narrow.

    A row whose first cell is not that of the row above has the class `new`.
    """
    title = escape(table.title)
    body, above = [], None
    for row in table.rows:
        body.append(_html_row(row, table.words, new=above not in (None, row[0])))
        above = row[0]
    heads = "".join(
        f'<th scope="col"{_side(i, table.words)}>{escape(cell)}</th>'
        for i, cell in enumerate(table.head)
    )
    return "\n".join(
        [
            f"<h3>{title}</h3>",
            f'<div class="scroll" role="region" aria-label="{title}" tabindex="0"><table>',
            f"<thead><tr>{heads}</tr></thead>",
            "<tbody>",
            *body,
            "</tbody></table></div>",
        ]
    )


def _html_row(row: tuple[str, ...], words: int, new: bool) -> str:
    cells = (
        f'<th scope="row">{escape(cell)}</th>'
        if i < min(words, 2)
        else f"<td{_side(i, words)}>{escape(cell)}</td>"
        for i, cell in enumerate(row)
    )
    start = '<tr class="new">' if new else "<tr>"
    return start + "".join(cells) + "</tr>"


def _side(column: int, words: int) -> str:
    return "" if column < words else ' class="n"'


def _align(row: tuple[str, ...], widths: list[int], words: int) -> list[str]:
    return [
        cell.ljust(width) if i < words else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _markdown(text: str) -> str:
    return escape(text, quote=False).replace("|", r"\|")


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
