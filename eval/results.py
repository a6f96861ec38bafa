"""The outcome of an evaluation: which models did what on which benches, and how it was measured."""

from collections.abc import Iterator
from dataclasses import dataclass

from .accuracy import AccuracyProtocol
from .identification import Identification
from .verification import Comparison, Verification, compare


@dataclass(frozen=True)
class ModelResult:
    """One model on one bench.

    Attributes:
        name: What tables call it.
        file: Where it was loaded from: a model, embeddings or scores.
        image_size: Size of the images and of the model's input, in words; "" where no image was
            seen.
        numbers: What came out.
        scored: How its scores came to be, in words: "cosine of two embeddings, without flip",
            "cosine of two templates, N1 D1 F1: ...".
    """

    name: str
    file: str
    image_size: str
    numbers: Verification | Identification
    scored: str = ""


@dataclass(frozen=True)
class BenchResult:
    """All models on one bench; the baseline is the one the others are compared with.

    Attributes:
        name: The bench.
        source: Where its images and its list come from.
        kind: What it is: "pairs", "template pairs (1:1)", "all pairs", "1:N" or "scored pairs".
        images: How many different images (faces); 0 where that is not known.
        models: One or more, all on the same pairs.
        baseline: Name of one of them.
        not_found: In how many of the images no face was found (failure to acquire); they count as
            rejected.
        folds: How many folds accuracy is judged over; None where there are none.
    """

    name: str
    source: str
    kind: str
    images: int
    models: tuple[ModelResult, ...]
    baseline: str
    not_found: int = 0
    folds: int | None = None

    @property
    def genuine(self) -> int:
        """How many genuine pairs; 0 on a 1:N bench."""
        return next((len(n.ranked.genuine) for _, n in self.verified()), 0)

    @property
    def impostors(self) -> int:
        """How many impostor pairs; 0 on a 1:N bench."""
        return next((n.ranked.impostors for _, n in self.verified()), 0)

    def verified(self) -> Iterator[tuple[ModelResult, Verification]]:
        """The models with 1:1 numbers, and those numbers."""
        for model in self.models:
            if isinstance(model.numbers, Verification):
                yield model, model.numbers

    def identified(self) -> Iterator[tuple[ModelResult, Identification]]:
        """The models with 1:N numbers, and those numbers."""
        for model in self.models:
            if isinstance(model.numbers, Identification):
                yield model, model.numbers

    def comparisons(self) -> list[tuple[str, Comparison]]:
        """(name, difference to the baseline) of every other model whose scores are kept."""
        kept = {model.name: n for model, n in self.verified() if n.scores is not None}
        base = kept.pop(self.baseline, None)
        return [] if base is None else [(name, compare(base, n)) for name, n in kept.items()]

    def words(self) -> str:
        """What was measured and how its scores came to be, in one line without a full stop."""
        parts = [self.kind]
        if self.genuine:
            parts.append(f"{self.genuine:,} genuine and {self.impostors:,} impostor pairs")
        if self.folds is not None:
            parts.append(f"{self.folds} folds")
        if self.images:
            parts.append(f"{self.images:,} images")
        if self.not_found:
            share = 100 * self.not_found / self.images
            parts.append(f"no face found in {self.not_found:,} of them ({share:.2g} %): rejected")
        sizes = ", ".join(dict.fromkeys(m.image_size for m in self.models if m.image_size))
        told = [
            ", ".join(parts),
            *self._scored(),
            f"image size {sizes}" if sizes else "",
            self.source,
        ]
        return "; ".join(part for part in told if part)

    def _scored(self) -> list[str]:
        """How scores came to be: once where it is the same for all, else model by model."""
        ways: dict[str, list[str]] = {}
        for model in self.models:
            ways.setdefault(model.scored, []).append(model.name)
        if len(ways) == 1:
            return list(ways)
        return [f"{', '.join(names)}: {way}" for way, names in ways.items()]


@dataclass(frozen=True)
class Evaluation:
    """Models on benches under one protocol.

    Attributes:
        benches: The results.
        protocol: `exact`, or `insightface` for its ways of setting thresholds and joining
            galleries.
    """

    benches: tuple[BenchResult, ...]
    protocol: AccuracyProtocol

    def protocol_words(self) -> str:
        """How the numbers were read off the scores, in one line without a full stop."""
        theirs = self.protocol == "insightface"
        parts = []
        if any(bench.folds is not None for bench in self.benches):
            parts.append(f"accuracy threshold by {self.protocol} search on the other folds")
        if any(True for bench in self.benches for _ in bench.verified()):
            parts.append(self.far_rule())
        if any(True for bench in self.benches for _ in bench.identified()):
            parts.append(
                "1:N against both galleries joined; TPIR counts mates above the "
                "(target x probes)-th highest score of all others, of any rank (insightface)"
                if theirs
                else "1:N against each gallery alone; TPIR is the largest whose FPIR <= target"
            )
        return "; ".join([*parts, "brackets are 95 % intervals"])

    def far_rule(self) -> str:
        """How a FAR asked for picks the threshold, in words."""
        if self.protocol == "insightface":
            return "TAR at the point whose FAR is nearest to the target (insightface)"
        return "TAR is the largest whose FAR <= target"
