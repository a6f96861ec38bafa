"""Run insightface's own ijb_11.py on saved embeddings: all its code but embedding and figure.

    python benchmarks/insightface_ijb_11.py CLONE DIR

CLONE: a clone of https://github.com/deepinsight/insightface (read at commit
7fadd420c2351d0ffa8cac403421c1a3ed733365). DIR: as ijbc_made.py writes it. The scores are left in
IJBC_result/insightface.npy of the working directory, where IJBC must be DIR/IJBC.

Its imports that do no arithmetic (mxnet's embedding, menpo, prettytable, matplotlib) are replaced
by objects that take any call, `get_image_feature` by a function that maps the embeddings and reads
the detector's scores from the list as the original does; `np.int`, which numpy dropped, is `int`.
"""

import ast
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

SCRIPT = "recognition/_evaluation_/ijb/ijb_11.py"
STUBS = ["embedding", "menpo", "menpo.visualize", "menpo.visualize.viewmatplotlib", "prettytable"]
STUBS += ["matplotlib", "matplotlib.pyplot"]


class Anything(ModuleType):
    """Has every attribute, takes every call, and can be gone through for ever."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name: str) -> "Anything":
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> "Anything":
        """Whatever it was, done."""
        return self

    def __iter__(self) -> Iterator[Any]:
        return repeat(self)


class PlainTable(list[list[str]]):
    """What the script asks of a PrettyTable."""

    def __init__(self, names: list[str]) -> None:
        super().__init__([names])
        self.add_row = self.append

    def __str__(self) -> str:
        return "\n".join("  ".join(row) for row in self)


def main() -> None:
    clone, folder = map(Path, sys.argv[1:])
    tree = ast.parse((clone / SCRIPT).read_text())
    replaced = "get_image_feature"
    kept = [n for n in tree.body if not (isinstance(n, ast.FunctionDef) and n.name == replaced)]
    if len(kept) == len(tree.body):
        sys.exit(f"{clone / SCRIPT} has no function {replaced}; is it another version?")
    tree.body = kept

    def get_image_feature(images: str, faces: str, *model: object) -> tuple[Any, Any]:
        with open(faces) as lines:
            scores = [line.strip().split(" ")[-1] for line in lines]
        return np.load(folder / "embeddings.npy", mmap_mode="r"), np.array(scores, dtype=np.float32)

    sys.modules |= {name: Anything(name) for name in STUBS}
    sys.modules["prettytable"].PrettyTable = PlainTable  # type: ignore[attr-defined]
    np.int = int  # type: ignore[attr-defined]
    sys.argv = [SCRIPT, "--target", "IJBC"]
    exec(compile(tree, SCRIPT, "exec"), {"__name__": "__main__", replaced: get_image_feature})


if __name__ == "__main__":
    main()
