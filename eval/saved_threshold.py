"""A threshold out of a saved report, and what errors it made there."""

import math
from dataclasses import dataclass
from pathlib import Path

from ..errors import FacekdError
from .operating import tar_at_far
from .results import BenchResult, ModelResult
from .saved_report import read_report
from .transfer import SetThreshold, TransferredPoint, apply_thresholds, pick_name
from .verification import Verification


@dataclass(frozen=True)
class SavedModel:
    """One model's scores on one bench of a report.

    Attributes:
        bench: The bench.
        model: The model.
        numbers: Its numbers there.
        flip: Whether the mirrored image's embedding is in its scores; None where nobody knows.
    """

    bench: BenchResult
    model: ModelResult
    numbers: Verification
    flip: bool | None

    def at_far(self, far: float) -> TransferredPoint:
        """The threshold at a target FAR by the strict rule, with the rates that it has there.

        Raises:
            FacekdError: The bench has too few impostor pairs for such a FAR.
        """
        point = tar_at_far(self.numbers.ranked, far)
        if point.threshold is None:
            raise FacekdError(
                f"{self.bench.name}: {point.reason}; ask for a larger FAR, or give a "
                "report on more pairs."
            )
        return self.at(point.threshold, far)

    def at(self, threshold: float, target_far: float = math.nan) -> TransferredPoint:
        """The rates that a threshold has there.

        Args:
            threshold: A cosine.
            target_far: What it was set for, if for any.
        """
        known = SetThreshold(target_far, threshold, f"bench {self.bench.name}")
        return apply_thresholds(self.numbers.ranked, (known,))[0]


def read_saved_model(folder: str | Path, model: str, bench: str | None = None) -> SavedModel:
    """One model's scores on one bench, out of a report's folder.

    Args:
        folder: As `facekd-eval --out` wrote it.
        model: Name of the model there; where there is one only, it is that, whatever its name.
        bench: Name of the bench there; None where one only has pairs.

    Raises:
        FacekdError: As `read_report`; no such bench or model; or its scores are of templates, whose
            thresholds say nothing of two images.
    """
    evaluation = read_report(folder)
    benches = {one.name: one for one in evaluation.benches if one.genuine}
    chosen = benches[pick_name(list(benches), bench, "bench of pairs", str(folder))]
    models = {one.name: (one, numbers) for one, numbers in chosen.verified()}
    wanted = None if len(models) == 1 else model
    where = f"{folder}, bench {chosen.name}"
    result, numbers = models[pick_name(list(models), wanted, "model", where)]
    if "template" in result.scored:
        raise FacekdError(
            f"{where}: the scores are of templates, which hold several images each; give a report "
            "on pairs of images."
        )
    flip = None
    if result.scored.startswith("cosine"):
        flip = True if "mirrored" in result.scored else None
        flip = False if "without flip" in result.scored else flip
    return SavedModel(chosen, result, numbers, flip)
