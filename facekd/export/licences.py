"""Which licences the parts of a network have: a network is no freer than what it is made of."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from facekd.eval.table import Table
from facekd.model import SUFFIXES

UNKNOWN = "unknown"
DRAWN = "none needed: faces drawn by facekd, no photographs"


@dataclass(frozen=True)
class Licences:
    """What whoever exports says of the parts; "unknown" where they do not.

    Attributes:
        data: Of the training images.
        teacher: Of the teacher's weights.
        weights: Of the weights that training began with, or that were imported.
    """

    data: str = UNKNOWN
    teacher: str = UNKNOWN
    weights: str = UNKNOWN


def parts_table(described: dict[str, Any], licences: Licences) -> Table:
    """The parts of a network with their licences.

    Args:
        described: The network's description, as its file has it.
        licences: What is known of them.
    """
    recipe = recipe_of(described)
    rows = [("training images", *_images(recipe, licences.data))]
    if teacher := teacher_of(recipe):
        rows.append(("teacher", *_network(teacher, licences.teacher)))
    if start := recipe.get("start_from"):
        rows.append(("starting weights", *_network(start, licences.weights)))
    if source := described.get("imported_from"):
        rows.append(("imported weights", f"trained by others, {source}", licences.weights))
    elif not start and licences.weights != UNKNOWN:
        rows.append(("weights", UNKNOWN, licences.weights))
    rows.append(("software", "facekd", "MIT"))
    return Table("Parts", ("part", "what", "licence"), tuple(rows), words=3)


def recipe_of(described: dict[str, Any]) -> dict[str, Any]:
    """The settings of the training; empty where the file has none."""
    return section(described, "recipe")


def section(settings: dict[str, Any], key: str) -> dict[str, Any]:
    """A section of settings; empty where there is none: files come from anywhere."""
    found = settings.get(key)
    return found if isinstance(found, dict) else {}


def teacher_of(recipe: dict[str, Any]) -> str | None:
    """The teacher, a file or a stage; "unknown" where settings do not say; None where none was."""
    if recipe.get("teacher", UNKNOWN) is None:
        return None
    return str(section(recipe, "teacher").get("model", UNKNOWN))


def short_path(text: object) -> str:
    """The last two parts of a path: enough to know it by, and nothing of the machine."""
    return "/".join(PurePath(str(text)).parts[-2:])


def sources_of(recipe: dict[str, Any]) -> list[str]:
    """The training images' files, in short."""
    data = section(recipe, "data")
    found = data.get("source", UNKNOWN)
    named = list(found) if isinstance(found, list | tuple) else [found]
    named = [one for one in named if one != "none"] + [
        one for one in [data.get("unlabelled")] if one
    ]
    return [short_path(one) for one in named]


def _images(recipe: dict[str, Any], licence: str) -> tuple[str, str]:
    sources = sources_of(recipe)
    if sources == ["synthetic"]:
        return "synthetic", DRAWN if licence == UNKNOWN else licence
    return ", ".join(sources), licence


def _network(name: object, licence: str) -> tuple[str, str]:
    """A file, or a stage of the same run, whose licence is that of its own parts."""
    if name == UNKNOWN or str(name).lower().endswith(SUFFIXES):
        return short_path(name), licence
    told = "that of its own training images and teacher" if licence == UNKNOWN else licence
    return f"stage {name} of the same run", told
