"""Name -> builder, filled by a decorator."""

import inspect
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from facekd.errors import FacekdError, did_you_mean

T = TypeVar("T")


def first_line(entry: object) -> str:
    """The first line of an entry's docstring, as lists of what there is show it."""
    return (inspect.getdoc(entry) or "").partition("\n")[0]


class Registry(Generic[T]):
    """A table of named things of one kind ("backbone", "term", ...).

    Args:
        kind: What the entries are called in error messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        self._rooms: dict[str, Callable[[str], T]] = {}

    def register(self, name: str, *aliases: str) -> Callable[[T], T]:
        """Decorator that enters a thing under `name` (and `aliases`); a taken name is a bug."""

        def enter(entry: T) -> T:
            for key in (name, *aliases):
                if key in self._entries or key in self._aliases:
                    raise ValueError(f"{self.kind} {key!r} is registered twice")
            self._entries[name] = entry
            self._aliases.update(dict.fromkeys(aliases, name))
            return entry

        return enter

    def delegate(self, prefix: str, find: Callable[[str], T]) -> None:
        """Let another register answer for all names that begin with `prefix`.

        Args:
            prefix: Such as "torchvision/".
            find: The rest of a name -> the thing; raises a FacekdError where there is none.
        """
        self._rooms[prefix] = find

    def _delegated(self, name: str) -> T | None:
        for prefix, find in self._rooms.items():
            if name.startswith(prefix):
                return find(name.removeprefix(prefix))
        return None

    def canonical(self, name: str) -> str:
        """The full name behind a name or an alias.

        Raises:
            FacekdError: Nothing is registered under `name`; the message lists the near names.
        """
        if self._delegated(name) is not None:
            return name
        full = self._aliases.get(name, name)
        if full not in self._entries:
            hint = did_you_mean(name, [*self._entries, *self._aliases])
            raise FacekdError(f"unknown {self.kind} {name!r}; {hint}")
        return full

    def __getitem__(self, name: str) -> T:
        delegated = self._delegated(name)
        return self._entries[self.canonical(name)] if delegated is None else delegated

    def __contains__(self, name: str) -> bool:
        try:
            return bool(self.canonical(name))
        except FacekdError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def aliases(self, name: str) -> list[str]:
        """The other names of an entry."""
        return sorted(a for a, full in self._aliases.items() if full == name)
