"""facekd-model: look at a network's file, and turn other software's weights into ours."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.cli._main import run
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
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="what a network's file holds")
    info.add_argument("model", type=Path, help=".pt, .pth, .safetensors, .params or .onnx")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(work=_info)
    bring = commands.add_parser("import", help="other software's weights -> a self-describing .pt")
    bring.add_argument(
        "source", type=Path, help="arcface_torch .pt/.pth/.safetensors, MXNet .params"
    )
    bring.add_argument("destination", type=Path, help="the .pt file to write")
    bring.set_defaults(work=_import)
    for command in (info, bring):
        command.add_argument(
            "--input-range",
            nargs=2,
            type=float,
            metavar=("LO", "HI"),
            help="what pixel values 0 and 255 become, where the file does not say "
            "(-1 1, or what the ONNX graph or MXNet used)",
        )
        command.add_argument(
            "--channels",
            choices=("rgb", "bgr"),
            default="rgb",
            help="channel order of the network's input, where the file does not say (rgb)",
        )
    return parser


def _load(path: Path, arguments: argparse.Namespace) -> "Embedder":
    from facekd.model import load_model  # torch takes seconds to import: --help must not wait

    given = tuple(arguments.input_range) if arguments.input_range else None
    return load_model(path, input_range=given, channels=arguments.channels)


def _info(arguments: argparse.Namespace) -> None:
    facts = describe(_load(arguments.model, arguments), arguments.model)
    if arguments.json:
        print(json.dumps(facts, indent=1))
    else:
        print(_table(facts))


def _import(arguments: argparse.Namespace) -> None:
    from facekd.model import FaceModel

    if arguments.destination.suffix != ".pt":
        raise FacekdError(f"{arguments.destination} does not end in .pt: give a .pt file to write.")
    model = _load(arguments.source, arguments)
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
