"""The runs of a study, which of them are done, and how long the rest will take."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facekd.fingerprint import fingerprint
from facekd.study.bench import Benches
from facekd.study.file import Study, load_study
from facekd.study.jobs import Job, Jobs
from facekd.study.results import Results, Row, key_of
from facekd.train.results import differences


@dataclass(frozen=True)
class Run:
    """One row to be: a method with a seed.

    Attributes:
        study: The study's name.
        method: The method.
        job: Its training.
        settings_hash: Of training and verification sets; the seed does not count.
        settings: All of them, as JSON.
    """

    study: str
    method: str
    job: Job
    settings_hash: str
    settings: str

    @property
    def key(self) -> tuple[str, ...]:
        """As `study_results.key_of` gives of its row."""
        return (self.study, self.method, str(self.job.seed), self.settings_hash)

    @property
    def words(self) -> str:
        """Its name in print."""
        return f"{self.method} seed {self.job.seed}"

    @property
    def scores_folder(self) -> Path:
        """Where its scores go."""
        name = f"{self.method}-seed{self.job.seed}-{self.settings_hash[:8]}"
        return self.job.folder.parent / "scores" / name


@dataclass(frozen=True)
class Grid:
    """A study, checked: nothing was trained yet, everything can be.

    Attributes:
        study: The file.
        runs: All of them: every method with the first seed, then with the second, ...
        benches: The verification sets.
        results: The table.
    """

    study: Study
    runs: tuple[Run, ...]
    benches: Benches
    results: Results

    def done(self) -> set[tuple[str, ...]]:
        """The keys of the runs that have a row."""
        return {key_of(row) for row in self.results.rows()}


def make_grid(path: str | Path, overrides: Sequence[str] = (), loader_processes: int = 0) -> Grid:
    """Read a study and check every method, data set, teacher and verification set of it.

    Args:
        path: The study file.
        overrides: `key.path=value`, as `load_study`.
        loader_processes: Of each run, where the recipe leaves it open.

    Raises:
        FacekdError: The first thing that is wrong.
    """
    study, for_recipe = load_study(path, overrides)
    jobs = Jobs(study, study.make_recipe(for_recipe), loader_processes)
    benches = Benches(study)
    order = {seed: None for method in study.methods for seed in study.seeds_of(method)}
    runs = [
        _run(study, method, jobs.job(method, seed), benches)
        for seed in order
        for method in study.methods
        if seed in study.seeds_of(method)
    ]
    return Grid(study, tuple(runs), benches, Results(study.results_path))


def _run(study: Study, method: str, job: Job, benches: Benches) -> Run:
    described = benches.described(job.plan)
    marks = fingerprint([job.settings_hash, json.dumps(described, sort_keys=True)])
    settings = json.dumps({**job.settings, "benches": described}, sort_keys=True)
    return Run(study.name, method, job, marks, settings)


def describe(grid: Grid, jobs: int) -> str:
    """The list of runs with their state, and how long what is left will take."""
    rows = grid.results.rows()
    done = grid.done()
    lines = [
        f"study {grid.study.name}: {len(grid.study.methods)} methods, {len(grid.runs)} runs; "
        f"table {grid.results.path}, networks in {grid.study.runs_folder}"
    ]
    for run in grid.runs:
        minutes = _minutes(run.job, rows)
        length = f", about {minutes:.1f} min" if minutes is not None else ""
        state = "done" if run.key in done else "begun" if run.job.begun else "to do"
        others = _other_settings(run, rows) if state != "done" else ""
        lines.append(f"  {run.words:28} {run.job.images:>9,} images{length}: {state}{others}")
    left = [run for run in grid.runs if run.key not in done]
    lines.append(f"{len(grid.runs) - len(left)} done, {len(left)} to do; {left_words(grid, jobs)}")
    return "\n".join(lines)


def left_words(grid: Grid, jobs: int) -> str:
    """How long what is not done will take, in words, from what was measured so far."""
    rows, done = grid.results.rows(), grid.done()
    left = [run.job for run in grid.runs if run.key not in done]
    if not left:
        return "nothing is left to train"
    needed = {job.folder: job for job in left}
    for job in left:
        needed |= job.all_built_on()
    each = [_minutes(job, rows) for job in needed.values() if not job.finished]
    known = [minutes for minutes in each if minutes is not None]
    if len(known) < len(each):
        return "no rate was measured yet, so nobody knows how long it takes"
    minutes = round(sum(known) / jobs)
    side = f" with {jobs} at a time" if jobs > 1 else ""
    return f"about {minutes // 60} h {minutes % 60:02} min of training are left{side}"


def _minutes(job: Job, rows: Sequence[Row]) -> float | None:
    """How long a training takes: as the method's others did, else at the rate of all; or None."""
    own = [
        float(row["minutes"]) * job.images / max(int(row["images"]), 1)
        for row in rows
        if row["method"] == job.name and float(row["images_per_second"]) > 0
    ]
    rates = [float(row["images_per_second"]) for row in rows]
    if own:
        return statistics.median(own)
    return job.images / statistics.median(rates) / 60 if rates and min(rates) > 0 else None


def _other_settings(run: Run, rows: Sequence[Row]) -> str:
    """Says so where the table has the run with other settings only."""
    others = [
        row
        for row in rows
        if (row["study"], row["method"], row["seed"]) == run.key[:3]
        and row["settings_hash"] != run.settings_hash
    ]
    if not others:
        return ""
    changed = [*differences(json.loads(others[-1]["settings"]), json.loads(run.settings)).values()]
    what = f" ({'; '.join(changed[:3])})" if changed else ""
    return f", its row has other settings{what}; that row stays, and another is made"
