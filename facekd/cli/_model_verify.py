"""`facekd-model verify`: are the people of two photographs one?"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.cli._data_align import DETECTOR_HELP, add_score, which_detector
from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._network import add_input_options, load_as_asked
from facekd.cli._values import cosine
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.data_tools.one_face import OneFace
    from facekd.eval.saved_threshold import SavedModel
    from facekd.eval.transfer import TransferredPoint
    from facekd.one_pair import Verdict

FAR = 1e-3
EXAMPLE = """examples:
  facekd-model verify a.jpg b.jpg --model student.pt --detector face_detection_yunet_2023mar.onnx \\
      --report runs/eval/lfw --far 1e-3 --figure pair.png
  facekd-model verify a.jpg b.jpg --model student.pt --detector insightface --threshold 0.35
  facekd-model verify crop_a.jpg crop_b.jpg --model student.pt --aligned --report runs/eval/lfw
"""
MORE = """Both faces are found and cut out as facekd-data align does it, embedded, and their cosine
is held against a threshold: one that you give, or the one at which a saved evaluation of the same
network keeps to a false accept rate. With an evaluation the error rates at the threshold are
printed, too; they hold for pairs like that set's.

The exit code is 0 whichever the verdict is (--json says it to programs), and 2 where there is
none: no face, no such file."""
_FIGURES = (".png", ".svg", ".pdf")


def add(commands: Commands) -> None:
    """Add the subcommand."""
    what = "two photographs: the same person, at which threshold, with which error rates"
    parser = add_command(commands, "verify", what, EXAMPLE, more=MORE)
    parser.add_argument("images", metavar="IMAGE", nargs=2, type=Path, help="two photographs")
    parser.add_argument(
        "--model",
        metavar="[NAME=]FILE",
        required=True,
        help="the network; NAME is what the report calls it (default: the file's stem)",
    )
    faces = parser.add_mutually_exclusive_group(required=True)
    faces.add_argument("--detector", metavar="WHICH", help=DETECTOR_HELP)
    faces.add_argument(
        "--aligned", action="store_true", help="the images are aligned crops already"
    )
    add_score(parser)
    parser.add_argument("--report", metavar="DIR", help="of facekd-eval --out, on this network")
    parser.add_argument("--bench", metavar="NAME", help="which of the report's, if it has several")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--far",
        type=_rate,
        metavar="F",
        help=f"false accept rate that the threshold keeps to on the report's set (default: {FAR})",
    )
    limit.add_argument("--threshold", type=cosine, metavar="T", help="the cosine from which on")
    parser.add_argument(
        "--no-flip",
        action="store_true",
        help="do not add the mirrored image's embedding (default: as the report did)",
    )
    parser.add_argument("--figure", metavar="FILE", type=Path, help="both crops: .png, .svg, .pdf")
    parser.add_argument("--json", action="store_true", help="print JSON, for other programs")
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    add_input_options(parser)
    parser.set_defaults(work=_verify)


def _verify(asked: argparse.Namespace) -> None:
    from facekd.cli._sources import named_file
    from facekd.one_pair import verify

    name, path = named_file("model", asked.model)
    _check(asked)
    saved, point = _threshold(asked, name)
    faces = _faces(asked)
    model = load_as_asked(path, asked)
    a, b = (_fitted(face, model.preprocess.input_size) for face in faces)
    flip = not asked.no_flip if saved is None or saved.flip is None else saved.flip
    threshold = asked.threshold if point is None else point.threshold
    verdict = verify(a, b, threshold, model=model, flip=flip)
    if asked.json:
        print(json.dumps(_plain(asked, faces, verdict, flip, saved, point), indent=1))
    else:
        _tell(asked, faces, verdict, saved, point)
    if asked.figure:
        _draw(asked, faces, verdict, saved)
        if not asked.json:
            print(f"figure: {asked.figure}")


def _check(asked: argparse.Namespace) -> None:
    """Refuse what cannot be answered before anything is loaded."""
    if not asked.report and asked.threshold is None:
        raise FacekdError(
            "a similarity needs a threshold; give --report DIR (of facekd-eval, with --far F), or "
            "--threshold T."
        )
    if not asked.report and (asked.far or asked.bench):
        raise FacekdError("--far and --bench are about a report; give --report DIR, too.")
    if asked.aligned and asked.score is not None:
        raise FacekdError("--score is for a detector; leave it or --aligned out.")
    if asked.figure:
        if asked.figure.suffix not in _FIGURES:
            raise FacekdError(f"--figure {asked.figure} does not end in {', '.join(_FIGURES)}.")
        refuse_existing([asked.figure], asked.force)


def _threshold(
    asked: argparse.Namespace, name: str
) -> tuple["SavedModel | None", "TransferredPoint | None"]:
    """The report's scores of the network and what the threshold does on them, if there is one."""
    if not asked.report:
        return None, None
    from facekd.eval.saved_threshold import read_saved_model

    saved = read_saved_model(asked.report, name, asked.bench)
    if asked.no_flip and saved.flip:
        raise FacekdError(
            f"--no-flip: the scores in {asked.report} are {saved.model.scored}, and a threshold "
            "holds for scores made alike; leave it out, or evaluate with facekd-eval --no-flip."
        )
    far = asked.far or FAR
    point = saved.at_far(far) if asked.threshold is None else saved.at(asked.threshold)
    return saved, point


def _faces(asked: argparse.Namespace) -> "list[OneFace]":
    from facekd.data_tools.detect import SCORE
    from facekd.data_tools.one_face import cut_face, read_crop

    if asked.aligned:
        return [read_crop(path) for path in asked.images]
    opening, _, _ = which_detector(asked.detector, SCORE if asked.score is None else asked.score)
    detector = opening()
    return [cut_face(path, detector) for path in asked.images]


def _fitted(face: "OneFace", size: int) -> Any:
    """The crop at the network's size, resized as data sets' images are."""
    from facekd.data_tools.images import resize

    return resize(face.crop, size)


def _words(verdict: "Verdict") -> str:
    return "same person" if verdict.same else "different people"


def _tell(
    asked: argparse.Namespace,
    faces: "list[OneFace]",
    verdict: "Verdict",
    saved: "SavedModel | None",
    point: "TransferredPoint | None",
) -> None:
    from facekd.eval.words import far_name, percent, percent_interval

    for path, face in zip(asked.images, faces, strict=True):
        if face.told:
            print(f"{path}: {face.told}")
    origin = "given"
    if saved is not None and asked.threshold is None:
        origin = f"FAR <= {far_name(asked.far or FAR)} on {saved.bench.name}"
    print(f"similarity  {verdict.similarity:+.4f}")
    print(f"threshold   {verdict.threshold:+.4f}  ({origin})")
    print(f"verdict     {_words(verdict)}")
    if saved is None or point is None:
        return
    print(
        f"\nErrors at this threshold on {saved.bench.name} ({saved.bench.genuine:,} genuine, "
        f"{saved.bench.impostors:,} impostor pairs; {saved.model.name}, {asked.report}):"
    )
    missed, ends = _missed(point)
    for name, rate, interval, what in (
        ("FAR ", point.far, point.far_interval, "different people taken for one"),
        ("FNMR", missed, ends, "one person taken for two"),
    ):
        print(f"{name}  {percent(rate):>6} %  {percent_interval(interval):16}  {what}")
    print("Brackets are 95 % intervals; the rates hold for pairs like that set's.")


def _missed(point: "TransferredPoint") -> tuple[float, tuple[float, float]]:
    """The FNMR and its interval."""
    low, high = point.tar_interval
    return 1 - point.tar, (1 - high, 1 - low)


def _plain(
    asked: argparse.Namespace,
    faces: "list[OneFace]",
    verdict: "Verdict",
    flip: bool,
    saved: "SavedModel | None",
    point: "TransferredPoint | None",
) -> dict[str, Any]:
    """The answer as plain values; None where no report was given."""
    far = None if saved is None or asked.threshold is not None else asked.far or FAR
    plain: dict[str, Any] = {
        "images": [str(path) for path in asked.images],
        "notes": [face.told for face in faces],
        "similarity": verdict.similarity,
        "threshold": verdict.threshold,
        "same": verdict.same,
        "flip": flip,
        "target_far": far,
        "expected": None,
    }
    if saved is None or point is None:
        return plain
    fnmr, interval = _missed(point)
    expected = {
        "bench": saved.bench.name,
        "model": saved.model.name,
        "genuine": saved.bench.genuine,
        "impostors": saved.bench.impostors,
        "far": point.far,
        "far_interval": point.far_interval,
        "fnmr": fnmr,
        "fnmr_interval": interval,
    }
    return plain | {"expected": expected}


def _draw(
    asked: argparse.Namespace,
    faces: "list[OneFace]",
    verdict: "Verdict",
    saved: "SavedModel | None",
) -> None:
    from facekd.eval import draw_pair
    from facekd.eval.figures import write_figure

    a, b = asked.images
    pair = draw_pair.DrawnPair(
        crops=(faces[0].crop, faces[1].crop),
        names=(a.name, b.name),
        similarity=verdict.similarity,
        threshold=verdict.threshold,
        verdict=_words(verdict),
        numbers=None if saved is None else saved.numbers,
        bench="" if saved is None else saved.bench.name,
    )
    suffix = asked.figure.suffix
    stem = asked.figure.with_name(asked.figure.name.removesuffix(suffix))
    size = draw_pair.size(pair)
    write_figure(size, lambda figure: draw_pair.draw(figure, pair), stem, (suffix[1:],))


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate between 0 and 1, such as 1e-3")
    return rate
