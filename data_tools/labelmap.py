"""Which row of a classifier means which identity, with a hash to compare two maps by."""

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from ..errors import FacekdError
from ..files import write_text
from ..input_file import MAX_JSON, check_input

_FORMAT = 1


@dataclass(frozen=True)
class LabelMap:
    """The identities of a head, in the order of its rows.

    Attributes:
        names: Identity names; row i of the head belongs to `names[i]`.
        source: What gives the names their meaning: empty where they speak for themselves (folder
            names), the data's fingerprint where they are mere numbers (raw labels of a `.rec`).
            Never a path: it is part of the hash.
    """

    names: tuple[str, ...]
    source: str = ""

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            twice = next(name for i, name in enumerate(self.names) if name in self.names[:i])
            raise FacekdError(f"a label map holds the identity {twice!r} twice.")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def hash(self) -> str:
        """The first 16 hex digits of the SHA-256 of source and names, in order."""
        text = json.dumps([self.source, *self.names], ensure_ascii=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """The whole map as JSON text, `format` 1."""
        content = {
            "format": _FORMAT,
            "hash": self.hash,
            "source": self.source,
            "names": list(self.names),
        }
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "LabelMap":
        """Read what `to_json` wrote.

        Raises:
            FacekdError: Not such a text, a later format, or a hash that does not fit the names.
        """
        try:
            content = json.loads(text)
            form, names, source = content["format"], content["names"], content["source"]
            stored = content["hash"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FacekdError(
                f"this is no label map in facekd's JSON format ({error!r})."
            ) from error
        if form != _FORMAT:
            raise FacekdError(f"a label map has format {form!r}; this facekd reads {_FORMAT}.")
        if not isinstance(source, str) or not isinstance(names, list):
            raise FacekdError("this is no label map: 'names' must be a list and 'source' a text.")
        if not all(isinstance(name, str) for name in names):
            raise FacekdError("a label map's names must all be text.")
        result = cls(tuple(names), source)
        if result.hash != stored:
            raise FacekdError(
                f"a label map was changed by hand: its hash says {stored}, its names {result.hash}."
            )
        return result

    def save(self, path: str | Path) -> None:
        """Write the map to a JSON file, atomically."""
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "LabelMap":
        """Read a file that `save` wrote; a FacekdError names the file."""
        try:
            check_input(path, MAX_JSON)
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise FacekdError(f"cannot read the label map {path}: {error}.") from error
        except FacekdError as error:
            raise FacekdError(f"{path}: {error}") from error
