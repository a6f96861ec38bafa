"""`facekd-data fetch`: LFW from scikit-learn's mirror; for other sets, who hands them out."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing

if TYPE_CHECKING:
    from facekd.data_tools.fetch import LfwBin

EXAMPLE = """examples:
  facekd-data fetch lfw LFW --detector face_detection_yunet_2023mar.onnx
                                           LFW/aligned, LFW/lfw.bin, LFW/lfw_train.rec
  facekd-data fetch lfw LFW --detector YUNET.onnx --test-folds 9,10
                                           train on who is not in folds 9 and 10, test on those:
                                           lfw_train.rec and lfw_test.bin
  facekd-data fetch cfp_fp                 who hands it out, and which file goes where
"""
MORE = """Only LFW is downloaded, by scikit-learn. It is for research; the
photographs are of people who did not agree to it."""
_PACKS = "https://github.com/deepinsight/insightface/tree/master/recognition/_datasets_"
_TRAINING = {
    "ms1mv2": "MS1M, cleaned for ArcFace, 5.8 million images of 85,742 people",
    "ms1mv3": "MS1M, cleaned with RetinaFace, 5.2 million images of 93,431 people",
    "glint360k": "Glint360K, 17 million images of 360,232 people",
    "casia": "CASIA-WebFace, 0.49 million images of 10,572 people",
}


def add(commands: Commands) -> None:
    """Add the subcommand."""
    from facekd.cli._data_align import add_detector

    parser = add_command(
        commands, "fetch", "get LFW ready, or tell who hands out another set", EXAMPLE, more=MORE
    )
    parser.add_argument("name", metavar="SET", help="lfw, cfp_fp, agedb_30, ijbc, ms1mv3 ...")
    parser.add_argument("target", metavar="DST", nargs="?", help="the folder to make of lfw")
    add_detector(parser, required=False)
    parser.add_argument(
        "--home",
        metavar="DIR",
        help="scikit-learn's data_home: what is there "
        "already is not downloaded (default: ~/scikit_learn_data)",
    )
    parser.add_argument(
        "--test-folds",
        metavar="K,K",
        type=_folds,
        default=tuple(range(1, 11)),
        help="lfw_train.rec holds nobody of these folds' pairs (default: all ten)",
    )
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    parser.set_defaults(work=_fetch)


def _fetch(arguments: argparse.Namespace) -> None:
    from facekd.errors import FacekdError

    if arguments.name != "lfw":
        print(_owners(arguments.name))
        return
    if arguments.target is None or (arguments.detector is None and arguments.landmarks is None):
        raise FacekdError(
            "fetch lfw needs the folder to make and a detector to align with: "
            "fetch lfw DST --detector FILE (see --help)."
        )
    _lfw(arguments, Path(arguments.target))


def _lfw(arguments: argparse.Namespace, target: Path) -> None:
    import sys

    from facekd.cli._data_align import align, counts
    from facekd.data_tools import fetch
    from facekd.data_tools.align_set import LANDMARKS

    every, test = target / "lfw.bin", target / "lfw_test.bin"
    train, aligned = target / "lfw_train.rec", target / "aligned"
    refuse_existing([every, test, train], arguments.force)
    print("LFW, by scikit-learn: downloaded where it is not there", file=sys.stderr)
    lfw = fetch.fetch_lfw(arguments.home)
    pairs = fetch.lfw_pairs(lfw.pairs, lfw.photographs)
    tested = fetch.in_folds(pairs, arguments.test_folds)
    people = fetch.people_of(pairs, tested)
    if arguments.force or not (aligned / LANDMARKS).is_file():
        print(f"{aligned}: {counts(align(arguments, lfw.photographs, aligned))}")
    pairs = fetch.lfw_pairs(lfw.pairs, aligned, missing_ok=True)
    print(_bin_line(every, fetch.write_lfw_bin(every, pairs, aligned)))
    if len(tested) < len(pairs):
        part = fetch.only(pairs, tested)
        print(_bin_line(test, fetch.write_lfw_bin(test, part, aligned)))
    images, identities = fetch.write_training_set(train, aligned, people, arguments.force)
    folds = ",".join(map(str, arguments.test_folds))
    print(
        f"{train}: {images} images of {identities} people, everyone who is in no pair of folds "
        f"{folds}."
    )


def _bin_line(path: Path, made: "LfwBin") -> str:
    black = f"{made.black} images are black: their face was not found" if made.black else ""
    return f"{path}: {made.pairs} pairs" + (f"; {black}." if black else ".")


def _owners(name: str) -> str:
    from facekd.errors import FacekdError, did_you_mean
    from facekd.eval.catalogue import CATALOGUE

    if name in _TRAINING:
        return (
            f"{name}: {_TRAINING[name]}.\n"
            f"Who has it: insightface packs it as train.rec, train.idx and property ({_PACKS}), "
            "for research only.\n"
            "Where it goes: anywhere; a recipe names train.rec (check it first: "
            "facekd-data verify train.rec)."
        )
    if name not in CATALOGUE:
        known = did_you_mean(name, [*CATALOGUE, *_TRAINING])
        raise FacekdError(f"no set is called {name!r}; {known}")
    entry = CATALOGUE[name]
    lines = [
        f"{name}: {entry.what} ({entry.size}).",
        f"Who has it: {entry.owners}.",
        f"Where it goes: DATA/{', DATA/'.join(entry.places)} (facekd-eval --data DATA).",
    ]
    if entry.files:
        lines.append(f"A folder holds: {', '.join(entry.files)}.")
    return "\n".join(lines)


def _folds(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if not all(n.isdecimal() and 1 <= int(n) <= 10 for n in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of folds 1 to 10, such as 9,10")
    return tuple(sorted({int(n) for n in numbers}))
