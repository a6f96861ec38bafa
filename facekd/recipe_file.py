"""From a recipe's file and the command line to a checked `Recipe`; mistakes with their line."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from facekd.errors import FacekdError, did_you_mean
from facekd.recipe import Recipe, Stage
from facekd.yaml_reader import Document, KeyPath, parse_value, read_document

# sections that a stage replaces as a whole instead of merging them into `common`'s
_WHOLE = {"model", "loss", "teacher", "head", "data"}
# what a section means that is given as a plain word
_SHORT_FORM = {"data": "source", "teacher": "model", "head": "source", "loss": "preset"}


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with facekd."""
    folder = Path(str(resources.files("facekd.recipes")))
    return {p.stem: p for p in sorted(folder.glob("*.yaml"))}


def load_recipe(source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        source: A YAML file, or the name of a shipped recipe.
        overrides: `key.path=value` settings that win over the file.

    Raises:
        FacekdError: Any mistake in it: file, line, what was found and the near key.
    """
    path = find_recipe(source)
    return build_recipe(read_document(path), overrides, f"runs/{path.stem}")


def build_recipe(
    document: Document, overrides: Sequence[str], output: str, said_in: str = "command line"
) -> Recipe:
    """Check the recipe that a document and settings over it make.

    Args:
        document: The keys, with the places where they stand.
        overrides: `key.path=value` settings that win over them.
        output: The run folder where none is named.
        said_in: Where the overrides come from, for messages.

    Raises:
        FacekdError: As `load_recipe`.
    """
    if not isinstance(document.data, dict):
        raise FacekdError(f"{document.name}: a recipe is a mapping of keys, not a plain value.")
    raw = dict(document.data)
    shared = [o for o in overrides if o.startswith("common.")]
    for override in shared:
        _override(raw, override)
    raw = _merge_common(raw, document)
    for override in overrides:
        if override not in shared:
            _override(raw, override)
    raw.setdefault("output", output)
    places = _Places(document, overrides, said_in)
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise FacekdError(_first_mistake(error, places)) from error
    for name, stage in recipe.stages.items():
        if stage.start_from and stage.start_from.lower().endswith(".onnx"):
            raise FacekdError(
                f"{places.of(('stages', name, 'start_from'))}: stages.{name}.start_from: "
                f"{stage.start_from} is a graph to run, not weights to train on; give the weights "
                "(.pt, .pth, .safetensors, .params), or learn from it: teacher: "
                f"{stage.start_from}."
            )
    recipe._place = places.of_message
    return recipe


def find_recipe(source: str) -> Path:
    """The file that a recipe's path or name means.

    Raises:
        FacekdError: There is none, or it is a folder.
    """
    path = Path(source)
    shipped = shipped_recipes()
    if path.is_dir():
        there = sorted(one.name for one in path.glob("*.y*ml"))
        such_as = f", such as {path / there[0]}" if there else ""
        raise FacekdError(
            f"{source} is a folder; give a recipe file{such_as}, or the name of a shipped one "
            f"({', '.join(shipped)})."
        )
    if source in shipped and not path.exists():
        return shipped[source]
    if not path.exists():
        hint = did_you_mean(path.stem if path.suffix in (".yaml", ".yml") else source, shipped)
        raise FacekdError(f"no recipe file {source!r}, and none shipped of that name; {hint}")
    return path


def _override(raw: dict[str, Any], override: str) -> None:
    """Set one key; parts of a section written in its short form (`data: x.rec`) are kept."""
    key, found, text = override.partition("=")
    if not found or not key:
        raise FacekdError(f"{override!r} is not key.path=value, such as output=runs/new.")
    *parents, last = key.split(".")
    stages = raw.get("stages")
    if parents[:1] == ["stages"] and isinstance(stages, dict):
        stage = key.split(".")[1]
        if stage not in stages:
            raise FacekdError(f"{override}: no stage {stage!r}; {did_you_mean(stage, stages)}")
    target = raw
    for part in parents:
        inner = target.get(part)
        if isinstance(inner, str) and part in _SHORT_FORM:
            inner = {_SHORT_FORM[part]: inner}
        target[part] = dict(inner) if isinstance(inner, dict) else {}
        target = target[part]
    target[last] = parse_value(text)


def _merge_common(raw: dict[str, Any], document: Document) -> dict[str, Any]:
    """Put the keys of `common:` under every stage that does not set them itself."""
    common = raw.pop("common", None) or {}
    stages = raw.get("stages")
    if not isinstance(common, dict):
        raise FacekdError(f"{document.where(('common',))}: common must be a mapping of settings.")
    if isinstance(stages, dict):
        raw["stages"] = {
            name: merge_stage(common, stage) if isinstance(stage, dict) or stage is None else stage
            for name, stage in stages.items()
        }
    return raw


def merge_stage(under: dict[str, Any], over: dict[str, Any] | None) -> dict[str, Any]:
    """One stage's settings over another's: sections are merged, those of `_WHOLE` replaced."""
    result = dict(under)
    for key, value in (over or {}).items():
        below = result.get(key)
        both = isinstance(value, dict) and isinstance(below, dict) and key not in _WHOLE
        result[key] = merge_stage(below, value) if both else value  # type: ignore[arg-type]
    return result


def _first_mistake(error: ValidationError, places: "_Places") -> str:
    """One sentence for the first thing wrong: where, what, and the near key."""
    details = error.errors()
    first = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    path = tuple(p for p in first["loc"] if p not in ("function-before", "function-after"))
    more = f" ({len(details) - 1} more after it)" if len(details) > 1 else ""
    dotted = ".".join(str(p) for p in path)
    where = places.of(path)
    if first["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        return f"{where}: unknown key {dotted!r}; {did_you_mean(str(path[-1]), known)}{more}"
    found = first["input"]
    if path == ("stages",):
        none = first["type"] == "missing" or not found
        what = "a recipe needs stages to train" if none else "stages have names and settings"
        return f"{where}: {what}; the smallest recipe is `stages: {{student: {{}}}}`.{more}"
    message = first["msg"].removeprefix("Value error, ")
    shown = f", found {found!r}" if isinstance(found, str | int | float | bool) else ""
    end = "" if message.endswith(("?", ".")) and not shown else "."
    return f"{where}: {dotted + ': ' if dotted else ''}{message}{shown}{end}{more}"


class _Places:
    """Where a recipe's settings come from: lines of the file, or the command line.

    Args:
        document: The file.
        overrides: `key.path=value` settings that win over it.
        said_in: Where those come from.
    """

    def __init__(self, document: Document, overrides: Sequence[str], said_in: str) -> None:
        self.document, self.said_in = document, said_in
        split = (override.partition("=") for override in overrides)
        self.overridden: dict[KeyPath, str] = {tuple(k.split(".")): v for k, _, v in split}

    def of(self, path: KeyPath) -> str:
        """A setting's place; a stage's may stand in `common`."""
        names = tuple(str(part) for part in path)
        shared = ("common", *names[2:]) if names[:1] == ("stages",) and len(names) > 2 else names
        for key in self.overridden:
            if names[: len(key)] == key or shared[: len(key)] == key:
                return self.said_in
        if path not in self.document.lines and shared in self.document.lines:
            return self.document.where(shared)
        return self.document.where(path)

    def of_message(self, path: KeyPath, message: str) -> str:
        """The place of the key under `path` that a message quotes, else of the value; or "".

        The message comes from a floor that knows nothing of files: "no setting 'mm'".
        """
        keys: dict[KeyPath, object] = {key: key[-1] for key in self.document.lines if key}
        keys |= {key: key[-1] for key in self.overridden}
        words: dict[KeyPath, object] = {**self.document.words, **self.overridden}
        for spelled_out in (keys, words):
            quoted = {
                message.find(repr(text)): key
                for key, text in spelled_out.items()
                if (key[: len(path)] == path or key[0] == "common") and repr(text) in message
            }
            if quoted:
                return self.of(quoted[min(quoted)])
        return ""


def _known_keys(path: KeyPath) -> list[str]:
    """The keys that the schema knows at a place of the recipe."""
    model: type[BaseModel] = Recipe
    if path[:1] == ("stages",):
        model, path = Stage, path[2:]
    for part in path:
        model = _model_in(model.model_fields[str(part)].annotation) or model
    extra = ["common"] if model is Recipe else []
    return [*model.model_fields, *extra]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(a) for a in getattr(annotation, "__args__", ()))
    return next((m for m in inner if m is not None), None)
