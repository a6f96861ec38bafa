"""What two sets of images have in common: people by name; images by bytes, picture or embedding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .image_set import ImageSet, image_marks, normal_name
from .nearest_match import Matches, equal_digests, near_embeddings, near_hashes
from .perceptual import mirrored
from .review_tables import csv_text
from .thresholds import SAME_BITS, SAME_PERSON

COLUMNS = ("a_image", "a_identity", "b_image", "b_identity", "way", "bits", "cosine")

Embeddings = tuple[NDArray[Any], NDArray[Any]]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """What A and B share.

    Attributes:
        a: The set that could do without.
        b: The other one.
        people: int64 (k, 2), places in `a.names` and `b.names` of people named alike; None where
            one of the two has no names.
        found: Way to matches, each image with its nearest of the other set: "bytes", the same file;
            "picture", the same by perceptual hash; "mirrored", likewise; "embedding".
    """

    a: ImageSet
    b: ImageSet
    people: Numbers | None
    found: Mapping[str, Matches]

    def table(self) -> list[tuple[str, ...]]:
        """Rows of text: way; images and identities of A; images and identities of B."""
        rows: list[tuple[str, ...]] = [self._name_row()]
        for way, matches in self.found.items():
            a, b = np.unique(matches.a), np.unique(matches.b)
            people = _count(self.a.identities_of(a)), _count(self.b.identities_of(b))
            rows.append((way, _count(len(a)), people[0], _count(len(b)), people[1]))
        return rows

    def matches_csv(self) -> str:
        """The matches, people named alike first, as CSV with `COLUMNS`."""
        rows: list[tuple[object, ...]] = [
            ("", self.a.names[i], "", self.b.names[j], "name", "", "")
            for i, j in ([] if self.people is None else self.people.tolist())
        ]
        for way, matches in self.found.items():
            for i, j, value in zip(
                matches.a.tolist(), matches.b.tolist(), matches.values.tolist(), strict=True
            ):
                numbers = ("", f"{value:.4f}") if way == "embedding" else (int(value), "")
                sides = [(side.ids[n], side.identity(n)) for side, n in ((self.a, i), (self.b, j))]
                rows.append((*sides[0], *sides[1], way, *numbers))
        return csv_text(COLUMNS, rows)

    def drop(self, identities: bool = False) -> Numbers:
        """The images of A to leave out; int64, rising.

        Args:
            identities: Not only the images found, but all images of the people they show, and of
                the people named alike.

        Raises:
            FacekdError: A does not say whom its images show, and identities are asked for.
        """
        images = np.unique(np.concatenate([matches.a for matches in self.found.values()]))
        if not identities:
            return images
        shown = self.a.known_people()
        people = shown[images]
        if self.people is not None:
            people = np.union1d(people, self.people[:, 0])
        return np.flatnonzero(np.isin(shown, people))

    def _name_row(self) -> tuple[str, ...]:
        if self.people is None:
            return ("name", "-", "-", "-", "-")
        cells = []
        for side, places in ((self.a, self.people[:, 0]), (self.b, self.people[:, 1])):
            images = int(np.isin(side.known_people(), places).sum())
            cells += [_count(images), _count(len(np.unique(places)))]
        return ("name", *cells)


def find_overlap(
    a: ImageSet,
    b: ImageSet,
    *,
    bits: int = SAME_BITS,
    embeddings: Embeddings | None = None,
    cosine: float = SAME_PERSON,
    workers: int = 1,
    progress: bool = False,
) -> Overlap:
    """Look for people and images that stand in both sets; every image is read once.

    Args:
        a: The set that could do without, such as one to train on.
        b: The other one, such as one to test on.
        bits: Of 256, the most by which two copies' perceptual hashes differ.
        embeddings: Those of all images of A, (n, d), and of B, (m, d), from one network; None: do
            not look by embedding.
        cosine: From which two embeddings show one person.
        workers: Threads that read and decode images.
        progress: Show bars on stderr, on a terminal.

    Raises:
        FacekdError: An image cannot be read, or an embedding is none.
    """
    digests, hashes = [], []
    for side in (a, b):
        with _bar(len(side), f"read {side.path}", "img", progress) as bar:
            marks = image_marks(side, workers, bar.update)
        digests.append(marks[0])
        hashes.append(marks[1])
    pairs = len(a) * len(b)
    found = {"bytes": equal_digests(*digests)}
    with _bar(2 * pairs, "compare hashes", "pair", progress) as bar:
        found["picture"] = near_hashes(hashes[0], hashes[1], bits, bar.update)
        found["mirrored"] = near_hashes(hashes[0], mirrored(hashes[1]), bits, bar.update)
    if embeddings is not None:
        with _bar(pairs, "compare embeddings", "pair", progress) as bar:
            found["embedding"] = near_embeddings(*embeddings, cosine, bar.update)
    return Overlap(a, b, shared_names(a, b), found)


def shared_names(a: ImageSet, b: ImageSet) -> Numbers | None:
    """Places in both sets' names of people named alike, int64 (k, 2); None: no names to compare."""
    if not (a.named and b.named):
        return None
    places: dict[str, list[int]] = {}
    for j, name in enumerate(b.names):
        places.setdefault(normal_name(name), []).append(j)
    alike = [(i, j) for i, name in enumerate(a.names) for j in places.get(normal_name(name), [])]
    return np.array(alike, dtype=np.int64).reshape(-1, 2)


def _bar(total: int, title: str, unit: str, progress: bool) -> "tqdm[Any]":
    return tqdm(
        total=total, desc=title, unit=unit, unit_scale=True, disable=None if progress else True
    )


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"
