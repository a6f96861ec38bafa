"""IJB-B and IJB-C in insightface's release layout: faces, templates, pairs and 1:N lists.

    FOLDER/meta/ijbc_face_tid_mid.txt         name, template id, media id; a line a face
    FOLDER/meta/ijbc_name_5pts_score.txt      name, x1 y1 ... x5 y5, detector score; the same lines
    FOLDER/meta/ijbc_template_pair_label.txt  template id, template id, 1 genuine or 0 impostor
    FOLDER/meta/ijbc_1N_gallery_G1.csv, ..._G2.csv, ijbc_1N_probe_mixed.csv
                                              TEMPLATE_ID,SUBJECT_ID,... under a header line
    FOLDER/loose_crop/NAME                    the images

IJB-B: `ijbb` and S1, S2.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .ijb_faces import IjbName, TemplateFaces, read_faces
from .text_table import Columns, read_table

__all__ = [
    "GALLERIES",
    "Gallery",
    "IjbName",
    "TemplateFaces",
    "TemplatePairs",
    "TemplateSearch",
    "open_pairs",
    "open_search",
]

GALLERIES: dict[IjbName, tuple[str, str]] = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}


@dataclass(frozen=True)
class TemplatePairs:
    """1:1: which two templates to compare, and whether they show one person.

    Attributes:
        name: "ijbb" or "ijbc".
        source: Where it was read from, and what is odd about it.
        faces: The faces.
        left: int32 (m,), each pair's first template, a row of `faces.template_ids`.
        right: int32 (m,), its second.
        same: bool (m,), True for a genuine pair.
        subjects: int32 (t,), who each template shows, numbered from 0; None where nothing says so.
        subjects_from: The files that say so; empty where none does.
    """

    name: str
    source: str
    faces: TemplateFaces
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    same: NDArray[np.bool_]
    subjects: NDArray[np.int32] | None
    subjects_from: str

    def __len__(self) -> int:
        return len(self.same)


@dataclass(frozen=True)
class Gallery:
    """The people enrolled, one template each.

    Attributes:
        name: "G1", "G2", "S1" or "S2".
        templates: int32 (g,), rows of `template_ids`, rising.
        subjects: int64 (g,), their subject ids, no two alike.
    """

    name: str
    templates: NDArray[np.int32]
    subjects: NDArray[np.int64]


@dataclass(frozen=True)
class TemplateSearch:
    """1:N: probes to be looked up in every gallery.

    Attributes:
        name: "ijbb_1n" or "ijbc_1n".
        source: Where it was read from.
        faces: The faces.
        galleries: Two.
        probes: int32 (p,), rows of `faces.template_ids`, rising.
        probe_subjects: int64 (p,), their subject ids.
    """

    name: str
    source: str
    faces: TemplateFaces
    galleries: tuple[Gallery, ...]
    probes: NDArray[np.int32]
    probe_subjects: NDArray[np.int64]


def open_pairs(
    folder: str | Path, name: IjbName, duplicates: bool = False, missing_ok: bool = False
) -> TemplatePairs:
    """Read the 1:1 protocol.

    Args:
        folder: The one that holds `meta`.
        name: Which of the two sets.
        duplicates: Keep pairs that are listed more than once, and say so in `source`.
        missing_ok: A face whose image is not there is one that was not found.

    Raises:
        FacekdError: A file is not there or not as it should be; the two face lists differ; a pair
            names a template without faces, or one template twice; pairs are listed more than once;
            all pairs are of one class; the 1:N lists are there, but not as `open_search` says.
    """
    folder = Path(folder)
    path = folder / "meta" / f"{name}_template_pair_label.txt"
    kinds: Columns = {"template_1": np.int32, "template_2": np.int32, "label": np.int8}
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(read_table, path, kinds)
        faces = read_faces(folder, name, missing_ok)
        subjects, subjects_from = _subjects(folder, name, faces)
        table = reading.result()
    pairs = TemplatePairs(
        name=name,
        source=str(folder),
        faces=faces,
        left=faces.known_rows(table.pop("template_1"), path),
        right=faces.known_rows(table.pop("template_2"), path),
        same=_check_labels(table.pop("label"), path),
        subjects=subjects,
        subjects_from=subjects_from,
    )
    alone = np.flatnonzero(pairs.left == pairs.right)
    if len(alone):
        raise FacekdError(
            f"{path}, line {alone[0] + 1}: a template is compared with itself ({len(alone)} such "
            "lines); remove the line."
        )
    repeats = _check_repeats(pairs, path, duplicates)
    if not repeats:
        return pairs
    return replace(pairs, source=f"{folder} ({repeats} lines repeat a pair)")


def open_search(folder: str | Path, name: IjbName, missing_ok: bool = False) -> TemplateSearch:
    """Read the 1:N protocol.

    Args:
        folder: The one that holds `meta`.
        name: Which of the two sets.
        missing_ok: A face whose image is not there is one that was not found.

    Raises:
        FacekdError: A file is not there or not as it should be; the two face lists differ; a 1:N
            list names a template without faces, or gives one template two subjects; a gallery has
            a subject twice; a probe is itself enrolled.
    """
    folder = Path(folder)
    faces = read_faces(folder, name, missing_ok)
    *enrolled, probes = _list_paths(folder, name)
    galleries = tuple(
        _read_gallery(path, label, faces)
        for label, path in zip(GALLERIES[name], enrolled, strict=True)
    )
    rows, subjects = _read_subjects(probes, faces)
    for gallery in galleries:
        both = np.intersect1d(gallery.templates, rows)
        if len(both):
            raise FacekdError(
                f"{probes}: template {faces.template_ids[both[0]]} is also enrolled in gallery "
                f"{gallery.name} ({len(both)} such probes) and would find itself; remove it."
            )
    return TemplateSearch(f"{name}_1n", str(folder), faces, galleries, rows, subjects)


def _check_labels(labels: NDArray[np.int8], path: Path) -> NDArray[np.bool_]:
    bad = np.flatnonzero((labels != 0) & (labels != 1))
    if len(bad):
        raise FacekdError(
            f"{path}, line {bad[0] + 1}: the label is {labels[bad[0]]}; expected 1 for a genuine "
            "pair or 0 for an impostor pair."
        )
    genuine = int(np.count_nonzero(labels))
    if genuine in (0, len(labels)):
        kind = "impostor" if genuine else "genuine"
        raise FacekdError(
            f"{path}: none of its {len(labels)} pairs is {kind}; TAR at FAR needs both, so use the "
            "complete pair list."
        )
    return labels.astype(np.bool_)


def _check_repeats(pairs: TemplatePairs, path: Path, allowed: bool) -> int:
    """How many lines name a pair that an earlier line names, in either order.

    Raises:
        FacekdError: There are such lines and they are not allowed, or a pair has both labels.
    """
    keys = _pair_keys(pairs)
    if (keys[1:] > keys[:-1]).all():
        return 0
    keys.sort()
    count = int(np.count_nonzero(keys[1:] == keys[:-1]))
    if not count:
        return 0
    keys = _pair_keys(pairs)
    order = np.argsort(keys, kind="stable")
    again = keys[order[1:]] == keys[order[:-1]]
    unequal = again & (pairs.same[order[1:]] != pairs.same[order[:-1]])
    if allowed and not unequal.any():
        return count
    at = int(np.argmax(unequal if unequal.any() else again))
    one, two = pairs.faces.template_ids[[pairs.left[order[at]], pairs.right[order[at]]]]
    what = (
        "but with the other label; remove one"
        if unequal.any()
        else "so it would count twice; remove the repeats, or give --keep-duplicates"
    )
    raise FacekdError(
        f"{path}, line {order[at + 1] + 1}: templates {one} and {two} are already compared in line "
        f"{order[at] + 1} ({count} lines repeat a pair), {what}."
    )


def _pair_keys(pairs: TemplatePairs) -> NDArray[np.int64]:
    """One number a pair, the same for both orders of its templates."""
    keys = np.minimum(pairs.left, pairs.right, dtype=np.int64)
    keys *= len(pairs.faces.template_ids)
    keys += np.maximum(pairs.left, pairs.right)
    return keys


def _list_paths(folder: Path, name: IjbName) -> list[Path]:
    """The 1:N lists: the galleries, then the probes."""
    lists = [f"gallery_{label}" for label in GALLERIES[name]] + ["probe_mixed"]
    return [folder / "meta" / f"{name}_1N_{which}.csv" for which in lists]


def _read_gallery(path: Path, label: str, faces: TemplateFaces) -> Gallery:
    templates, subjects = _read_subjects(path, faces)
    values, counts = np.unique(subjects, return_counts=True)
    if counts.max() > 1:
        twice = values[counts.argmax()]
        ids = faces.template_ids[templates[subjects == twice]]
        raise FacekdError(
            f"{path}: subject {twice} is enrolled with templates {ids[0]} and {ids[1]}; a gallery "
            "has one template a subject."
        )
    return Gallery(label, templates, subjects)


def _subjects(
    folder: Path, name: IjbName, faces: TemplateFaces
) -> tuple[NDArray[np.int32] | None, str]:
    """Who each template shows and which files say so, where the 1:N lists do for every template."""
    paths = _list_paths(folder, name)
    if not all(path.is_file() for path in paths):
        return None, ""
    lists = [_read_subjects(path, faces) for path in paths]
    known = np.zeros(len(faces.template_ids), np.bool_)
    subjects = np.zeros(len(faces.template_ids), np.int64)
    for path, (rows, values) in zip(paths, lists, strict=True):
        unequal = rows[known[rows] & (subjects[rows] != values)]
        if len(unequal):
            raise FacekdError(
                f"{path}: template {faces.template_ids[unequal[0]]} shows another subject than in "
                "the lists before it; a template shows one person."
            )
        known[rows], subjects[rows] = True, values
    if not known.all():
        return None, ""
    numbers = np.unique(subjects, return_inverse=True)[1].astype(np.int32)
    return numbers, ", ".join(path.name for path in paths)


def _read_subjects(path: Path, faces: TemplateFaces) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Each template of a 1:N list once, as rows, rising, and its subject.

    Raises:
        FacekdError: A template without faces, or with two subjects.
    """
    table = read_table(path, {"TEMPLATE_ID": np.int64, "SUBJECT_ID": np.int64}, header=True)
    rows = faces.known_rows(table["TEMPLATE_ID"], path, first_line=2)
    templates, first, where = np.unique(rows, return_index=True, return_inverse=True)
    subjects = table["SUBJECT_ID"][first]
    other = np.flatnonzero(subjects[where] != table["SUBJECT_ID"])
    if len(other):
        line = other[0]
        raise FacekdError(
            f"{path}, line {line + 2}: template {table['TEMPLATE_ID'][line]} shows subject "
            f"{table['SUBJECT_ID'][line]}, but subject {subjects[where[line]]} in line "
            f"{first[where[line]] + 2}; a template shows one person."
        )
    return templates, subjects
