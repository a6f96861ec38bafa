"""What a study has to train: each stage once a seed, in a folder that its settings name.

Settings are told apart by what has an influence on the weights and by no machine's paths, so that
a study goes on elsewhere: data and files count by their fingerprints. A setting that stands at its
default does not count, so that a key which facekd learns later leaves finished runs as they are.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facekd.backbones import usual_size, usual_width
from facekd.errors import FacekdError
from facekd.fingerprint import fingerprint
from facekd.recipe import Network, Recipe, Stage
from facekd.study.file import Study
from facekd.train.plan import plan_recipe
from facekd.train.results import checkpoints_of, is_finished, settings_of, summary_path
from facekd.train.stage_plan import StagePlan
from facekd.train.validate import check_validation


@dataclass(frozen=True)
class Job:
    """One stage with one seed.

    Attributes:
        plan: The stage, checked; its folder and seed are the whole study's.
        seed: Of this training.
        folder: Where it is trained.
        recipe: A recipe of this stage only; what it builds on are files.
        built_on: The jobs behind its teacher, head and starting weights.
        settings: All settings, resolved.
        settings_hash: Sixteen hex digits of those that count; the seed does not.
    """

    plan: StagePlan
    seed: int
    folder: Path
    recipe: Recipe
    built_on: tuple["Job", ...]
    settings: dict[str, Any]
    settings_hash: str

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.plan.name

    @property
    def model_path(self) -> Path:
        """Where the finished network goes."""
        return self.folder / f"{self.name}.pt"

    @property
    def finished(self) -> bool:
        """Whether the network is there."""
        return is_finished(self._there())

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to go on from, or a network."""
        return self.finished or checkpoints_of(self._there()).begun

    @property
    def images(self) -> int:
        """How many images the training sees."""
        return self.plan.total_steps * self.plan.stage.batch_size

    def summary(self) -> dict[str, Any]:
        """What the finished training tells of itself.

        Raises:
            FacekdError: It cannot be read.
        """
        path = summary_path(self._there())
        try:
            summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FacekdError(
                f"{path} is damaged ({error}); delete {self.folder}, and it is trained again."
            ) from error
        return summary

    def all_built_on(self) -> dict[Path, "Job"]:
        """Everything that must be trained before it, the deepest first."""
        found: dict[Path, Job] = {}
        for job in self.built_on:
            found |= job.all_built_on()
            found[job.folder] = job
        return found

    def _there(self) -> StagePlan:
        return replace(self.plan, folder=self.folder)


class Jobs:
    """All jobs of a study.

    Args:
        study: The study.
        recipe: Its recipe.
        loader_processes: For stages that leave `data.workers` open.

    Raises:
        FacekdError: A method cannot be trained as it is, as `plan_recipe`.
    """

    def __init__(self, study: Study, recipe: Recipe, loader_processes: int) -> None:
        self.study = study
        self.folder = study.runs_folder
        self.recipe = recipe.model_copy(update={"output": str(self.folder)})
        self.plans = {plan.name: plan for plan in plan_recipe(self.recipe)}
        self.loader_processes = loader_processes
        for plan in self.plans.values():
            check_validation(plan)
        self._made: dict[tuple[str, int], Job] = {}

    def job(self, stage: str, seed: int) -> Job:
        """The job of a stage and a seed, always the same object."""
        key = (stage, seed)
        if key not in self._made:
            self._made[key] = self._make(stage, seed)
        return self._made[key]

    def _make(self, name: str, seed: int) -> Job:
        plan = self.plans[name]
        sources = {k: s for k, s in plan.stage.sources().items() if s in self.plans}
        jobs = {key: self.job(s, self._seed_of(s, seed)) for key, s in sources.items()}
        words = {key: self._words(job) for key, job in jobs.items()}
        settings, settings_hash = _settings(plan, words)
        folder = self.folder / f"{name}-seed{seed}-{settings_hash[:8]}"
        stage = _on_files(plan.stage, {sources[key]: job.model_path for key, job in jobs.items()})
        data = stage.data or self.recipe.data
        if data.workers is None:
            stage = stage.model_copy(
                update={"data": data.model_copy(update={"workers": self.loader_processes})}
            )
        cache = self.recipe.cache
        if not cache.dir:
            cache = cache.model_copy(update={"dir": str(self.folder / "cache")})
        recipe = self.recipe.model_copy(
            update={
                "output": str(folder),
                "cache": cache,
                "seed": seed,
                "stages": {name: stage},
            }
        )
        return Job(plan, seed, folder, recipe, tuple(jobs.values()), settings, settings_hash)

    def _seed_of(self, source: str, seed: int) -> int:
        """Of a stage that one with `seed` builds on."""
        return self.study.seeds[0] if source in self.study.shared else seed

    def _words(self, job: Job) -> str:
        seed = f"seed {job.seed}" if job.name in self.study.shared else "same seed"
        return f"{job.name} {job.settings_hash}, {seed}"


def _settings(plan: StagePlan, built_on: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Everything, resolved, and the hash of what counts."""
    full = settings_of(plan)
    del full["seed"]
    full["built_on"] |= built_on
    asked = plan.stage.model_dump(mode="json", exclude_defaults=True)
    data = plan.data.model_dump(mode="json", exclude_defaults=True)
    cache = plan.cache.model_dump(mode="json", exclude_defaults=True)
    counts = {key: value for key, value in asked.items() if key in full}
    counts["model"] = _network(plan.stage.model)
    if not counts["model"]:
        del counts["model"]
    counts["loss"], counts["built_on"] = full["loss"], full["built_on"]
    counts["data"] = {key: value for key, value in data.items() if key in full["data"]}
    counts["data"]["fingerprint"] = full["data"]["fingerprint"]
    counts["cache"] = {key: value for key, value in cache.items() if key in (full["cache"] or {})}
    text = json.dumps(_without_folders(counts), sort_keys=True)
    return _without_folders(full), fingerprint(["study settings 1", text])


def _network(settings: Network) -> dict[str, Any]:
    """What is asked of a network, beyond what it is where nothing is asked."""
    asked = settings.model_dump(mode="json", exclude_defaults=True)
    name = settings.backbone
    usual = {"embedding_dim": usual_width(name), "input_size": usual_size(name)}
    return {key: value for key, value in asked.items() if usual.get(key) != value}


def _without_folders(value: Any) -> Any:
    """The same with paths cut to their last part: folders differ between machines."""
    if isinstance(value, dict):
        return {key: _without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and os.sep in value else value


def _on_files(stage: Stage, files: Mapping[str, Path]) -> Stage:
    """The stage with other stages' names replaced by the files they leave."""
    changes: dict[str, Any] = {}
    for key, source in stage.sources().items():
        if source not in files:
            continue
        section = getattr(stage, key)
        if isinstance(section, str):
            changes[key] = str(files[source])
            continue
        field = next(f for f in type(section).model_fields if getattr(section, f) == source)
        changes[key] = section.model_copy(update={field: str(files[source])})
    return stage.model_copy(update=changes)
