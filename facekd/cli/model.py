"""facekd-model: look at a network's file, and turn other software's weights into ours."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._main import run
from facekd.cli._network import add_input_options, load_as_asked
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.embedder import Embedder

EXAMPLES = """\
examples:
  facekd-model info student.pt
  facekd-model info teacher.onnx --json
  facekd-model import backbone.pth teacher.pt           # insightface arcface_torch, MXNet .params
  facekd-model import bgr_net.pth teacher.pt --channels bgr
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `facekd-model`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    return run(lambda: arguments.work(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facekd-model",
        description="Look at a network's file, and turn other software's weights into ours.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    info = _command(
        commands,
        "info",
        "what a network's file holds: architecture, input, width, parameters, where it is from",
        ("facekd-model info student.pt", "facekd-model info teacher.onnx --json"),
    )
    info.add_argument(
        "model", metavar="FILE", type=Path, help=".pt, .pth, .safetensors, .params or .onnx"
    )
    info.add_argument("--json", action="store_true", help="print JSON, for other programs")
    info.set_defaults(work=_info)
    bring = _command(
        commands,
        "import",
        "turn other software's weights into a .pt that describes itself",
        (
            "facekd-model import backbone.pth teacher.pt",
            "facekd-model import bgr_net.pth teacher.pt --channels bgr --input-range=-1,1",
        ),
    )
    bring.add_argument(
        "source",
        metavar="SRC",
        type=Path,
        help="of insightface's arcface_torch (.pt, .pth, .safetensors) or MXNet (.params)",
    )
    bring.add_argument("destination", metavar="DST", type=Path, help="the .pt file to write")
    bring.add_argument("--force", action="store_true", help=FORCE_HELP)
    bring.set_defaults(work=_import)
    for command in (info, bring):
        add_input_options(command)
    return parser


def _command(
    commands: Commands, name: str, what: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    return add_command(commands, name, what, "\n  ".join(("examples:", *examples)))


def _info(arguments: argparse.Namespace) -> None:
    facts = describe(load_as_asked(arguments.model, arguments), arguments.model)
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        print(_table(facts))


def _import(arguments: argparse.Namespace) -> None:
    from facekd.model import FaceModel

    if arguments.destination.suffix != ".pt":
        raise FacekdError(f"{arguments.destination} does not end in .pt: give a .pt file to write.")
    refuse_existing([arguments.destination], arguments.force)
    model = load_as_asked(arguments.source, arguments)
    if not isinstance(model, FaceModel):
        raise FacekdError(
            f"{arguments.source} is a graph, not weights: use it as it is, as a teacher or in "
            "facekd-eval."
        )
    model.save(arguments.destination)
    print(_table(describe(model, arguments.source)))
    print(f"wrote {arguments.destination}")


def describe(model: "Embedder", path: Path) -> dict[str, Any]:
    """What can be said of a network, in plain values; parameters and MACs where they are known."""
    from facekd.backbones import count
    from facekd.model import FaceModel

    preprocess = model.preprocess
    facts: dict[str, Any] = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "embedding_dim": model.embedding_dim,
        "input_size": preprocess.input_size,
        "input_range": list(preprocess.input_range),
        "channels": preprocess.channels,
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


def _table(facts: dict[str, Any]) -> str:
    """The facts, one a line; what is long or nested only by its own name or number of entries."""
    shown = {key: value for key, value in facts.items() if value not in ({}, None)}
    shown["bytes"] = f"{facts['bytes']:,}"
    lo, hi = facts["input_range"]
    shown["input_range"] = f"0..255 -> {lo:g}..{hi:g}"
    if "parameters" in facts:
        shown["parameters"] = f"{facts['parameters'] / 1e6:.3f} M"
        shown["macs"] = f"{facts['macs'] / 1e9:.3f} G"
    if "arguments" in shown:
        shown["arguments"] = ", ".join(f"{k}={v}" for k, v in facts["arguments"].items())
    if isinstance(recipe := facts.get("recipe"), dict):
        shown["recipe"] = recipe.get("name", f"{len(recipe)} settings (see --json)")
    return "\n".join(f"{key.replace('_', ' '):<17} {value}" for key, value in shown.items())
