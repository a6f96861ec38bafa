"""Which images to keep: split, subset and merge of labelled images, as arrays of their numbers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FacekdError
from .columns import Int64s


def split(
    labels: Int64s, parts: Mapping[str, float | int | None], seed: int = 0
) -> dict[str, Int64s]:
    """Deal whole identities to parts at random; every image lands in exactly one part.

    Args:
        labels: int64 (n,), the images' identities.
        parts: For each part a share of the identities (a float from 0 to 1), a number of them (an
            int), or None for all that remain; at most one part is None.
        seed: The same seed gives the same parts.

    Returns:
        For each part int64, its images in their order.

    Raises:
        FacekdError: The parts ask for more identities than there are, leave some over, or one
            would be empty.
    """
    identities, number = np.unique(labels, return_inverse=True)
    sizes = _part_sizes(parts, len(identities))
    dealt = np.random.default_rng(seed).permutation(len(identities))
    part_of = np.empty(len(identities), dtype=np.int64)
    part_of[dealt] = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    of_image = part_of[number]
    return {name: np.flatnonzero(of_image == k) for k, name in enumerate(sizes)}


@dataclass(frozen=True)
class Wanted:
    """What a subset keeps; the settings are obeyed in this order.

    Attributes:
        labels: Only these identities; None for all.
        min_images: Only identities with so many images or more.
        max_images: Only identities with so many images or fewer.
        per_identity: Of each identity so many images at most, drawn at random.
        identities: So many identities, drawn at random.
        images: Whole identities, drawn at random, while there are no more than so many images.
    """

    labels: Collection[int] | None = None
    min_images: int = 1
    max_images: int | None = None
    per_identity: int | None = None
    identities: int | None = None
    images: int | None = None


def subset(labels: Int64s, wanted: Wanted, seed: int = 0) -> Int64s:
    """Choose images by identity and by number.

    Args:
        labels: int64 (n,), the images' identities.
        wanted: What to keep.
        seed: The same seed gives the same images.

    Returns:
        int64, the images kept, in their order.

    Raises:
        FacekdError: Nothing is left, or there are fewer identities than asked for.
    """
    rng = np.random.default_rng(seed)
    identities, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    kept = counts >= wanted.min_images
    if wanted.max_images is not None:
        kept &= counts <= wanted.max_images
    if wanted.labels is not None:
        kept &= np.isin(identities, list(wanted.labels))
    if not kept.any():
        raise FacekdError(
            f"no identity is left of {len(identities)} with {counts.min()} to {counts.max()} "
            "images each; ask for less."
        )
    rank = _random_rank(rng, number)
    rows = kept[number]
    if wanted.per_identity is not None:
        rows &= rank < wanted.per_identity
        counts = np.minimum(counts, wanted.per_identity)
    chosen = _draw_identities(rng, np.flatnonzero(kept), counts, wanted)
    return np.flatnonzero(rows & np.isin(number, chosen))


@dataclass(frozen=True)
class Joined:
    """One identity of one source, and its place in the joint label map.

    Attributes:
        source: The source's name.
        old_label: Its label there.
        old_name: Its name there; its label as text where it has none.
        name: Its name in the joint set.
        label: Its label in the joint set.
    """

    source: str
    old_label: int
    old_name: str
    name: str
    label: int


def join(
    sources: Mapping[str, Mapping[int, str]], same_names: bool = False, separator: str = "__"
) -> list[Joined]:
    """Number the identities of several sources as one set, labels from 0 without gaps.

    Args:
        sources: For each source its identities' names by label.
        same_names: Identities of equal name in several sources are one person. Otherwise they are
            kept apart: the joint name is source, separator, name.
        separator: Between them.

    Returns:
        One entry for each identity of each source, in the order of the sources and labels.

    Raises:
        FacekdError: Two identities that are to be kept apart would get one name.
    """
    labels: dict[str, int] = {}
    owner: dict[str, tuple[str, int]] = {}
    joined = []
    for source, names in sources.items():
        for old, text in sorted(names.items()):
            name = text if same_names else f"{source}{separator}{text}"
            first = owner.setdefault(name, (source, old))
            if first != (source, old) and not (same_names and first[0] != source):
                raise FacekdError(
                    f"label {first[1]} of {first[0]} and label {old} of {source} would both be "
                    f"called {name!r}; give the sources other names, as NAME=PATH."
                )
            joined.append(Joined(source, old, text, name, labels.setdefault(name, len(labels))))
    return joined


def find_labels(names: Sequence[str], wanted: Sequence[str], where: Sequence[str]) -> list[int]:
    """The labels of named identities.

    Args:
        names: The name of label i is `names[i]`.
        wanted: Names to look for.
        where: Where each was read, for messages.

    Raises:
        FacekdError: There is no identity of that name.
    """
    label = {name: i for i, name in enumerate(names)}
    unknown = [i for i, name in enumerate(wanted) if name not in label]
    if unknown:
        raise FacekdError(
            f"{where[unknown[0]]}: there is no identity {wanted[unknown[0]]!r} among the "
            f"{len(names)} ({len(unknown)} of {len(wanted)} names are unknown); correct the list."
        )
    return [label[name] for name in wanted]


def _part_sizes(parts: Mapping[str, float | int | None], total: int) -> dict[str, int]:
    """How many of all identities each part gets."""
    shares = {name: part for name, part in parts.items() if isinstance(part, float)}
    for name, share in shares.items():
        if not 0 < share <= 1:
            raise FacekdError(f"{name} is {share:g}; give a share of the identities, such as 0.1.")
    sizes = {name: part for name, part in parts.items() if isinstance(part, int)}
    sizes |= _rounded(shares, total)
    left = total - sum(sizes.values())
    rest = [name for name, part in parts.items() if part is None]
    told = ", ".join(f"{name} {size}" for name, size in sizes.items())
    if left < 0:
        raise FacekdError(f"{told} identities are asked for, and there are {total}; ask for less.")
    if rest:
        sizes[rest[0]] = left
    elif left:
        raise FacekdError(
            f"{told} of {total} identities would leave {left} in no part; let the shares add up "
            "to 1, or leave out one of them, which then gets the rest."
        )
    for name, size in sizes.items():
        if size < 1:
            raise FacekdError(f"{name} would get no identity of {total}; ask for other parts.")
    return {name: sizes[name] for name in parts}


def _rounded(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers near `share * total` whose sum is near the shares' sum times the total."""
    exact = {name: share * total for name, share in shares.items()}
    sizes = {name: int(value + 1e-9) for name, value in exact.items()}
    over = round(sum(exact.values())) - sum(sizes.values())
    for name in sorted(exact, key=lambda one: sizes[one] - exact[one])[:over]:
        sizes[name] += 1
    return sizes


def _random_rank(rng: np.random.Generator, number: Int64s) -> Int64s:
    """Each image's place in a random order of its identity's images."""
    shuffled = rng.permutation(len(number))
    order = shuffled[np.argsort(number[shuffled], kind="stable")]
    counts = np.bincount(number)
    rank = np.empty(len(number), dtype=np.int64)
    rank[order] = np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def _draw_identities(
    rng: np.random.Generator, candidates: Int64s, counts: Int64s, wanted: Wanted
) -> Int64s:
    """The identities that the two numbers of a subset leave."""
    drawn = rng.permutation(candidates)
    if wanted.identities is not None:
        if wanted.identities > len(drawn):
            raise FacekdError(
                f"{wanted.identities} identities are asked for, and {len(drawn)} are left to "
                "choose from; ask for fewer."
            )
        drawn = drawn[: wanted.identities]
    if wanted.images is not None:
        fit = int(np.searchsorted(np.cumsum(counts[drawn]), wanted.images, side="right"))
        if not fit:
            raise FacekdError(
                f"{wanted.images} images are asked for, and the first identity drawn has "
                f"{counts[drawn[0]]}; ask for more, or for fewer images of each identity."
            )
        drawn = drawn[:fit]
    return drawn
