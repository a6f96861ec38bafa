"""One network's numbers out of a saved evaluation report, for its card."""

from dataclasses import replace
from pathlib import Path

from facekd.errors import FacekdError
from facekd.eval.results import BenchResult, Evaluation
from facekd.eval.saved_report import read_report
from facekd.export.card import Measured
from facekd.export.licences import short_path


def measured_in(report: str, name: str) -> Measured:
    """The numbers of a network in a report that `facekd-eval --out DIR` wrote.

    Args:
        report: `DIR`, or `DIR:NAME` where the report calls the network otherwise.
        name: What the network is called; a report of one network alone may call it as it likes.

    Raises:
        FacekdError: There is no such report, or it does not know the network.
    """
    folder, mark, wanted = report.rpartition(":")
    if not mark or Path(report).exists():
        folder, wanted = report, ""
    evaluation = read_report(folder)
    names = list(dict.fromkeys(m.name for bench in evaluation.benches for m in bench.models))
    chosen = wanted or (names[0] if len(names) == 1 else name)
    if chosen not in names:
        raise FacekdError(
            f"--report {report}: no network {chosen!r} in it, but {', '.join(names)}; give "
            f"--report {folder}:NAME."
        )
    benches = [_of(bench, chosen) for bench in evaluation.benches]
    kept = tuple(bench for bench in benches if bench.models)
    title = f"Evaluation {short_path(Path(folder).resolve())}, where it is called {chosen}"
    return Measured(title, Evaluation(kept, evaluation.protocol))


def _of(bench: BenchResult, name: str) -> BenchResult:
    models = tuple(model for model in bench.models if model.name == name)
    return replace(bench, models=models, baseline=name)
