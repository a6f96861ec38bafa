"""report.html: the whole evaluation on one page that loads nothing and runs nothing."""

from collections.abc import Iterable
from html import escape
from itertools import groupby

from .environment import environment
from .figures import draw_singly
from .inline_svg import inline_svg
from .page_style import STYLE
from .results import Evaluation
from .table import as_html
from .tables import details, protocol, summaries

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""


def page(evaluation: Evaluation) -> str:
    """The page: summary, figures, every number with its interval, how it was measured.

    All names are escaped; a Content-Security-Policy forbids scripts and requests even so.
    """
    benches = [bench.name for bench in evaluation.benches]
    models = list(dict.fromkeys(m.name for bench in evaluation.benches for m in bench.models))
    title = f"Face verification: {', '.join(benches)}"
    made = environment()
    parts = [
        _HEAD.format(title=escape(title), style=STYLE),
        f"<header><h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(", ".join(models))} · {escape(made["date"])}</p></header>',
        "<main>",
        _section("Summary", [as_html(table) for table in summaries(evaluation)]),
        *_figures(evaluation),
        _section("Every number", [as_html(table) for table in details(evaluation)]),
        _section("How it was measured", [_terms(protocol(evaluation))]),
        _section("Computed with", [_terms(made.items())]),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _figures(evaluation: Evaluation) -> list[str]:
    sections = []
    for drawing, found in groupby(draw_singly(evaluation), key=lambda made: made[0]):
        figures = [
            f"<figure>{inline_svg(text, f'{drawing.name}{number}', drawing.words(bench))}</figure>"
            for number, (_, bench, text) in enumerate(found)
        ]
        caption = f'<p class="caption">{escape(drawing.caption)}</p>'
        sections.append(
            _section(drawing.title, [caption, '<div class="figures">', *figures, "</div>"])
        )
    return sections


def _section(title: str, parts: list[str]) -> str:
    return "\n".join(["<section>", f"<h2>{escape(title)}</h2>", *parts, "</section>"])


def _terms(pairs: Iterable[tuple[str, str]]) -> str:
    terms = (f"<div><dt>{escape(name)}</dt><dd>{escape(words)}</dd></div>" for name, words in pairs)
    return "\n".join(["<dl>", *terms, "</dl>"])
