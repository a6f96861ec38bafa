"""The schema of a study file, and the one recipe that it makes of its methods.

A study is a grid: methods x seeds, over one recipe. A method is a stage: one of the recipe, or one
that starts `like` one of them, with settings of its own over it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from facekd.errors import FacekdError, did_you_mean
from facekd.recipe import Fraction, NaturalNumber, Positive, Recipe, select_stages
from facekd.recipe_file import build_recipe, find_recipe, merge_stage
from facekd.yaml_reader import Document, KeyPath, parse_value, read_document

_OVERRIDE = "study."
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Seeds = Annotated[tuple[NaturalNumber, ...], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudyBench(_Strict):
    """A verification set that every finished network is judged on."""

    source: str = Field(
        default="",
        description="holdout, or what facekd-eval --bench takes; val with task: classification; "
        "default: its own name",
    )
    flip: bool = Field(default=True, description="add the mirrored image's embedding")
    pairs: tuple[Positive, Positive] | None = Field(
        default=None, description="first and last pair used, counted from 1; default: all"
    )
    draw: Positive = Field(default=6000, description="pairs drawn from `holdout`")
    teacher_head: Fraction = Field(
        default=0.0,
        description="of classes: the share of the teacher's head, where the loss reads it",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {} if value is None else {"source": value} if isinstance(value, str) else value


class Method(BaseModel):
    """One of the things compared: a stage; what is not named here are the stage's own settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    like: str | None = Field(
        default=None, description="stage it starts from; default: the recipe's of its name, if any"
    )
    seeds: Seeds | None = Field(default=None, description="default: the study's")

    @property
    def stage(self) -> dict[str, Any]:
        """The stage's own settings."""
        return dict(self.model_extra or {})


class Study(_Strict):
    """A study file."""

    format: Literal[1] = 1
    description: str = ""
    recipe: str = Field(description="a shipped recipe, or a file, by a path from the study's")
    set: dict[str, Any] = Field(
        default_factory=dict, description="key.path: value over the recipe, for all methods"
    )
    seeds: Seeds = (0,)
    shared: tuple[str, ...] = Field(
        default=(),
        description="stages that others build on, taken from the first seed for all seeds; any "
        "other is made once a seed",
    )
    bench: dict[str, StudyBench] = Field(min_length=1, description="the first is the one drawn")
    baseline: str = Field(default="", description="default: the first method")
    results: str = Field(default="", description="CSV, by a path from the study's; default: beside")
    runs: str = Field(default="", description="where networks and scores go; default: runs/<name>")
    threads: Positive | None = Field(default=None, description="of a run; default: cores / jobs")
    stages: dict[Name, dict[str, Any] | None] = Field(
        default_factory=dict, description="further stages that methods build on"
    )
    methods: dict[Name, Method] = Field(min_length=1)
    _path: Path = PrivateAttr()
    _document: Document = PrivateAttr()

    @field_validator("methods", mode="before")
    @classmethod
    def _empty_ones(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {} if method is None else method for name, method in value.items()}

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        for seeds in (self.seeds, *(m.seeds or () for m in self.methods.values())):
            if len(set(seeds)) < len(seeds):
                raise ValueError(f"a seed is given twice in {list(seeds)}")
        if self.baseline and self.baseline not in self.methods:
            near = did_you_mean(self.baseline, self.methods)
            raise ValueError(f"baseline: no method {self.baseline!r}; {near}")
        return self

    @property
    def name(self) -> str:
        """The file's stem."""
        return self._path.stem

    @property
    def against(self) -> str:
        """The method that the others are compared with."""
        return self.baseline or next(iter(self.methods))

    @property
    def results_path(self) -> Path:
        """The CSV with a row a finished run."""
        return self._path.parent / Path(self.results or f"{self.name}.csv").expanduser()

    @property
    def runs_folder(self) -> Path:
        """Networks, scores and figures."""
        return Path(self.runs).expanduser() if self.runs else Path("runs") / self.name

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """The seeds of one method."""
        return self.methods[method].seeds or self.seeds

    def make_recipe(self, overrides: Sequence[str] = ()) -> Recipe:
        """The recipe whose stages are the methods and what they build on.

        Args:
            overrides: `key.path=value` over the study's own `set`.

        Raises:
            FacekdError: A mistake in the recipe or in a method, with its place.
        """
        base = read_document(_recipe_path(self.recipe, self._path))
        document = _Joined(self, self._document, base)
        first = [f"{key}={json.dumps(value)}" for key, value in self.set.items()]
        said_in = f"{document.name} `set`" + (" or command line" if overrides else "")
        recipe = build_recipe(document, [*first, *overrides], str(self.runs_folder), said_in)
        recipe = select_stages(recipe, list(self.methods))
        for name in self.shared:
            if name not in recipe.stages:
                place = self._document.where(("shared",))
                raise FacekdError(
                    f"{place}: shared: no method builds on a stage {name!r}; "
                    f"{did_you_mean(name, recipe.stages)}"
                )
        for name, stage in recipe.stages.items():
            if stage.seed is not None:
                raise FacekdError(
                    f"{document.where(('stages', name, 'seed'))}: stage {name!r} has a seed of its "
                    "own; the study's `seeds` say which are run, so leave it out."
                )
        return recipe


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Study, list[str]]:
    """Read and check a study file.

    Args:
        path: The YAML file.
        overrides: `key.path=value`; those that start with `study.` are of the study's own keys.

    Returns:
        The study, and the overrides that are the recipe's.

    Raises:
        FacekdError: Any mistake in it: file, line, what was found and the near key.
    """
    path = Path(path)
    document = read_document(path)
    if not isinstance(document.data, dict):
        raise FacekdError(f"{document.name}: a study is a mapping of keys, not a plain value.")
    raw = dict(document.data)
    for override in overrides:
        key, found, text = override.partition("=")
        if not found or not key:
            raise FacekdError(f"{override!r} is not key.path=value, such as study.seeds=[0].")
        if key.startswith(_OVERRIDE):
            raw[key.removeprefix(_OVERRIDE)] = parse_value(text)
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        raise FacekdError(_first_mistake(error, document)) from error
    study._path, study._document = path, document
    return study, [o for o in overrides if not o.startswith(_OVERRIDE)]


class _Joined(Document):
    """The recipe's keys and the study's as one document; each knows its file and line."""

    def __init__(self, study: Study, own: Document, base: Document) -> None:
        self.name, self._base_name = own.name, base.name
        self.data = dict(base.data) if isinstance(base.data, dict) else base.data
        self.lines, self.words = dict(base.lines), dict(base.words)
        self._own: set[KeyPath] = set()
        for section in ("stages", "methods"):
            self._take(own, section)
        stages = self.data.get("stages") if isinstance(self.data, dict) else None
        if isinstance(stages, dict):
            self.data["stages"] = _all_stages(study, own, stages)

    def where(self, path: KeyPath) -> str:
        """`file line N` of a key, or of its nearest ancestor that either file spells out."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                name = self.name if path[:end] in self._own else self._base_name
                return f"{name} line {self.lines[path[:end]]}"
        return self.name

    def _take(self, own: Document, section: str) -> None:
        lines = {("stages", *p[1:]): n for p, n in own.lines.items() if p[:1] == (section,)}
        words = {("stages", *p[1:]): w for p, w in own.words.items() if p[:1] == (section,)}
        self.lines |= lines
        self.words |= words
        self._own |= lines.keys()


def _all_stages(study: Study, own: Document, base: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's stages, the study's and the methods; one of a known name replaces that one."""
    stages = {**base, **study.stages}
    for name, method in study.methods.items():
        if method.like is not None and method.like not in stages:
            raise FacekdError(
                f"{own.where(('methods', name, 'like'))}: no stage {method.like!r} to start from; "
                f"{did_you_mean(method.like, stages)}"
            )
        like = name if method.like is None else method.like
        under = stages.get(like)
        stages[name] = merge_stage(under if isinstance(under, dict) else {}, method.stage)
    return stages


def _recipe_path(recipe: str, study: Path) -> Path:
    """The recipe's file: beside the study, else as facekd-train finds it."""
    beside = study.parent / Path(recipe).expanduser()
    return beside if beside.is_file() else find_recipe(recipe)


def _first_mistake(error: ValidationError, document: Document) -> str:
    details = error.errors()
    first = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    path: KeyPath = tuple(first["loc"])
    dotted = ".".join(str(part) for part in path)
    if first["type"] == "extra_forbidden":
        model = StudyBench if path[:1] == ("bench",) else Study
        near = did_you_mean(str(path[-1]), model.model_fields)
        return f"{document.where(path)}: unknown key {dotted!r}; {near}"
    message = first["msg"].removeprefix("Value error, ")
    found = first["input"]
    shown = f", found {found!r}" if isinstance(found, str | int | float | bool) else ""
    end = "" if message.endswith(("?", ".")) and not shown else "."
    return f"{document.where(path)}: {dotted + ': ' if dotted else ''}{message}{shown}{end}"
