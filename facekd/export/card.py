"""The card that goes with a network: what it is, what it was made of, what it can and cannot do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from facekd.backbones import count
from facekd.eval.results import Evaluation
from facekd.eval.table import Table
from facekd.eval.tables import notes, tables
from facekd.export.facts import facts_of, recipe_name
from facekd.export.licences import (
    UNKNOWN,
    Licences,
    parts_table,
    recipe_of,
    section,
    short_path,
    sources_of,
    teacher_of,
)
from facekd.export.markdown import bullet, markdown_table, plain
from facekd.model import FaceModel

_USE = """\
It tells how alike two aligned face crops are: by the cosine of their embeddings, against a
threshold that was chosen, at a false accept rate, on people like those it will meet. Crops are
aligned by five landmarks to ArcFace's template, at the size above.

- It must not decide alone about anybody: its errors fall on people, and on some groups of people
  more often than on others.
- It does not tell a living face from a picture of one.
- The numbers above hold for the pairs that they were measured on. Another camera, pose, age or
  population gives others: measure again on your own.
- It is not meant for identifying people without their knowledge, nor for guessing anything else
  about them.
"""

_INHERITS = """\
A network takes over the restrictions of what it learnt from: of its training images, and of the
weights of its teacher. facekd's own licence (MIT) covers the program, not these weights. Where a
licence is unknown, nobody has given permission: find out before you use or pass on this file.
"""

_NO_GROUPS = (
    "How often it errs on each group of people was not measured (`facekd-eval --groups`), so "
    "nothing is known of it."
)


@dataclass(frozen=True)
class Made:
    """An exported file, for the card.

    Attributes:
        file: Its name.
        what: Its format and precision.
        size: Bytes, in words.
        sha256: Of its content, hex digits.
        agreement: How near it is to the network, in words.
    """

    file: str
    what: str
    size: str
    sha256: str
    agreement: str


@dataclass(frozen=True)
class Measured:
    """Numbers for the card.

    Attributes:
        title: Where they come from.
        evaluation: The numbers.
        tables: More tables that belong to them.
        sentences: What was decided by them.
    """

    title: str
    evaluation: Evaluation
    tables: tuple[Table, ...] = ()
    sentences: tuple[str, ...] = ()


def card(
    model: FaceModel,
    *,
    licences: Licences,
    measured: Sequence[Measured] = (),
    files: Sequence[Made] = (),
) -> str:
    """The card, in Markdown; what came with files is escaped.

    Args:
        model: The network.
        licences: Of its parts.
        measured: Evaluations of it.
        files: What it was exported as.
    """
    described = model.description
    parts = [
        f"# {plain(model.name)}",
        f"A face-verification network: {plain(model.backbone_name)}, {model.embedding_dim} numbers "
        f"for a face crop of {model.preprocess.input_size} x {model.preprocess.input_size} pixels.",
        "## Network",
        _network(model),
        "## Training",
        _training(described),
        "## Results",
        *_results(measured),
        "## Groups",
        *_groups(measured),
        "## Use and limits",
        _USE.rstrip(),
        "## Licences",
        markdown_table(parts_table(described, licences)),
        _INHERITS.rstrip(),
    ]
    if files:
        rows = tuple((f.file, f.what, f.size, f.agreement, f.sha256) for f in files)
        head = ("file", "what", "size", "against the network", "SHA-256")
        parts += ["## Files", markdown_table(Table("Exported", head, rows, words=5))]
    return "\n\n".join(parts) + "\n"


def _network(model: FaceModel) -> str:
    facts = facts_of(model)
    parameters, macs = count(model.backbone, model.preprocess.input_size)
    lines = [
        bullet("architecture", facts["architecture"]),
        bullet("parameters", f"{parameters:,}"),
        bullet("multiply-accumulates", f"{macs / 1e6:,.1f} M an image"),
        bullet("input of exported files", facts["input"]),
        bullet("output", f"float32 (n, {model.embedding_dim}), not of unit length"),
        bullet("label map", facts["label_map_hash"]),
        bullet("facekd", facts["facekd_version"]),
    ]
    return "\n".join(lines)


def _training(described: dict[str, Any]) -> str:
    """What the file says of its own training, one thing a line."""
    recipe = recipe_of(described)
    lines = [bullet("recipe", recipe_name(described))]
    if not recipe:
        return "\n".join([*lines, bullet("images, method and teacher", UNKNOWN)])
    lines.append(bullet("images", ", ".join(sources_of(recipe))))
    lines.append(bullet("method", ", ".join(_terms(recipe.get("loss"))) or UNKNOWN))
    lines.append(bullet("teacher", short_path(teacher_of(recipe) or "none")))
    if start := recipe.get("start_from"):
        lines.append(bullet("starting weights", short_path(start)))
    if epochs := section(recipe, "schedule").get("epochs"):
        lines.append(
            bullet("epochs", f"{epochs}, {recipe.get('batch_size', UNKNOWN)} images a step")
        )
    return "\n".join(lines)


def _terms(loss: object) -> list[str]:
    """The loss in words: each term, its weight and its settings."""
    words = []
    for spec in loss if isinstance(loss, list) else []:
        if isinstance(spec, dict) and "term" in spec:
            settings = [f"{k} {v}" for k, v in spec.items() if k not in ("term", "weight")]
            told = "; ".join([f"weight {spec.get('weight', 1)}", *settings])
            words.append(f"{spec['term']} ({told})")
    return words


def _results(measured: Sequence[Measured]) -> list[str]:
    if not measured:
        return ["Not measured."]
    parts = []
    for one in measured:
        benches = (replace(b, source=short_path(b.source)) for b in one.evaluation.benches)
        evaluation = replace(one.evaluation, benches=tuple(benches))
        parts.append(f"### {plain(one.title)}")
        parts += [markdown_table(table) for table in (*tables(evaluation), *one.tables)]
        parts.append("\n".join(f"- {plain(note)}" for note in [*one.sentences, *notes(evaluation)]))
    return parts


def _groups(measured: Sequence[Measured]) -> list[str]:
    grouped = any(
        numbers.groups
        for one in measured
        for bench in one.evaluation.benches
        for _, numbers in bench.verified()
    )
    return ["Measured: see the table of groups above."] if grouped else [_NO_GROUPS]
