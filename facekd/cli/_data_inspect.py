"""`facekd-data inspect`: what is this file?"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._values import count, positive

if TYPE_CHECKING:
    from facekd.data_tools.images import Image
    from facekd.data_tools.kinds import Place

_PATH_HELP = """a .rec (or its .idx, .lst or folder), .bin, image folder, tar shards, .lst, pair
list (.txt, .csv), CFP or IJB folder, image, label map (.json), embeddings (.npy), scores (.npz),
report folder, or a network (.pt, .pth, .safetensors, .params, .onnx)"""

EXAMPLE = """examples:
  facekd-data inspect train.rec            images, identities, sizes, quality, label-map hash
  facekd-data inspect train.rec --sheet train.png
                                           and some of its people as a picture
  facekd-data inspect lfw.bin --json       the same for a verification set, for other programs
  facekd-data inspect student.pt           what a network's file says of itself
"""
_MORE = """

Sizes, quality, bytes and duplicates are those of 500 images spread evenly over the set, or of all
with --full."""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    what = "what it is: counts, identities, sizes, quality"
    parser = add_command(commands, "inspect", what, EXAMPLE, more=_MORE)
    parser.add_argument("path", metavar="PATH", help=_PATH_HELP)
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")
    parser.add_argument(
        "--full", action="store_true", help="look into every image, not 500 of them"
    )
    parser.add_argument("--sheet", metavar="FILE", help="draw some of the images, .png or .jpg")
    parser.add_argument(
        "--seed", type=count, default=0, metavar="N", help="of the sheet's choice (default: 0)"
    )
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="threads (default: one a core)"
    )
    parser.set_defaults(work=_inspect)


def _inspect(arguments: argparse.Namespace) -> None:
    from facekd.data_tools.kinds import locate
    from facekd.data_tools.sheet import check_sheet_path, write_sheet

    if arguments.sheet:
        check_sheet_path(arguments.sheet)
        refuse_existing([arguments.sheet], arguments.force)
    place = locate(arguments.path)
    found = _facts(place, arguments)
    if arguments.sheet:
        write_sheet(arguments.sheet, _sheet(place, arguments.seed))
        found["sheet"] = arguments.sheet
    print(json.dumps(found, indent=1) if arguments.json else _table(found))


def _facts(place: "Place", arguments: argparse.Namespace) -> dict[str, Any]:
    if place.kind == "model":
        from facekd.cli._model_info import describe
        from facekd.model import load_model

        return {"kind": "network", **describe(load_model(place.path), place.path)}
    if place.kind in ("array", "scores", "report"):
        from facekd.cli._data_inspect_numbers import array_facts, report_facts, scores_facts

        looks = {"array": array_facts, "scores": scores_facts, "report": report_facts}
        return looks[place.kind](place.path)
    import os

    from tqdm import tqdm

    from facekd.data_tools.inspect import inspect

    workers = arguments.workers or os.cpu_count() or 1
    with tqdm(desc="inspect", unit=" images", delay=1, mininterval=0.5, leave=False) as progress:
        return inspect(place, full=arguments.full, workers=workers, tick=progress.update)


def _sheet(place: "Place", seed: int) -> "Image":
    from facekd.data_tools.binfile import read_bin
    from facekd.data_tools.ijb_faces import read_faces
    from facekd.data_tools.labelled import open_labelled
    from facekd.data_tools.pair_files import from_cfp, from_csv, from_lfw_pairs
    from facekd.data_tools.sheet_rows import bin_sheet, identity_sheet, pair_sheet
    from facekd.errors import FacekdError

    kind, path = place.kind, place.path
    if kind in ("records", "folder", "shards"):
        labelled = open_labelled(path, on_bad_record="skip")
        names = labelled.names
        return identity_sheet(
            labelled.images, labelled.labels, lambda i: names[i] if names else f"label {i}", seed
        )
    if kind == "bin":
        return bin_sheet(read_bin(path), path.name, seed)
    if kind == "cfp":
        return pair_sheet(from_cfp(path, missing_ok=True), seed)
    if kind == "pairs":
        read = from_csv if path.suffix.lower() == ".csv" else from_lfw_pairs
        return pair_sheet(read(path, duplicates=True, missing_ok=True), seed)
    if kind == "ijbb" or kind == "ijbc":
        faces = read_faces(path, kind)
        if faces.images is not None:
            ids = faces.template_ids
            return identity_sheet(
                faces.images, faces.template, lambda i: f"template {ids[i]}", seed
            )
    raise FacekdError(f"{path} holds no images: there is nothing to draw a sheet of.")


def _table(facts: dict[str, Any]) -> str:
    """The facts, one a line; a histogram as bars."""
    width = max(map(len, facts))
    lines = []
    for name, value in facts.items():
        if name == "histogram":
            lines += [f"{'':{width}}  {line}" for line in _bars(value)]
        elif value not in (None, {}):
            sample = name == "looked_at" and value < facts.get("images", 0)
            told = " images, an even spread (all: --full)" if sample else ""
            lines.append(f"{name.replace('_', ' '):{width}}  {_plain(name, value)}{told}")
    return "\n".join(lines)


def _bars(histogram: dict[str, int], longest: int = 40) -> list[str]:
    """One line a bin: its limits, how many, a bar; what is not empty has a bar."""
    most = max(histogram.values())
    wide, tall = max(map(len, histogram)), len(f"{most:,}")
    return [
        f"{limits:>{wide}}  {count:>{tall},}  {'#' * -(-count * longest // most)}".rstrip()
        for limits, count in histogram.items()
    ]


def _plain(name: str, value: Any) -> str:
    if name in ("image_sizes", "encoding", "jpeg_quality"):
        shown = [f"{entry} ({count:,})" for entry, count in list(value.items())[:6]]
        return ", ".join(shown) + (f", {len(value) - 6} more" if len(value) > 6 else "")
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {_plain(k, v)}" for k, v in value.items())
    if isinstance(value, list):
        return " to ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
