"""Looking at verification sets while a stage trains."""

from typing import Any

from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError
from facekd.eval.benchmarks import data_folder, find_bench
from facekd.eval.embed import score_pairs
from facekd.eval.synthetic_bench import SYNTHETIC
from facekd.eval.trials import Trials
from facekd.eval.verification import Questions, verify
from facekd.model import FaceModel
from facekd.train.log import Log
from facekd.train.stage_plan import StagePlan

HOLDOUT = "holdout"
_FARS = (1e-2, 1e-3)


class Validator:
    """Scores the stage's verification sets and writes the numbers into the log.

    Args:
        plan: The stage.
        log: Where the numbers go.
    """

    def __init__(self, plan: StagePlan, log: Log) -> None:
        self.plan, self.log = plan, log
        self.sets = [_load(plan, name) for name in plan.stage.validation.benches]
        self.last: dict[str, Any] = {}

    def look(self, step: int, model: FaceModel) -> None:
        """Score every set once with a network, with flip-sum, as facekd-eval does."""
        for pairs in self.sets:
            scores = score_pairs(pairs, model)
            result = verify(scores, Trials(pairs.same, pairs.folds), Questions(fars=_FARS))
            accuracy = None if result.accuracy is None else result.accuracy.mean
            values: dict[str, float | None] = {"accuracy": accuracy}
            values |= {f"tar@far={far:g}": result.point(far).tar for far in _FARS}
            self.last[pairs.name] = values
            self.log.validation(step, step / self.plan.steps_per_epoch, pairs.name, values)


def check_validation(plan: StagePlan) -> None:
    """Make sure that every verification set is there and sound, without decoding its images.

    Raises:
        FacekdError: One is missing or no verification set, or `holdout` is named and nobody is
            held back.
    """
    for name in plan.stage.validation.benches:
        if name == HOLDOUT and plan.holdout is None:
            raise FacekdError(
                f"stage {plan.name!r}: validation names {HOLDOUT}, but nobody is held back; "
                "set data.holdout to a number of people."
            )
        if name != SYNTHETIC:
            _load(plan, name)


def _load(plan: StagePlan, name: str) -> PairSet:
    if name == HOLDOUT and plan.holdout is not None:
        return plan.holdout.pairs(plan.stage.validation.pairs, seed=0, name=HOLDOUT)
    return find_bench(name, data_folder()).load_pairs(plan.input_size)
