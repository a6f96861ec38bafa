"""`facekd-model import`: other software's weights as a `.pt` that describes itself."""

import argparse
from pathlib import Path

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._model_info import as_table, describe
from facekd.cli._network import add_input_options, load_as_asked
from facekd.errors import FacekdError

EXAMPLE = """examples:
  facekd-model import backbone.pth teacher.pt
  facekd-model import adaface_ir50_ms1mv2.ckpt teacher.pt      # takes BGR: known from its weights
  facekd-model import other.pth teacher.pt --channels bgr --input-range=-1,1
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "import",
        "turn other software's weights into a .pt that describes itself",
        EXAMPLE,
        more="Whose they are, what network, and what input it takes is known from their names and "
        "shapes; what you say of the input goes first.",
    )
    parser.add_argument(
        "source",
        metavar="SRC",
        type=Path,
        help="of insightface (arcface_torch, MXNet .params), AdaFace, CVLface, cavaface, TFace, "
        "AdaDistill or FaceX-Zoo; docs/networks.md has the list",
    )
    parser.add_argument("destination", metavar="DST", type=Path, help="the .pt file to write")
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    add_input_options(parser)
    parser.set_defaults(work=_import)


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
    print(as_table(describe(model, arguments.source)))
    print(f"wrote {arguments.destination}")
