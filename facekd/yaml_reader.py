"""Reading a recipe's YAML as its writer meant it, and remembering the line of every key.

`1e-4` is a number (YAML 1.1 reads a string); `on`, `off`, `yes`, `no` stay words, and the field's
own type decides what they mean; a key given twice and a tag (`!!python/...`) are errors;
`${NAME}` in a string is the environment variable of that name.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from facekd.errors import FacekdError
from facekd.input_file import MAX_RECIPE, check_input

KeyPath = tuple[str | int, ...]

_FLOAT = re.compile(r"^[-+]?(\d[\d_]*)?\.?\d+([eE][-+]?\d+)?$|^[-+]?\d+\.([eE][-+]?\d+)?$")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{t}" for t in ("map", "seq", "str", "int", "float", "bool", "null")
}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with numbers and words read as people write them."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose a node; aliases are refused (a few of them can expand without bound)."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not allowed; use `common:` to share settings", mark
            )
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith((":bool", ":timestamp"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


class Document:
    """A parsed YAML file.

    Attributes:
        data: Plain dicts, lists and scalars.
        lines: Line number (from 1) of every key and list item, by its path from the root.
        words: The values that are strings, by path.
    """

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.lines: dict[KeyPath, int] = {}
        self.words: dict[KeyPath, str] = {}
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            self.data: Any = {} if node is None else self._build(loader, node, ())
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or str(error).splitlines()[0]
            raise FacekdError(f"{name}{line}: not valid YAML ({problem}).") from error
        except RecursionError as error:
            raise FacekdError(f"{name}: brackets nested too deep for a recipe.") from error

    def where(self, path: KeyPath) -> str:
        """`file line N` of a key, or of its nearest ancestor that the file spells out."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return f"{self.name} line {self.lines[path[:end]]}"
        return self.name

    def _build(self, loader: _Loader, node: yaml.Node, path: KeyPath) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if node.tag not in _PLAIN_TAGS:
            raise FacekdError(
                f"{self.name} line {line}: the tag {node.tag!r} is not allowed in a recipe; "
                "write plain values only."
            )
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(loader, n, (*path, i)) for i, n in enumerate(node.value)]
        try:
            value = loader.construct_object(node, deep=True)
        except (ValueError, LookupError) as error:
            kind = node.tag.rpartition(":")[2]
            raise FacekdError(f"{self.name} line {line}: {node.value!r} is no {kind}.") from error
        if not isinstance(value, str):
            return value
        self.words[path] = self._expand(value, line)
        return self.words[path]

    def _mapping(self, loader: _Loader, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in built:
                first = self.lines[(*path, key)]
                raise FacekdError(
                    f"{self.name} line {line}: the key {key!r} is given twice "
                    f"(first on line {first}); keep one."
                )
            self.lines[(*path, key)] = line
            built[key] = self._build(loader, value_node, (*path, key))
        return built

    def _expand(self, text: str, line: int) -> str:
        def value_of(match: re.Match[str]) -> str:
            name = match.group(1)
            if name not in os.environ:
                raise FacekdError(
                    f"{self.name} line {line}: the environment variable {name} is not set; "
                    f"set it to the folder that the recipe expects there: export {name}=..."
                )
            return os.environ[name]

        return _VARIABLE.sub(value_of, text)


def read_document(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        FacekdError: The file cannot be read, or is not the plain YAML described above.
    """
    try:
        check_input(path, MAX_RECIPE)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FacekdError(f"cannot read the recipe {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise FacekdError(
            f"{path} line {line} is no UTF-8 text (byte {error.object[error.start]:#04x}); save "
            "the recipe as UTF-8."
        ) from error
    return Document(text, path.name)


def parse_value(text: str) -> Any:
    """The value of `key=value` on a command line, read as it would be in the file."""
    return Document(text, "command line").data if text.strip() else ""
