"""An evaluation as files: numbers, tables, figures, a page and scores."""

import csv
import io
import json
from html import escape
from pathlib import Path

from ..files import write_text
from .figures import draw_files, file_names
from .page import page
from .plain import as_json, as_rows
from .results import Evaluation
from .saved_scores import score_files, write_scores
from .table import as_latex, as_markdown
from .tables import notes, tables

PAGE = "report.html"


def write_report(evaluation: Evaluation, folder: str | Path, *, figures: bool = True) -> list[Path]:
    """Write everything into a folder, each file atomically; an older report there is replaced.

    `scores/BENCH.npz` for later comparison, `results.json` (schema: `plain.py`), `results.csv`,
    `results.md`, `results.tex`; and, where figures are wanted, `roc`, `det` (png, pdf, svg),
    `histogram` (png, svg), `reject` and `groups` where there is something to show, and
    `report.html`.

    Args:
        evaluation: The results.
        folder: Where they go; made if it is not there.
        figures: Draw figures and the page (seconds).

    Returns:
        The files, in the order in which they were written.
    """
    folder = Path(folder)
    files = score_files(evaluation)
    written = [
        write_scores(bench, folder / files[bench.name])
        for bench in evaluation.benches
        if bench.name in files
    ]
    made = tables(evaluation)
    told = "\n".join(f"- {escape(note, quote=False)}" for note in notes(evaluation))
    texts = {
        "results.json": json.dumps(as_json(evaluation, files), indent=1, allow_nan=False) + "\n",
        "results.csv": _csv(evaluation),
        "results.md": "\n\n".join([*map(as_markdown, made), told]) + "\n",
        "results.tex": "\n\n".join(map(as_latex, made)) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)
        written.append(folder / name)
    if figures:
        written += draw_files(evaluation, folder)
        write_text(folder / PAGE, page(evaluation))
        written.append(folder / PAGE)
    for name in {PAGE, *file_names()} - {path.name for path in written}:
        (folder / name).unlink(missing_ok=True)  # of another evaluation
    return written


def _csv(evaluation: Evaluation) -> str:
    rows = as_rows(evaluation)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
