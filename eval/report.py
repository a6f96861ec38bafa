"""An evaluation as files: numbers, tables, curves and scores."""

import csv
import io
import json
from pathlib import Path

import numpy as np

from ..files import atomic_path, write_text
from .figures import draw_roc
from .results import FORMAT, BenchResult, Evaluation, as_json, as_rows
from .tables import as_latex, as_markdown, tables


def write_report(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Write everything into a folder, each file atomically; older ones there are replaced.

    `results.json` (schema: `results.py`), `results.csv`, `results.md`, `results.tex`, `roc.png`,
    `roc.pdf`, and `scores/BENCH.npz` for later comparison.

    Returns:
        The files, in that order.
    """
    folder = Path(folder)
    made = tables(evaluation)
    note = f"Protocol: {evaluation.protocol_words()}."
    texts = {
        "results.json": json.dumps(as_json(evaluation), indent=1, allow_nan=False) + "\n",
        "results.csv": _csv(evaluation),
        "results.md": "\n\n".join([*map(as_markdown, made), note]) + "\n",
        "results.tex": "\n\n".join(map(as_latex, made)) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    figures = [folder / "roc.png", folder / "roc.pdf"]
    draw_roc(evaluation, figures)
    scores = [_write_scores(bench, folder / "scores") for bench in evaluation.benches]
    return [*(folder / name for name in texts), *figures, *scores]


def _csv(evaluation: Evaluation) -> str:
    rows = as_rows(evaluation)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_scores(bench: BenchResult, folder: Path) -> Path:
    """`format`, `models` (k,) names, `scores` (k, m), `same` (m,); no pickle inside."""
    path = folder / f"{bench.name}.npz"
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            format=np.int64(FORMAT),
            models=np.array([model.name for model in bench.models], dtype=np.str_),
            scores=np.stack([model.numbers.scores for model in bench.models]),
            same=bench.models[0].numbers.same,
        )
    return path
