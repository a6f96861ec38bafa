"""Pair lists as their owners write them: LFW's pairs.txt, CFP's protocol folders, a plain CSV."""

import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..input_file import MAX_TABLE, check_input
from .csv_table import ANSWERS, CsvTable, read_csv
from .image_roots import FolderRoot, ImageRoot, open_root
from .listed_pairs import ListedPair, balanced_file_order_folds, pair_set
from .pairs import FOLDS, PairSet
from .safe_paths import check_relative

CfpProtocol = Literal["FF", "FP"]
CSV_COLUMNS = ("a", "b", "same", "group", "fold", "subject_a", "subject_b")
_LFW_SUFFIXES = (".jpg", ".png", ".jpeg")


def from_lfw_pairs(
    path: str | Path,
    root: str | Path | None = None,
    *,
    name: str | None = None,
    duplicates: bool = False,
    missing_ok: bool = False,
) -> PairSet:
    """Read LFW's `pairs.txt`: lines `name i j` (genuine) and `name1 i name2 j` (impostor).

    Image i of a person is `ROOT/name/name_000i.jpg` (or png, jpeg). A header `sets n` means that
    many folds of n genuine and n impostor pairs; a header `n` or none: ten folds in file order
    where they come out equal and of both classes, else none.

    Args:
        path: The list.
        root: The folder of the people's folders, or a `.rec` or shards whose images have such
            ids; the folder that holds the list when None.
        name: The set's name; the list's folder's when None.
        duplicates: Keep pairs that occur twice instead of refusing them.
        missing_ok: Count an image that is not there as a face that was not found.

    Raises:
        FacekdError: A line that is none of these, pairs other than the header says, or as
            `pair_set`.
    """
    path = Path(path)
    folder = Path(root) if root is not None else path.parent
    images = open_root(folder)
    lines = _lines(path)
    header = _lfw_header(lines)
    listed = [_lfw_pair(where, line, images) for where, line in lines[bool(header) :]]
    return pair_set(
        listed,
        images,
        name=name or path.resolve().parent.name,
        source=f"{path}, images under {folder}",
        folds=_lfw_folds(path, header, [pair.same for pair in listed]),
        subjects_from=path.name,
        duplicates=duplicates,
        missing_ok=missing_ok,
    )


def from_cfp(
    folder: str | Path,
    protocol: CfpProtocol = "FP",
    *,
    name: str | None = None,
    missing_ok: bool = False,
) -> PairSet:
    """Read the CFP data set: frontal against frontal (FF) or against profile (FP), ten folds.

    `Protocol/Pair_list_F.txt` and `Pair_list_P.txt` number the images, `Protocol/Split/FP/01/`
    `same.txt` and `diff.txt` list pairs of numbers `i,j`; in FP j is a profile's number. CFP's own
    FF lists compare some images twice, `i,j` and `j,i`; they are kept, and `source` counts them.

    Args:
        folder: The one that holds `Protocol` and `Data`.
        protocol: Which pairs.
        name: The set's name; `cfp_ff` or `cfp_fp` when None.
        missing_ok: Count an image that is not there as a face that was not found.

    Raises:
        FacekdError: A file is missing or a line is none of these; or as `pair_set`.
    """
    folder = Path(folder)
    frontal = _cfp_images(folder, "F")
    right = frontal if protocol == "FF" else _cfp_images(folder, "P")
    listed: list[ListedPair] = []
    folds: list[int] = []
    for fold in range(FOLDS):
        for answer in (True, False):
            file = f"Protocol/Split/{protocol}/{fold + 1:02d}/{'same' if answer else 'diff'}.txt"
            for where, line in _lines(folder / file):
                listed.append(_cfp_pair(where, line, frontal, right, answer))
                folds.append(fold)
    return pair_set(
        listed,
        FolderRoot(folder),
        name=name or f"cfp_{protocol.lower()}",
        source=f"{folder}, protocol {protocol}",
        folds=np.asarray(folds, dtype=np.int64),
        subjects_from="the images' folders",
        duplicates=True,
        missing_ok=missing_ok,
    )


def from_csv(
    path: str | Path,
    root: str | Path | None = None,
    *,
    name: str | None = None,
    duplicates: bool = False,
    missing_ok: bool = False,
) -> PairSet:
    """Read a CSV with the columns `a,b,same[,group][,fold][,subject_a,subject_b]`.

    `a` and `b` are image paths, `same` is 1, 0, true or false. Without a fold column: ten folds in
    file order where they come out equal and of both classes, else none. Other columns are not
    read, and `source` says so.

    Args:
        path: The CSV.
        root: The folder its paths start from, or a `.rec` or shards whose image ids they are;
            its own folder when None.
        name: The set's name; the file's stem when None.
        duplicates: Keep pairs that occur twice instead of refusing them.
        missing_ok: Count an image that is not there as a face that was not found.

    Raises:
        FacekdError: A column is missing, a line makes no sense, or as `pair_set`.
    """
    table = read_csv(path)
    listed = _csv_pairs(table)
    folder = Path(root) if root is not None else table.path.parent
    ignored = [column for column in table.columns if column not in CSV_COLUMNS]
    made = pair_set(
        listed,
        open_root(folder),
        name=name or table.path.stem,
        source=str(path) + (f" (columns not read: {', '.join(ignored)})" if ignored else ""),
        folds=_csv_folds(table, [pair.same for pair in listed]),
        subjects_from=table.path.name if "subject_a" in table.columns else "",
        duplicates=duplicates,
        missing_ok=missing_ok,
    )
    if "group" not in table.columns:
        return made
    return replace(made, groups=table.labels("group"))


def list_pairs(path: str | Path, root: str | Path | None = None) -> list[ListedPair]:
    """The pairs of a CSV or of LFW's `pairs.txt`, whether their images are there or not.

    Args:
        path: The list; a CSV where it ends in .csv.
        root: As in `from_lfw_pairs`.

    Raises:
        FacekdError: It cannot be read, or a line is no pair.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return _csv_pairs(read_csv(path))
    lines = _lines(path)
    images = open_root(root if root is not None else path.parent)
    return [_lfw_pair(where, line, images) for where, line in lines[bool(_lfw_header(lines)) :]]


def _lines(path: Path) -> list[tuple[str, str]]:
    """The file's lines that are not empty, each after its place in words."""
    try:
        check_input(path, MAX_TABLE)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FacekdError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise FacekdError(f"{path} is no UTF-8 text ({error}).") from error
    lines = enumerate(text.splitlines(), 1)
    return [(f"{path}, line {i}", line.strip()) for i, line in lines if line.strip()]


def _lfw_header(lines: Sequence[tuple[str, str]]) -> list[int]:
    """`sets n` or `n` of the first line; empty where it is a pair."""
    words = lines[0][1].split() if lines else []
    if len(words) > 2 or not all(_is_number(word) for word in words):
        return []
    return [int(word) for word in words]


def _lfw_pair(where: str, line: str, root: ImageRoot) -> ListedPair:
    fields = [field.strip() for field in (line.split("\t") if "\t" in line else line.split())]
    if len(fields) == 3:
        fields = [fields[0], fields[1], fields[0], fields[2]]
        same = True
    elif len(fields) == 4:
        same = False
    else:
        raise FacekdError(
            f"{where}: {line[:80]!r} is neither 'name i j' nor 'name1 i name2 j'; mend the line."
        )
    one, i, other, j = fields
    return ListedPair(
        where, _lfw_image(where, root, one, i), _lfw_image(where, root, other, j), same, one, other
    )


def _lfw_image(where: str, root: ImageRoot, person: str, number: str) -> str:
    """The image's path below the root; with the first suffix where it is not there at all."""
    stem = _safe(where, f"{person}/{person}_{_number(number, where):04d}")
    known = (stem + suffix for suffix in _LFW_SUFFIXES if root.has(stem + suffix))
    return next(known, stem + _LFW_SUFFIXES[0])


def _number(text: str, where: str) -> int:
    if not _is_number(text):
        raise FacekdError(f"{where}: {text[:80]!r} is no image number; mend the line.")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _lfw_folds(path: Path, header: list[int], same: list[bool]) -> NDArray[np.int64] | None:
    if not header:
        return balanced_file_order_folds(same)
    sets, each = header if len(header) == 2 else (1, header[0])
    answers = np.asarray(same, dtype=np.bool_)
    if len(answers) != 2 * sets * each or not sets * each:
        raise FacekdError(
            f"{path}: its header {' '.join(map(str, header))} means {2 * sets * each} pairs, "
            f"{len(answers)} follow; copy the file again."
        )
    genuine = answers.reshape(sets, -1).sum(axis=1)
    if (genuine != each).any():
        fold = int(np.flatnonzero(genuine != each)[0])
        raise FacekdError(
            f"{path}: set {fold + 1} has {genuine[fold]} genuine pairs, its header says {each}; "
            "copy the file again."
        )
    if sets == 1:
        return balanced_file_order_folds(same)
    return np.repeat(np.arange(sets, dtype=np.int64), 2 * each)


def _cfp_images(folder: Path, kind: str) -> dict[int, str]:
    """Image number -> path below the folder, of `Pair_list_F.txt` or `Pair_list_P.txt`."""
    images = {}
    for where, line in _lines(folder / f"Protocol/Pair_list_{kind}.txt"):
        number, _, path = line.partition(" ")
        image = posixpath.normpath(posixpath.join("Protocol", path.strip()))
        if not path or len(image.split("/")) < 3:
            raise FacekdError(
                f"{where}: {line[:80]!r} is not 'number path', such as "
                "'1 ../Data/Images/001/frontal/01.jpg'."
            )
        images[_number(number, where)] = _safe(where, image)
    return images


def _cfp_pair(
    where: str, line: str, left: dict[int, str], right: dict[int, str], same: bool
) -> ListedPair:
    i, _, j = line.partition(",")
    one, other = left.get(_number(i.strip(), where)), right.get(_number(j.strip(), where))
    if one is None or other is None:
        raise FacekdError(
            f"{where}: there is no image {i if one is None else j} in the Pair_list files "
            f"({len(left)} and {len(right)} images)."
        )
    return ListedPair(where, one, other, same, one.split("/")[-3], other.split("/")[-3])


def _csv_pairs(table: CsvTable) -> list[ListedPair]:
    left, right = table.column("a"), table.column("b")
    people: list[tuple[str | None, str | None]] = [(None, None)] * len(table)
    if "subject_a" in table.columns or "subject_b" in table.columns:
        people = list(zip(table.column("subject_a"), table.column("subject_b"), strict=True))
    listed = []
    for i, answer in enumerate(table.column("same")):
        if answer.lower() not in ANSWERS:
            raise FacekdError(
                f"{table.where(i)}: same is {answer!r}; write 1 or true for a genuine pair, 0 or "
                "false for an impostor pair."
            )
        if not left[i] or not right[i]:
            raise FacekdError(f"{table.where(i)}: {'a' if not left[i] else 'b'} is empty.")
        where = table.where(i)
        one, other = (_safe(where, posixpath.normpath(text)) for text in (left[i], right[i]))
        listed.append(ListedPair(where, one, other, ANSWERS[answer.lower()], *people[i]))
    return listed


def _safe(where: str, image: str) -> str:
    """The image's path, after making sure that it stays below the root."""
    try:
        return check_relative(image)
    except FacekdError as error:
        raise FacekdError(f"{where}: {error}") from None


def _csv_folds(table: CsvTable, same: list[bool]) -> NDArray[np.int64] | None:
    """The fold column, numbered from 0 in the order in which its names come."""
    if "fold" not in table.columns:
        return balanced_file_order_folds(same)
    names = table.column("fold")
    if "" in names:
        raise FacekdError(f"{table.where(names.index(''))}: fold is empty; give every pair one.")
    numbers = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)
