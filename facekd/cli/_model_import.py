"""`facekd-model import`: other software's weights as a `.pt` that describes itself."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._model_info import as_table, describe
from facekd.cli._network import add_input_options, load_as_asked
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.backbones.class_weights import ClassWeights
    from facekd.model import FaceModel

EXAMPLE = """examples:
  facekd-model import backbone.pth teacher.pt
  facekd-model import adaface_ir50_ms1mv2.ckpt teacher.pt      # takes BGR: known from its weights
  facekd-model import other.pth teacher.pt --channels bgr --input-range=-1,1
  facekd-model import resnet32x4_vanilla/ckpt_epoch_240.pth teacher.pt --data cifar100:$FACEKD_DATA
  facekd-model import resnet50-11ad3fa6.pth teacher.pt --as torchvision/resnet50 --data imagenet/
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "import",
        "turn other software's weights into a .pt that describes itself",
        EXAMPLE,
        more="Whose they are, what network, and what input it takes is known from their names and "
        "shapes; what you say of the input goes first.\n\nA network of classes also leaves its "
        "last layer, as DST's .head.safetensors; that file remembers which classes its rows "
        "are, so name the set it was trained on.",
    )
    parser.add_argument(
        "source",
        metavar="SRC",
        type=Path,
        help="of insightface (arcface_torch, MXNet .params), AdaFace, CVLface, cavaface, TFace, "
        "AdaDistill or FaceX-Zoo; docs/networks.md has the list; of RepDistiller or torchvision; "
        "docs/classification-networks.md",
    )
    parser.add_argument("destination", metavar="DST", type=Path, help="the .pt file to write")
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    parser.add_argument(
        "--as",
        dest="network",
        metavar="NAME",
        help="the network of a torchvision file, which does not say it: torchvision/resnet50",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="of a network of classes: the set it was trained on, as data.source of a recipe "
        "(cifar100:FOLDER, or a folder of train/CLASS/ and val/CLASS/)",
    )
    add_input_options(parser)
    parser.set_defaults(work=_import)


def _import(arguments: argparse.Namespace) -> None:
    from facekd.model import FaceModel, model_of_classes, read_class_weights

    if arguments.destination.suffix != ".pt":
        raise FacekdError(f"{arguments.destination} does not end in .pt: give a .pt file to write.")
    refuse_existing([arguments.destination], arguments.force)
    classifier = read_class_weights(arguments.source, arguments.network)
    if classifier is not None:
        given = arguments.input_range, arguments.channels
        network = model_of_classes(classifier, arguments.source, *given)
        _write_with_head(network, classifier, arguments)
        return
    if arguments.data:
        raise FacekdError(
            f"--data names the classes of a classifier, and {arguments.source} is none that is "
            "known here; say --as torchvision/NAME if it is one of torchvision's."
        )
    model = load_as_asked(arguments.source, arguments)
    if not isinstance(model, FaceModel):
        raise FacekdError(
            f"{arguments.source} is a graph, not weights: use it as it is, as a teacher or in "
            "facekd-eval."
        )
    model.save(arguments.destination)
    print(as_table(describe(model, arguments.source)))
    print(f"wrote {arguments.destination}")


def _write_with_head(
    model: "FaceModel", classifier: "ClassWeights", arguments: argparse.Namespace
) -> None:
    """The backbone; and where the classes are named, the last layer and their names beside it."""
    from facekd.data.classes import load_classes
    from facekd.heads.classifier import Classifier, save_head
    from facekd.recipe import Data
    from facekd.train.sources import head_path

    head = Classifier.from_weight(classifier.weight, classifier.bias)
    path: Path = arguments.destination
    written, names = [path], path.with_suffix(".label_map.json")
    if arguments.data:
        refuse_existing([head_path(path), names], arguments.force)
        size = model.preprocess.input_size
        label_map = load_classes(Data(source=arguments.data), size)[0].label_map
        if len(label_map) != head.num_classes:
            raise FacekdError(
                f"{arguments.source} names {head.num_classes} classes and {arguments.data} has "
                f"{len(label_map)}; name the set that it was trained on."
            )
        save_head(head_path(path), head, label_map.hash)
        label_map.save(names)
        written += [head_path(path), names]
    model.save(path)
    print(as_table(describe(model, arguments.source)))
    print(f"wrote {', '.join(map(str, written))}")
    if not arguments.data:
        print(
            f"its last layer ({head.num_classes} classes) is left behind; --data DATA, the set it "
            "was trained on, keeps it."
        )
