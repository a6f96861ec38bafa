"""`facekd-model card`: what a network is, was made of and can do, in Markdown."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._network import add_input_options, load_as_asked
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.export.card import Measured
    from facekd.export.licences import Licences
    from facekd.model import FaceModel

EXAMPLE = """examples:
  facekd-model card student.pt                                      (writes student.md)
  facekd-model card student.pt --report runs/eval/lfw --licence-data "research only"
  facekd-model card student.pt --report runs/eval/lfw:mine --out CARD.md
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "card",
        "write a network's card: training, results, limits, licences",
        EXAMPLE,
    )
    parser.add_argument("model", metavar="FILE", type=Path, help=".pt, .pth, .safetensors, .params")
    parser.add_argument("--out", metavar="FILE", type=Path, help="default: the network's .md")
    add_card_options(parser)
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    add_input_options(parser)
    parser.set_defaults(work=_card)


def add_card_options(group: argparse._ActionsContainer) -> None:
    """What a card says that the network's file does not."""
    add = group.add_argument
    add(
        "--report",
        metavar="DIR[:NAME]",
        action="append",
        default=[],
        help="an evaluation that facekd-eval --out wrote, for the card; NAME: the network's there; "
        "may be given several times",
    )
    for part, what in (
        ("data", "of the training images"),
        ("teacher", "of the teacher's weights"),
        ("weights", "of weights that were imported or trained on"),
    ):
        add(
            f"--licence-{part}",
            metavar="TEXT",
            default="unknown",
            help=f"licence {what}, for the card (default: unknown)",
        )


def licences_of(arguments: argparse.Namespace) -> "Licences":
    """The licences of `add_card_options`."""
    from facekd.export.licences import Licences

    return Licences(arguments.licence_data, arguments.licence_teacher, arguments.licence_weights)


def reports_of(arguments: argparse.Namespace, name: str) -> list["Measured"]:
    """The reports of `add_card_options`, read."""
    from facekd.export.report import measured_in

    return [measured_in(report, name) for report in arguments.report]


def load_weights(arguments: argparse.Namespace) -> "FaceModel":
    """The network of `model`, which must be weights.

    Raises:
        FacekdError: It cannot be read, or is a graph already.
    """
    from facekd.model import FaceModel

    model = load_as_asked(arguments.model, arguments)
    if not isinstance(model, FaceModel):
        raise FacekdError(
            f"{arguments.model} is a graph already, without weights by name; give the .pt that it "
            "was made from."
        )
    return model


def _card(arguments: argparse.Namespace) -> None:
    from facekd.export.card import card
    from facekd.files import write_text

    out = arguments.out or arguments.model.with_suffix(".md")
    refuse_existing([out], arguments.force)
    model = load_weights(arguments)
    measured = reports_of(arguments, model.name)
    write_text(out, card(model, licences=licences_of(arguments), measured=measured))
    print(f"wrote {out}")
