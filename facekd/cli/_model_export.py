"""`facekd-model export`: a network for other programs, measured before and after."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._model_card import add_card_options, licences_of, load_weights, reports_of
from facekd.cli._network import WORKERS_HELP, add_input_options
from facekd.cli._values import count, positive
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.export.gate import Gate
    from facekd.export.outputs import Outputs
    from facekd.export.quantize import Method

EXAMPLE = """examples:
  facekd-model export student.pt --onnx student.onnx
  facekd-model export student.pt --torch-export student.pt2 --safetensors student.safetensors
  facekd-model export student.pt --onnx student.onnx --int8 student.int8.onnx \\
      --calibrate train.rec --bench lfw --data faces/ --max-drop 0.5
"""
_MORE = """All files are written, or none. Each is compared with the network before it gets its
name, and a card (.md) goes beside the first.

An ONNX file takes float32 RGB (n, 3, s, s) as (x - 127.5) / 127.5, whatever the network itself
was trained on, and gives (n, d): as insightface.model_zoo.get_model expects it."""
_FILES = (
    ("onnx", ".onnx", "ONNX, float32"),
    ("int8", ".onnx", "ONNX, INT8; needs --calibrate"),
    ("fp16", ".onnx", "ONNX, fp16 inside"),
    ("torch-export", ".pt2", "torch.export program"),
    ("safetensors", ".safetensors", "weights, with their description beside them in .json"),
)
_CALIBRATION_IMAGES = 512
_METHOD: "Method" = "percentile"


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands, "export", "write a network for other programs", EXAMPLE, more=_MORE
    )
    parser.add_argument("model", metavar="FILE", type=Path, help=".pt, .pth, .safetensors, .params")
    files = parser.add_argument_group("files")
    for name, suffix, what in _FILES:
        files.add_argument(
            f"--{name}", metavar=f"FILE{suffix}", type=Path, help=f"{what}; ends in {suffix}"
        )
    files.add_argument("--force", action="store_true", help=FORCE_HELP)
    _add_int8(parser.add_argument_group("INT8"))
    _add_gate(parser.add_argument_group("before and after"))
    add_card_options(parser.add_argument_group("card"))
    add_input_options(parser.add_argument_group("input"))
    parser.set_defaults(work=_export)


def _add_int8(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--calibrate", metavar="SET", help="a .rec file, a folder of NAME/*.jpg, or tar shards")
    add(
        "--calibration-images",
        type=positive,
        metavar="N",
        help=f"how many of them, drawn (default: {_CALIBRATION_IMAGES})",
    )
    add(
        "--calibration-method",
        choices=("percentile", "minmax", "entropy"),
        help="ranges that hold 99.95 %% of the numbers seen (default), all, or most information",
    )


def _add_gate(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--bench", metavar="NAME", help="pairs to measure on, as in facekd-eval; one bench")
    add("--data", metavar="DIR", help="folder of the benches' files (default: $FACEKD_DATA)")
    add(
        "--max-drop",
        type=_points,
        metavar="POINTS",
        help="write nothing that may lose more points of accuracy than that (0.5: half a percent), "
        "by the bad end of the paired 95 %% interval",
    )
    add("--no-flip", action="store_true", help="do not add the mirrored image's embedding")
    add("--workers", type=count, metavar="N", help=f"{WORKERS_HELP}; 0: none, in this one")


def _export(arguments: argparse.Namespace) -> None:
    _refuse_unused(arguments)
    outputs = _outputs(arguments)
    refuse_existing(outputs.all(), arguments.force)
    from facekd.export.calibration import calibration_set
    from facekd.export.onnx import require_onnx
    from facekd.export.run import Request, export

    model = load_weights(arguments)
    if outputs.onnx or outputs.int8 or outputs.fp16:
        require_onnx("writing ONNX")
    size, calibration = model.preprocess.input_size, None
    measured = reports_of(arguments, model.name)
    gate = _gate(arguments, size)
    if arguments.calibrate:
        images = arguments.calibration_images or _CALIBRATION_IMAGES
        calibration = calibration_set(arguments.calibrate, images, size)
    asked = arguments.calibration_method
    method: Method = _METHOD if asked is None else asked
    request = Request(calibration, method, gate, licences_of(arguments), measured)
    export(model, outputs, request)


def _outputs(arguments: argparse.Namespace) -> "Outputs":
    """The files asked for, each with its suffix, no two of one name."""
    given = {name: getattr(arguments, name.replace("-", "_")) for name, _, _ in _FILES}
    for name, suffix, _ in _FILES:
        if given[name] is not None and given[name].suffix != suffix:
            raise FacekdError(f"--{name} {given[name]} does not end in {suffix}.")
    if not any(given.values()):
        every = ", ".join(f"--{name}" for name, _, _ in _FILES)
        raise FacekdError(f"export as what? Give one or more of {every}.")
    from facekd.export.outputs import Outputs

    outputs = Outputs(**{name.replace("-", "_"): path for name, path in given.items()})
    names = [path.name for path in outputs.all()]
    if len(set(names)) < len(names):
        raise FacekdError("two of the files have one name; the card could not tell them apart.")
    if arguments.model.resolve() in [path.resolve() for path in outputs.all()]:
        raise FacekdError(f"{arguments.model} is the network itself; give another name.")
    return outputs


def _refuse_unused(arguments: argparse.Namespace) -> None:
    """Refuse options that nothing obeys, and INT8 without images."""
    if arguments.int8 and not arguments.calibrate:
        raise FacekdError("--int8 needs faces to learn its ranges from; give --calibrate SET.")
    for name in ("calibrate", "calibration_images", "calibration_method"):
        if getattr(arguments, name) is not None and not arguments.int8:
            raise FacekdError(f"--{name.replace('_', '-')} is about --int8 FILE; give both.")
    if arguments.bench and not (arguments.onnx or arguments.int8 or arguments.fp16):
        raise FacekdError("--bench measures ONNX files; give --onnx, --int8 or --fp16, too.")
    for name in ("data", "max_drop", "no_flip", "workers"):
        if getattr(arguments, name) not in (None, False) and not arguments.bench:
            raise FacekdError(f"--{name.replace('_', '-')} is about --bench NAME; give both.")


def _gate(arguments: argparse.Namespace, size: int) -> "Gate | None":
    if not arguments.bench:
        return None
    from facekd.export.gate import open_gate

    return open_gate(
        arguments.bench,
        arguments.data,
        size,
        max_drop=arguments.max_drop,
        flip=not arguments.no_flip,
        workers=arguments.workers,
    )


def _points(text: str) -> float:
    try:
        points = float(text)
    except ValueError:
        points = -1.0
    if not 0 <= points <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of points, 0 to 100")
    return points
