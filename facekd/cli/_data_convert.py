"""`facekd-data convert`: from one form of a set to another."""

import argparse
import sys

from facekd.cli._data_common import Commands, add_command
from facekd.cli._values import count, positive

EXAMPLE = """examples:
  facekd-data convert train.rec people     an image folder: people/IDENTITY/NAME.jpg, images.lst
  facekd-data convert people train.rec     and back: the same bytes
  facekd-data convert train.rec shards --to tar --shuffle 0
                                           WebDataset shards of 1 GB in random order
  facekd-data convert lfw.bin lfw          images and pairs.csv; back with: convert lfw lfw.bin
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "convert",
        "between .rec, image folder and tar shards; .bin and folder",
        EXAMPLE,
        more="The images' bytes are not touched; labels, names and record numbers are kept. The "
        "output appears whole or not at all.",
    )
    parser.add_argument(
        "source",
        metavar="SRC",
        help="a .rec file, a folder of NAME/*.jpg, tar shards (a .tar, a folder of them, or a "
        "pattern such as 'train-{000..009}.tar'), a .bin file, or a folder with pairs.csv",
    )
    parser.add_argument("destination", metavar="DST", help="a .rec, .tar or .bin file, or a folder")
    parser.add_argument("--to", choices=("rec", "folder", "tar"), help="what DST is to be")
    parser.add_argument(
        "--layout",
        choices=("face2rec", "im2rec"),
        help="of a .rec: insightface's, with a header and the identities' ranges, or plain "
        "(default: as the source, else face2rec)",
    )
    parser.add_argument("--shuffle", metavar="SEED", type=count, help="random order in the file")
    parser.add_argument(
        "--shard-size",
        metavar="MB",
        type=positive,
        default=1024,
        help="of a shard (default: 1024)",
    )
    parser.add_argument("--shard-images", metavar="N", type=positive, help="images a tar shard")
    parser.add_argument(
        "--on-bad-record",
        choices=("error", "skip"),
        default="error",
        help="what to do with an image that cannot be read (default: error)",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=positive,
        default=1,
        help="processes that read and form images, for what is written in this order by one "
        "(default: 1); the output does not depend on it",
    )
    parser.add_argument("--force", action="store_true", help="replace a set that stands at DST")
    parser.set_defaults(work=_convert)


def _convert(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from facekd.data_tools.convert import convert

    done = convert(
        arguments.source,
        arguments.destination,
        to=arguments.to,
        layout=arguments.layout,
        shuffle=arguments.shuffle,
        on_bad_record=arguments.on_bad_record,
        workers=arguments.workers,
        force=arguments.force,
        shard_bytes=arguments.shard_size << 20,
        shard_images=arguments.shard_images,
        watch=lambda pieces, total: tqdm(
            pieces, "convert", total, unit=" images", file=sys.stderr, mininterval=0.5
        ),
    )
    for reason in done.skipped:
        print(f"left out: {reason}", file=sys.stderr)
    what = "pairs" if done.layout is None else "images"
    layout = f" ({done.layout} layout)" if done.kind == "rec" else ""
    left_out = f", {len(done.skipped)} left out" if done.skipped else ""
    print(f"{arguments.destination}: {done.count} {what}{layout}{left_out}")
