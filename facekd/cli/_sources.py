"""What a command line evaluates: networks, saved embeddings, saved scores, each with a name."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facekd.errors import FacekdError

SourceKind = Literal["model", "embeddings", "scores"]


@dataclass(frozen=True)
class Source:
    """Where one model's numbers come from: its weights, its embeddings or its scores."""

    name: str
    path: Path
    kind: SourceKind


def read_sources(arguments: argparse.Namespace) -> list[Source]:
    """All of them; a file without NAME= is called by its stem.

    Raises:
        FacekdError: There is none or nothing to measure it on, two have one name, or embeddings or
            scores are not there.
    """
    given: tuple[tuple[SourceKind, list[str]], ...] = (
        ("model", arguments.model),
        ("embeddings", arguments.embeddings),
        ("scores", arguments.scores),
    )
    sources: list[Source] = []
    for kind, texts in given:
        for text in texts:
            source = _source(kind, text)
            if any(source.name == other.name for other in sources):
                raise FacekdError(
                    f"two models are both named {source.name!r}; give one as "
                    f"--{kind} NAME={source.path}."
                )
            sources.append(source)
    if not sources:
        raise FacekdError(
            "nothing to evaluate; give --bench NAME with --model, --embeddings or --scores FILE, "
            "or --list."
        )
    if arguments.halves and not arguments.embeddings:
        raise FacekdError("--halves tells what rows of --embeddings are, and there are none.")
    if not arguments.bench and any(source.kind != "scores" for source in sources):
        raise FacekdError(
            "models and embeddings need a bench to be scored on; give --bench NAME, or --list."
        )
    return sources


def read_models(texts: list[str]) -> list[Source]:
    """The networks of `--model` alone, each with a name of its own.

    Raises:
        FacekdError: There is none, or two have one name.
    """
    sources = [_source("model", text) for text in texts]
    names = [source.name for source in sources]
    for source in sources:
        if names.count(source.name) > 1:
            raise FacekdError(
                f"two models are both named {source.name!r}; give one as "
                f"--model NAME={source.path}."
            )
    if not sources:
        raise FacekdError("nothing to evaluate; give --model FILE.")
    return sources


def _source(kind: SourceKind, text: str) -> Source:
    name, path = named_file(kind, text)
    if kind != "model" and not path.is_file():
        raise FacekdError(f"--{kind} {text}: there is no file {path}.")
    return Source(name, path, kind)


def named_file(option: str, text: str) -> tuple[str, Path]:
    """`NAME=FILE`, or FILE, whose stem is its name.

    What stands before an equals sign is no name where it holds a slash.
    """
    name, mark, file = text.partition("=")
    if not mark or "/" in name or Path(text).exists():
        name, file = Path(text).stem, text
    if not name.strip() or not file:
        raise FacekdError(f"--{option} {text}: give FILE, or NAME=FILE.")
    return name, Path(file)
