"""Contact sheets of what was found in sets of images, for the eyes to judge."""

from collections.abc import Callable, Iterator

import numpy as np

from .clean import Duplicates, Identities, Outliers
from .image_set import ImageSet
from .images import Image
from .overlap import Overlap
from .sheet import contact_sheet

ROWS = 24  # of a sheet
SHEETS = 20  # of outliers or duplicates: the surest of them
_BESIDE = 4  # images of an identity shown beside an image in question

Cells = tuple[list[Image | None], list[str]]


def overlap_sheet(overlap: Overlap, each: int = 32) -> Image | None:
    """Pairs side by side, of each way the least sure, four pairs a row; None without pairs."""
    cells: Cells = ([], [])
    for way, matches in overlap.found.items():
        sure = matches.values if way == "embedding" else -matches.values
        for k in np.argsort(sure, kind="stable")[:each].tolist():
            i, j, value = int(matches.a[k]), int(matches.b[k]), matches.values[k]
            near = f"{value:.2f}" if way == "embedding" else f"{int(value)} bits"
            cells[0].extend([overlap.a.images[i], overlap.b.images[j], None])
            cells[1].extend([overlap.a.ids[i], f"{overlap.b.ids[j]}: {way}, {near}", ""])
        _fill_row(cells, 12)
    return contact_sheet(*cells, columns=12) if cells[0] else None


def outlier_sheets(images: ImageSet, people: Identities, found: Outliers) -> Iterator[Image]:
    """A row an outlier: it, its identity's most typical images, those of the nearest other one."""

    def row(k: int) -> Cells:
        image, other = int(found.images[k]), int(found.others[k])
        own = int(people.labels[image])
        cells = [images.images[image], None, *_typical(images, people, own, image), None]
        cells += _typical(images, people, other)
        captions = [f"{found.cosines[k]:.2f} {images.ids[image]}", "", images.names[own]]
        captions += [""] * _BESIDE + [f"{found.other_cosines[k]:.2f} {images.names[other]}"]
        return cells, captions

    return _sheets(row, len(found.images), 2 * _BESIDE + 3)


def duplicate_sheets(images: ImageSet, people: Identities, found: Duplicates) -> Iterator[Image]:
    """A row a pair of identities: the most typical images of each."""

    def row(k: int) -> Cells:
        one, other = found.pairs[k].tolist()
        cells = [*_typical(images, people, one), None, *_typical(images, people, other)]
        captions = [f"{found.cosines[k]:.2f} {images.names[one]}"] + [""] * _BESIDE
        return cells, [*captions, images.names[other]]

    return _sheets(row, len(found.pairs), 2 * _BESIDE + 1)


def _typical(
    images: ImageSet, people: Identities, identity: int, but: int = -1
) -> list[Image | None]:
    """The images of an identity nearest to its centre; None where it has fewer."""
    members = people.members(identity)
    members = members[members != but]
    nearest = members[np.argsort(-people.cosines[members], kind="stable")][:_BESIDE]
    shown: list[Image | None] = [images.images[i] for i in nearest.tolist()]
    return shown + [None] * (_BESIDE - len(shown))


def _sheets(row: Callable[[int], Cells], rows: int, columns: int) -> Iterator[Image]:
    """Sheets of the first `ROWS * SHEETS` rows, each made when it is asked for."""
    for start in range(0, min(rows, ROWS * SHEETS), ROWS):
        cells: Cells = ([], [])
        for k in range(start, min(start + ROWS, rows)):
            images, captions = row(k)
            cells[0].extend(images)
            cells[1].extend(captions)
            _fill_row(cells, columns)
        yield contact_sheet(*cells, columns=columns)


def _fill_row(cells: Cells, columns: int) -> None:
    """Leave the rest of the row empty."""
    cells[0].extend([None] * (-len(cells[0]) % columns))
    cells[1].extend([""] * (len(cells[0]) - len(cells[1])))
