"""Markdown out of texts that come from files: no text may become a heading, a link or HTML."""

import re
from dataclasses import replace

from facekd.eval.table import Table, as_markdown
from facekd.eval.words import shorten

_SPECIAL = re.compile(r"([\\`*_#~@]|\](?=[(\[:])|(?<=\w):(?=//)|(?<=www)\.)")
"""What Markdown gives a meaning to: `]` only where a link goes on behind it, and bare addresses."""
LONGEST = 1000


def plain(text: object) -> str:
    """One line of Markdown that shows a text as it is.

    Args:
        text: Anything; control characters and line ends become spaces, and what is longer than
            1,000 letters is cut.
    """
    line = shorten(_one_line(str(text)), LONGEST)
    line = _SPECIAL.sub(r"\\\1", line)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", r"\|")


def bullet(name: str, value: object) -> str:
    """`- **name**: value`, the value shown as it is."""
    return f"- **{name}**: {plain(value)}"


def markdown_table(table: Table) -> str:
    """A table whose cells are shown as they are."""
    rows = tuple(tuple(_cell(cell) for cell in row) for row in table.rows)
    return as_markdown(replace(table, rows=rows))


def _cell(text: str) -> str:
    """As `plain`, but for what `as_markdown` does by itself (&, <, > and |)."""
    return _SPECIAL.sub(r"\\\1", shorten(_one_line(text), LONGEST))


def _one_line(text: str) -> str:
    """Without line ends and characters that only change what stands around them."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
