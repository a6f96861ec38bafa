"""The one error that users of facekd are meant to see, and the words it is made of."""

from collections.abc import Iterable
from difflib import get_close_matches


class FacekdError(Exception):
    """Bad input, told in one sentence: what was found, where, and what to do.

    The commands print it without a traceback and exit with status 2.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Finish an "unknown name" sentence: the near names, or all of them when none is near."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(repr(n) for n in near) + "?"
    return "known: " + ", ".join(names) + "."
