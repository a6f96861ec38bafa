"""What `facekd-eval` does: score all models on all benches, print, write the report."""

import argparse
import os
from contextlib import closing
from pathlib import Path

from facekd.cli._evaluator import Evaluator
from facekd.cli._sources import read_sources
from facekd.errors import FacekdError
from facekd.eval.results import Evaluation
from facekd.eval.together import Alone, Together


def evaluate(arguments: argparse.Namespace) -> int:
    """Score every source on every bench; rank 0 prints and writes."""
    sources = read_sources(arguments)
    with closing(_together()) as together:
        evaluator = Evaluator(arguments, sources, together)
        results = evaluator.run()
        if together.rank == 0:
            evaluation = Evaluation(results, arguments.protocol)
            _finish(evaluation, evaluator.folder, figures=not arguments.no_figures)
    return 0


def compare_folders(arguments: argparse.Namespace) -> int:
    """One report from several folders' saved scores."""
    from facekd.eval.saved import read_reports

    folders = [Path(folder) for folder in arguments.compare]
    if not arguments.out:
        raise FacekdError("--compare makes a new report; say where with --out DIR.")
    out = Path(arguments.out)
    if len(folders) > 1 and out.resolve() in [folder.resolve() for folder in folders]:
        raise FacekdError(f"--out {out} is one of the reports compared; give another folder.")
    evaluation = read_reports(folders, arguments.baseline)
    _finish(evaluation, out, figures=not arguments.no_figures)
    return 0


def _finish(evaluation: Evaluation, folder: Path, *, figures: bool) -> None:
    """Print the tables, write the report, say where."""
    from facekd.eval.report import write_report
    from facekd.eval.table import as_text
    from facekd.eval.tables import notes, tables

    for table in tables(evaluation):
        print(as_text(table), end="\n\n")
    for note in notes(evaluation):
        print(note)
    written = write_report(evaluation, folder, figures=figures)
    print(f"report: {folder}/ ({', '.join(str(path.relative_to(folder)) for path in written)})")


def _together() -> Together:
    """The processes that torchrun started, if it did; torch is only loaded for them."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return Alone()
    from facekd.together import start

    return start()
