"""A folder of photographs to a folder of 112x112 crops with their landmarks as a table."""

import csv
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import FacekdError
from ..files import atomic_path, write_text
from .align_log import AlignLog, Outcome
from .align_workers import NO_FACE, Photograph, Settings, align_each
from .detect import Detections
from .folder import SUFFIXES, images_below, natural_key
from .items import Items
from .labelled import open_labelled
from .landmark_table import Face, write_landmarks
from .staging import check_place, publish_folder
from .writers import check_destination, kind_of, write_set

LANDMARKS = "landmarks.csv"
MISSED = "missed.csv"
_LOG = ".align.jsonl"
_PACKED = (".rec", ".tar")


@dataclass(frozen=True)
class Aligned:
    """What an alignment did.

    Attributes:
        images: Photographs.
        crops: Crops.
        retried: Photographs whose faces were found with a border only.
        without: Photographs without a face.
        bad: Photographs that could not be read.
        kept: Photographs that an interrupted run had done before.
    """

    images: int
    crops: int
    retried: int
    without: int
    bad: int
    kept: int


def align_set(
    settings: Settings,
    described: str,
    *,
    landmarks: dict[str, Detections] | None = None,
    workers: int = 1,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Aligned:
    """Align every photograph below a folder; the target's folders are the source's.

    The target appears when all is done, with `landmarks.csv` (one line a crop) and `missed.csv`
    (image, reason); those of a `.rec` or `.tar` stand beside it. Until then everything stands in
    `.TARGET.align` beside it, and an interrupted run goes on from there.

    Args:
        settings: The folders, the detector and how to cut; see `Settings`.
        described: The detector in words; an interrupted run goes on with the same one only.
        landmarks: Faces by image (its path below the source) instead of a detector's.
        workers: Processes.
        force: Replace a target that `align_set` made before; begin anew.
        progress: Called with how many photographs are done and how many there are.

    Raises:
        FacekdError: No photographs, a target that is there, no crop at all, or as `align_each`.
    """
    source, target = settings.source, settings.target
    check_target(source, target, force)
    photographs = list_photographs(source)
    if target.suffix in _PACKED:
        _check_depth(photographs, target)
    part = target.with_name(f".{target.name}.align")
    _make(part, anew=force)
    logged = {
        "source": str(source.resolve()),
        "detector": described,
        "every_face": settings.every_face,
        "quality": settings.quality,
    }
    with AlignLog(part / _LOG, logged) as log:
        kept = {o.image for o in log.outcomes(p.image for p in photographs) if _is_done(o, part)}
        todo = [p for p in photographs if p.image not in kept]
        here = replace(settings, target=part)
        done = len(kept)
        for outcome in _outcomes(here, todo, landmarks, workers):
            log.add(outcome)
            done += 1
            if progress is not None:
                progress(done, len(photographs))
        aligned = _write_tables(part, log, [p.image for p in photographs])
    if not aligned.crops:
        shutil.rmtree(part)
        raise FacekdError(_nothing(source, aligned, landmarks))
    (part / _LOG).unlink()
    _publish(part, target, force)
    return replace(aligned, kept=len(kept))


def list_photographs(source: str | Path) -> list[Photograph]:
    """Every image file below a folder, sorted as people read names; hidden ones left out.

    A crop has its photograph's path, with the suffix `.jpg`; photographs that differ in nothing
    but the suffix keep theirs (`a.png` becomes `a.png.jpg`).

    Raises:
        FacekdError: No such folder, no image below it, or a name that is no text.
    """
    root = Path(source)
    if not root.is_dir():
        raise FacekdError(f"{root} is not a folder of photographs.")
    names = sorted(images_below(root), key=lambda name: [natural_key(p) for p in name.split("/")])
    if not names:
        raise FacekdError(
            f"there are no images below {root} ({', '.join(sorted(SUFFIXES))}); give the folder "
            "of photographs."
        )
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    count = Counter(stem.casefold() for stem in stems)
    return [
        Photograph(name, stem if count[stem.casefold()] == 1 else name)
        for name, stem in zip(names, stems, strict=True)
    ]


def table_path(target: Path, table: str) -> Path:
    """Where `LANDMARKS` or `MISSED` of an alignment stands."""
    return target.with_suffix(f".{table}") if target.suffix in _PACKED else target / table


def check_target(source: Path, target: Path, force: bool) -> None:
    """Refuse a target that is there, unless it may be replaced and is an alignment's.

    Raises:
        FacekdError: It is there, lies in the source or the source in it, or cannot be written.
    """
    one, other = source.resolve(), target.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise FacekdError(f"{target} and {source} lie in one another; choose another folder.")
    check_place(target)
    if target.suffix in _PACKED:
        check_destination(target, kind_of(target), force)
    elif target.exists() and not force:
        raise FacekdError(f"{target} is there already; choose another folder, or give --force.")
    elif target.exists() and not (target / LANDMARKS).is_file():
        raise FacekdError(
            f"{target} has no {LANDMARKS}: it was not made by align, and is not replaced; remove "
            "it yourself or choose another folder."
        )


def _check_depth(photographs: list[Photograph], target: Path) -> None:
    """In a `.rec` or a tar every image has an identity: the folder it is in."""
    for photograph in photographs:
        if photograph.image.count("/") != 1:
            raise FacekdError(
                f"{photograph.image} is not NAME/IMAGE: a {target.suffix} file needs one folder an "
                "identity; arrange the photographs so, or align them into a folder."
            )


def _outcomes(
    settings: Settings,
    photographs: Sequence[Photograph],
    landmarks: dict[str, Detections] | None,
    workers: int,
) -> Iterator[Outcome]:
    if landmarks is None:
        yield from align_each(settings, photographs, workers)
        return
    given = [replace(p, given=landmarks.get(p.image.strip())) for p in photographs]
    yield from align_each(settings, given, workers)


def _is_done(outcome: Outcome, folder: Path) -> bool:
    """Unreadable photographs are read again: somebody may have mended them."""
    if not outcome.faces:
        return outcome.reason == NO_FACE
    crops = [folder / face.crop for face in outcome.faces]
    return all(crop.is_file() and crop.stat().st_size > 0 for crop in crops)


def _write_tables(folder: Path, log: AlignLog, images: list[str]) -> Aligned:
    """Write landmarks.csv and missed.csv, in the photographs' order, and count."""
    counts: Counter[str] = Counter()

    def faces() -> Iterator[tuple[str, Face]]:
        for outcome in log.outcomes(images):
            counts["crops"] += len(outcome.faces)
            counts["retried"] += outcome.retried
            yield from ((outcome.image, face) for face in outcome.faces)

    write_landmarks(folder / LANDMARKS, faces())
    with atomic_path(folder / MISSED) as path, path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "reason"])
        for outcome in log.outcomes(images):
            if not outcome.faces:
                counts["without" if outcome.reason == NO_FACE else "bad"] += 1
                writer.writerow([outcome.image, outcome.reason])
    numbers: dict[str, Any] = {name: counts[name] for name in ("crops", "retried")}
    return Aligned(len(images), without=counts["without"], bad=counts["bad"], kept=0, **numbers)


def _nothing(source: Path, aligned: Aligned, landmarks: dict[str, Detections] | None) -> str:
    counts = (
        f"{source}: no face was cut out of {aligned.images} images ({aligned.without} without a "
        f"face, {aligned.bad} unreadable)"
    )
    if landmarks is None:
        return f"{counts}; is it a folder of photographs, upright, with faces of 10 pixels or more?"
    return (
        f"{counts}; the landmarks are of images such as {next(iter(landmarks))!r}: give the folder "
        "that these paths start from."
    )


def _make(folder: Path, anew: bool) -> None:
    try:
        if anew and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FacekdError(f"cannot write {folder}: {error.strerror or error}.") from error


def _publish(part: Path, target: Path, force: bool) -> None:
    """Let what is finished become the target."""
    if target.suffix not in _PACKED:
        publish_folder(part, target)
        return
    tables = {table: (part / table).read_text(encoding="utf-8") for table in (LANDMARKS, MISSED)}
    write_set(Items(open_labelled(part)), target, force=force)
    for table, text in tables.items():
        write_text(table_path(target, table), text)
    shutil.rmtree(part)
