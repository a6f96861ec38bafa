"""Options of `facekd-eval` that change nothing where they are given."""

import argparse
from collections.abc import Sequence

from facekd.cli._network import refuse_without_network
from facekd.cli._sources import Source
from facekd.errors import FacekdError
from facekd.eval.benchmarks import Bench, BenchKind

_TEMPLATES: frozenset[BenchKind] = frozenset({"ijb", "ijb_1n"})
_LISTS: frozenset[BenchKind] = frozenset({"csv", "lfw", "ijb"})
_ABOUT_BENCHES: dict[str, tuple[frozenset[BenchKind], str]] = {
    "no_norm": (_TEMPLATES, "the templates of IJB-B and IJB-C"),
    "no_detector": (_TEMPLATES, "the templates of IJB-B and IJB-C"),
    "keep_duplicates": (_LISTS, "pairs that a .csv, a .txt or IJB's list gives twice"),
    "missing": (_LISTS | {"cfp", "ijb_1n"}, "images that a list names"),
}
"""What an option is about: kinds of benches, and the same in words."""


def refuse_unused(
    arguments: argparse.Namespace, sources: Sequence[Source], benches: Sequence[Bench]
) -> None:
    """Refuse options that nothing on the command line obeys.

    Args:
        arguments: The command line's.
        sources: What is evaluated.
        benches: On what; none where scores bring their own answers.

    Raises:
        FacekdError: The first such option.
    """
    refuse_without_network(arguments)
    if arguments.no_flip and all(source.kind == "scores" for source in sources):
        raise FacekdError("--no-flip is about embeddings, and scores are given; leave it out.")
    if arguments.seed and not arguments.bootstrap:
        raise FacekdError("--seed is the bootstrap's; give --bootstrap N, too, or leave it out.")
    for name, (kinds, words) in _ABOUT_BENCHES.items():
        given = getattr(arguments, name) not in (False, "error")
        if given and not any(bench.kind in kinds for bench in benches):
            on = f"--bench {arguments.bench}" if benches else "scores without a bench"
            raise FacekdError(
                f"--{name.replace('_', '-')} is about {words}, and {on} has none; leave it out."
            )
