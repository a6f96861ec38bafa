"""`facekd-model info`: what a network's file holds."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.cli._data_common import Commands, add_command
from facekd.cli._network import add_input_options, load_as_asked

if TYPE_CHECKING:
    from facekd.embedder import Embedder

EXAMPLE = """examples:
  facekd-model info student.pt
  facekd-model info teacher.onnx --json
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "info",
        "what a network's file holds: architecture, input, width, parameters, where it is from",
        EXAMPLE,
    )
    parser.add_argument(
        "model", metavar="FILE", type=Path, help=".pt, .pth, .ckpt, .safetensors, .params or .onnx"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")
    add_input_options(parser)
    parser.set_defaults(work=_info)


def _info(arguments: argparse.Namespace) -> None:
    facts = describe(load_as_asked(arguments.model, arguments), arguments.model)
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        print(as_table(facts))


def describe(model: "Embedder", path: Path) -> dict[str, Any]:
    """What can be said of a network, in plain values; parameters and MACs where they are known."""
    from facekd.backbones import count
    from facekd.model import FaceModel

    preprocess = model.preprocess
    facts: dict[str, Any] = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "embedding_dim": model.embedding_dim,
        **preprocess.describe(),
    }
    if not isinstance(model, FaceModel):
        return {"architecture": "onnx"} | facts
    params, macs = count(model.backbone, preprocess.input_size)
    described = {k: v for k, v in model.description.items() if k not in ("backbone", "preprocess")}
    arguments = model.description["backbone"]["kwargs"]
    return (
        {"architecture": model.backbone_name, "arguments": arguments}
        | facts
        | {"parameters": params, "macs": macs}
        | described
    )


def as_table(facts: dict[str, Any]) -> str:
    """The facts, one a line; what is long or nested only by its own name or number of entries."""
    shown = {key: value for key, value in facts.items() if value not in ({}, None)}
    shown["bytes"] = f"{facts['bytes']:,}"
    lo, hi = facts["input_range"]
    shown["input_range"] = f"0..255 -> {lo:g}..{hi:g}"
    for key in shown.keys() & {"mean", "std"}:
        shown[key] = ", ".join(f"{value:g}" for value in shown[key])
    if "parameters" in facts:
        shown["parameters"] = f"{facts['parameters'] / 1e6:.3f} M"
        shown["macs"] = f"{facts['macs'] / 1e9:.3f} G"
    if "arguments" in shown:
        shown["arguments"] = ", ".join(f"{k}={v}" for k, v in facts["arguments"].items())
    if isinstance(recipe := facts.get("recipe"), dict):
        shown["recipe"] = recipe.get("name", f"{len(recipe)} settings (see --json)")
    return "\n".join(f"{key.replace('_', ' '):<17} {value}" for key, value in shown.items())
