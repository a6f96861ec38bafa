"""`facekd-model import-head`: another training's classifier as a head file for recipes."""

import argparse
from pathlib import Path

from facekd.cli._data_common import FORCE_HELP, PATH_HELP, Commands, add_command, refuse_existing
from facekd.errors import FacekdError

EXAMPLE = """examples:
  facekd-model import-head work_dirs/r50/checkpoint_gpu_*.pt r50.head.safetensors \\
      --data faces_emore/train.rec
then in a recipe:
  teacher: {model: work_dirs/r50/model.pt, head: r50.head.safetensors}
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "import-head",
        "turn the classifier of an arcface_torch training into a head file, for th_kd and others",
        EXAMPLE,
        more="It stands in checkpoint_gpu_{rank}.pt, one file of each process, where the training "
        "ran with save_all_states=True; model.pt has none. The head file remembers which people "
        "its rows are, so name the data that the training ran on.",
    )
    parser.add_argument(
        "shards",
        metavar="SHARD",
        type=Path,
        nargs="+",
        help="checkpoint_gpu_{rank}.pt of every process",
    )
    parser.add_argument(
        "destination", metavar="DST", type=Path, help="the .head.safetensors file to write"
    )
    parser.add_argument("--data", metavar="DATA", required=True, help=PATH_HELP)
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    parser.set_defaults(work=_import_head)


def _import_head(arguments: argparse.Namespace) -> None:
    from facekd.data.faces import load_faces
    from facekd.heads.classifier import save_head
    from facekd.heads.import_head import import_head
    from facekd.recipe import Data

    destination = arguments.destination
    if not destination.name.endswith(".head.safetensors"):
        raise FacekdError(
            f"{destination} does not end in .head.safetensors: give a head file to write, after "
            "the shards."
        )
    refuse_existing([destination], arguments.force)
    faces, _ = load_faces(Data(source=arguments.data), 112)
    head = import_head(arguments.shards, faces.label_map)
    save_head(destination, head, faces.label_map.hash)
    print(f"{head.num_classes} identities x {head.embedding_dim}, label map {faces.label_map.hash}")
    print(f"wrote {destination}")
