"""Lists of what was found in labelled images, as CSV, and the list of what to leave out."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from .clean import Duplicates, Identities, Outliers
from .image_set import ImageSet

EXCLUDE_COLUMNS = ("image", "identity")
OUTLIER_COLUMNS = ("image", "identity", "cosine", "why")
DUPLICATE_COLUMNS = ("identity", "images", "other", "other_images", "cosine")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV file's text: a header line, then the rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def outliers_csv(images: ImageSet, found: Outliers) -> str:
    """Images unlike their identity; `why` names another that they are like."""
    rows = []
    for k, image in enumerate(found.images.tolist()):
        near = float(found.other_cosines[k])
        why = f"no nearer to its identity than strangers are ({found.threshold:.3f})"
        if near >= found.like:
            why = f"like identity {images.names[found.others[k]]} ({near:.3f})"
        rows.append((images.ids[image], images.identity(image), f"{found.cosines[k]:.4f}", why))
    return csv_text(OUTLIER_COLUMNS, rows)


def duplicates_csv(images: ImageSet, people: Identities, found: Duplicates) -> str:
    """Pairs of identities that look like one, with how many images each has."""
    return csv_text(
        DUPLICATE_COLUMNS,
        [
            (
                images.names[one],
                people.counts[one],
                images.names[other],
                people.counts[other],
                f"{value:.4f}",
            )
            for (one, other), value in zip(
                found.pairs.tolist(), found.cosines.tolist(), strict=True
            )
        ],
    )


def exclude_csv(images: ImageSet, numbers: Iterable[int], identities: Iterable[int] = ()) -> str:
    """What to leave out, as a recipe's `data: {exclude: FILE}` takes it.

    Args:
        images: The set.
        numbers: Images to leave out.
        identities: Places in `images.names` of people to leave out whole: rows without an image.
    """
    rows = [(images.ids[i], images.identity(i)) for i in numbers]
    rows += [("", images.names[place]) for place in dict.fromkeys(identities)]
    return csv_text(EXCLUDE_COLUMNS, rows)
