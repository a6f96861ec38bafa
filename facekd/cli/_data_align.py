"""`facekd-data align`: photographs to 112x112 crops."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.cli._data_common import Commands, add_command
from facekd.cli._values import positive

if TYPE_CHECKING:
    from facekd.data_tools.align_set import Aligned
    from facekd.data_tools.align_workers import Settings
    from facekd.data_tools.detect import Detector

EXAMPLE = """examples:
  facekd-data align photographs aligned --detector face_detection_yunet_2023mar.onnx
  facekd-data align photographs aligned --landmarks landmarks.csv
                                           the same crops again, without a detector
"""
MORE = """SRC is a folder of photographs, of
NAME/*.jpg or deeper; DST has the same folders, landmarks.csv and missed.csv. Beside a .rec or
.tar they are NAME.landmarks.csv and NAME.missed.csv. An interrupted run goes on from where
it was."""
DETECTOR_HELP = (
    "a YuNet file of OpenCV's model zoo, or insightface, or insightface:FILE.onnx (SCRFD); "
    "nothing is downloaded"
)


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands, "align", "find faces and cut them out upright, 112x112", EXAMPLE, more=MORE
    )
    parser.add_argument("source", metavar="SRC", help="the folder of photographs")
    parser.add_argument("target", metavar="DST", help="the folder (.rec, .tar) to make")
    add_detector(parser)
    parser.add_argument("--all", action="store_true", help="all faces (NAME_0.jpg, NAME_1.jpg ...)")
    parser.add_argument(
        "--on-bad-record",
        choices=("skip", "error"),
        default="skip",
        help="an image that cannot be read: skip it and list it in missed.csv, or stop there "
        "(default: skip)",
    )
    parser.add_argument("--force", action="store_true", help="replace what align made before")
    parser.set_defaults(work=_align)


def add_detector(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """The options that say how faces are found and cut out."""
    how = parser.add_mutually_exclusive_group(required=required)
    how.add_argument("--detector", metavar="WHICH", help=DETECTOR_HELP)
    how.add_argument(
        "--landmarks", metavar="CSV", help="image,x1,y1,...,x5,y5[,score]: no detector"
    )
    add_score(parser)
    parser.add_argument(
        "--quality",
        type=_quality,
        default=95,
        metavar="Q",
        help="of the JPEGs, 1 to 100 (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes (default: one a core)"
    )


def add_score(parser: argparse.ArgumentParser) -> None:
    """The option that says which of a detector's faces count."""
    parser.add_argument(
        "--score", type=_share, metavar="S", help="faces below do not count (default: 0.6)"
    )


def align(arguments: argparse.Namespace, source: Path, target: Path, **how: Any) -> "Aligned":
    """Align with a progress bar, as the options of `add_detector` say."""
    import sys

    from tqdm import tqdm

    from facekd.data_tools.align_set import align_set, check_target

    check_target(source, target, arguments.force)
    settings, described, landmarks = _settings(arguments, source, target, **how)
    with tqdm(desc="align", unit=" images", file=sys.stderr, mininterval=0.5) as bar:

        def progress(done: int, images: int) -> None:
            bar.total = images
            bar.update(done - bar.n)

        return align_set(
            settings,
            described,
            landmarks=landmarks,
            workers=arguments.workers or _cores(),
            force=arguments.force,
            progress=progress,
        )


def counts(aligned: "Aligned") -> str:
    """What an alignment did, in one line."""
    parts = [f"{aligned.images} images: {aligned.crops} crops"]
    if aligned.retried:
        parts.append(f"{aligned.retried} images whose faces were found with a border only")
    parts.append(f"{aligned.without} images without a face")
    parts.append(f"{aligned.bad} unreadable")
    if aligned.kept:
        parts.append(f"{aligned.kept} done by an interrupted run")
    return ", ".join(parts) + "."


def _align(arguments: argparse.Namespace) -> None:
    from facekd.data_tools.align_set import MISSED, table_path

    target = Path(arguments.target)
    how = {"every_face": arguments.all, "stop_on_bad": arguments.on_bad_record == "error"}
    aligned = align(arguments, Path(arguments.source), target, **how)
    print(counts(aligned))
    if aligned.without or aligned.bad:
        print(f"Images without a crop: {table_path(target, MISSED)}")


def _settings(
    arguments: argparse.Namespace, source: Path, target: Path, **how: Any
) -> tuple["Settings", str, Any]:
    from facekd.data_tools import detect
    from facekd.data_tools.align_workers import Settings
    from facekd.data_tools.landmark_table import read_landmarks
    from facekd.errors import FacekdError
    from facekd.fingerprint import file_fingerprint

    opening: Callable[[], Detector] | None = None
    given = None
    if arguments.landmarks is not None:
        if arguments.score is not None:
            raise FacekdError("--score is for a detector; take it out, or the landmarks.")
        given = read_landmarks(arguments.landmarks)
        described = f"landmarks {file_fingerprint(Path(arguments.landmarks))}"
    else:
        score = detect.SCORE if arguments.score is None else arguments.score
        opening, kind, file = which_detector(arguments.detector, score)
        opening()  # a wrong file is told before anything is written
        described = f"{kind} {file_fingerprint(file)}, score {score:g}"
    settings = Settings(source, target, opening, quality=arguments.quality, **how)
    return settings, described, given


def which_detector(which: str, score: float) -> tuple["Callable[[], Detector]", str, Path]:
    """What `--detector` means: what opens it, its kind in words and its file."""
    from facekd.data_tools import detect

    kind, _, name = which.partition(":")
    insight = kind == "insightface"
    file = name or detect.INSIGHTFACE_MODEL if insight else which
    detector: Callable[..., detect.Detector] = detect.InsightFace if insight else detect.YuNet
    return (
        partial(detector, file, score),
        "insightface" if insight else "YuNet",
        Path(file).expanduser(),
    )


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quality(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and 100")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value
