"""`facekd-train --study FILE --table`: the table of a study and its figures, from what is there."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from facekd.errors import FacekdError
from facekd.eval.results import BenchResult, ModelResult
from facekd.eval.table import Table, as_markdown, as_text
from facekd.eval.words import NONE, far_name, percent, percent_interval
from facekd.files import write_text
from facekd.study.bench import FARS, bench_result, read_judged, scores_path
from facekd.study.figures import draw_study
from facekd.study.file import Study, load_study
from facekd.study.methods import MethodRows, Spread, against, by_method
from facekd.study.results import Results

_FURTHER = {
    **{f"TAR at {far_name(far)}": f"tar_at_{far:g}" for far in FARS},
    "EER": "eer",
    "top-5": "top5",
}


def tabulate(path: str | Path, overrides: Sequence[str] = ()) -> str:
    """Write a study's tables and figures beside its CSV; needs neither data nor networks.

    `NAME-table.md`, `NAME-table.csv`, and `NAME-bars`, `NAME-time` and, where scores were kept,
    `NAME-roc`, each as .png and .svg.

    Args:
        path: The study file.
        overrides: `study.key=value`, such as `study.results=other.csv`.

    Returns:
        The table, and what was written, for a terminal.

    Raises:
        FacekdError: The study or its table cannot be read, or no run is done.
    """
    study, _ = load_study(path, overrides)
    results = Results(study.results_path)
    methods = by_method(results.rows(), study.name, list(study.methods))
    if not methods:
        raise FacekdError(
            f"{results.path} has no finished run of study {study.name!r}; run it first: "
            f"facekd-train --study {path}."
        )
    benches = list(study.bench)
    tables = [bench_table(study, methods, bench) for bench in benches]
    notes = _notes(study, methods)
    curves, without = _curves(study, methods, benches[0])
    if without and not _of_images(study, methods):
        notes.append(
            "No scores are kept here of "
            + ", ".join(without)
            + "; no ROC of them (differences need none: the table holds every decision)."
        )
    target = results.path.with_suffix("")
    figures = draw_study(methods, study.against, benches[0], curves, target)
    pictures = [f"![{words}]({files[0].name})" for files, words in figures]
    described = [f"# {study.description}"] if study.description else []
    text = "\n\n".join([*described, *map(as_markdown, tables), *notes, *pictures]) + "\n"
    written = [target.with_name(f"{target.name}-table{suffix}") for suffix in (".md", ".csv")]
    write_text(written[0], text)
    write_text(written[1], _csv(benches, tables))
    written += [file for files, _ in figures for file in files]
    told = [*map(as_text, tables), *notes, "wrote " + ", ".join(map(str, written))]
    return "\n\n".join(told)


def bench_table(study: Study, methods: Sequence[MethodRows], bench: str) -> Table:
    """One verification set: a row a method, means over its seeds, in percent."""
    base = next((m for m in methods if m.name == study.against), None)
    further = {
        words: column
        for words, column in _FURTHER.items()
        if any(f"{bench}_{column}" in row for m in methods for row in m.rows.values())
    }
    head = (
        "method",
        "seeds",
        "accuracy",
        "std of seeds",
        "min to max",
        *further,
        f"minus {study.against}",
        "95 % interval",
        "of each seed",
        "minutes",
        "images",
    )
    rows = tuple(_row(base, method, bench, tuple(further.values())) for method in methods)
    return Table(f"{bench}, %: means over seeds", head, rows, words=1)


def _row(
    base: MethodRows | None, method: MethodRows, bench: str, further: tuple[str, ...]
) -> tuple[str, ...]:
    accuracy = method.spread(f"{bench}_accuracy")
    ends = (min(accuracy.values), max(accuracy.values)) if accuracy else None
    difference = None
    if base is not None and base is not method:
        difference = against(base, method, bench)
    each = difference.per_seed if difference else ()
    minutes, images = method.spread("minutes"), method.spread("images")
    return (
        method.name,
        str(len(method.rows)),
        _mean(accuracy),
        percent(accuracy.std if accuracy else None),
        f"{percent(ends[0])} to {percent(ends[1])}" if ends else NONE,
        *(_mean(method.spread(f"{bench}_{column}")) for column in further),
        f"{100 * difference.mean:+.2f}" if difference else NONE,
        percent_interval(difference.interval) if difference else NONE,
        " ".join(f"{100 * d:+.2f}" for d in each) or NONE,
        f"{minutes.mean:.1f}" if minutes else NONE,
        f"{images.mean:,.0f}" if images else NONE,
    )


def _mean(spread: Spread | None) -> str:
    return percent(spread.mean if spread else None)


def _notes(study: Study, methods: Sequence[MethodRows]) -> list[str]:
    """What a reader must know to read the table rightly."""
    what = "images" if _of_images(study, methods) else "pairs"
    notes = [
        f"Differences are to {study.against!r}, seed by seed on the same {what}. Their interval is "
        f"over {what}: what other {what} would do to the mean of these networks. What another seed "
        "does is in the columns of the seeds. Rows are method by method: no correction for many "
        "comparisons. Minutes are of the method's own training, what it builds on not counted."
    ]
    images = {row["images"] for method in methods for row in method.rows.values()}
    if len(images) > 1:
        notes.append("The methods saw unequal numbers of images; compare with care.")
    threads = {row["threads"] for method in methods for row in method.rows.values()}
    if len(threads) > 1:
        notes.append("The runs had unequal numbers of threads; do not compare their minutes.")
    built = [
        f"{m.name} {spread.mean:.1f}"
        for m in methods
        if (spread := m.spread("minutes_built_on")) and spread.mean > 0
    ]
    if built:
        notes.append(f"Minutes of what a method builds on, shared or not: {', '.join(built)}.")
    older = [f"{m.older} of {m.name}" for m in methods if m.older]
    if older:
        notes.append(f"Rows with other settings than the newest, left out: {', '.join(older)}.")
    missing = [
        f"{name} {seed}"
        for name in study.methods
        for seed in study.seeds_of(name)
        if not any(m.name == name and seed in m.rows for m in methods)
    ]
    if missing:
        notes.append(f"Not done yet (method, seed): {', '.join(missing)}.")
    return notes


def _of_images(study: Study, methods: Sequence[MethodRows]) -> bool:
    """Whether the runs name images' classes: there are no pairs, so no ROC curves."""
    rows = [row for method in methods for row in method.rows.values()]
    return any(f"{bench}_top5" in row for row in rows for bench in study.bench)


def _curves(
    study: Study, methods: Sequence[MethodRows], bench: str
) -> tuple[BenchResult | None, list[str]]:
    """The network of each method's first seed on a set; and the methods without kept scores."""
    models, without = [], []
    for method in methods:
        seed, row = next(iter(method.rows.items()))
        name = f"{method.name}-seed{seed}-{row['settings_hash'][:8]}"
        path = scores_path(study.runs_folder / "scores" / name, bench)
        if path.is_file():
            models.append(ModelResult(method.name, str(path), "", read_judged(path)))
        else:
            without.append(method.name)
    if not models:
        return None, without
    return bench_result(bench, "", 0, models, models[0].name), without


def _csv(benches: Sequence[str], tables: Sequence[Table]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["bench", *tables[0].head])
    for bench, table in zip(benches, tables, strict=True):
        writer.writerows([bench, *row] for row in table.rows)
    return text.getvalue()
