"""Looking at verification sets, or at the validation images of classes, while a stage trains."""

from typing import Any, Protocol

from facekd.data_tools.pairs import PairSet
from facekd.distill.objective import Objective
from facekd.distill.readout import Readout, name_classes
from facekd.errors import FacekdError
from facekd.eval.benchmarks import data_folder, find_bench
from facekd.eval.classification import Classification, classify
from facekd.eval.embed import score_pairs
from facekd.eval.synthetic_bench import SYNTHETIC
from facekd.eval.trials import Trials
from facekd.eval.verification import Questions, verify
from facekd.model import FaceModel
from facekd.train.log import Log
from facekd.train.stage_plan import StagePlan

HOLDOUT = "holdout"
VAL = "val"
_FARS = (1e-2, 1e-3)


class Validator(Protocol):
    """Looks at a network.

    Attributes:
        last: The last look's numbers, by set.
    """

    last: dict[str, Any]

    def look(self, step: int, model: FaceModel) -> None:
        """Score every set once with a network, and write the numbers into the log."""
        ...


def make_validator(plan: StagePlan, log: Log, objective: Objective) -> Validator:
    """What looks at a stage's network.

    Args:
        plan: The stage.
        log: Where the numbers go.
        objective: Its classifiers.
    """
    return ClassValidator(plan, log, objective) if plan.classes else PairValidator(plan, log)


class PairValidator:
    """Scores the stage's verification sets with flip-sum, as facekd-eval does.

    Args:
        plan: The stage.
        log: Where the numbers go.
    """

    def __init__(self, plan: StagePlan, log: Log) -> None:
        self.plan, self.log = plan, log
        self.sets = [_load(plan, name) for name in plan.stage.validation.benches]
        self.last: dict[str, Any] = {}

    def look(self, step: int, model: FaceModel) -> None:
        """See `Validator`."""
        for pairs in self.sets:
            scores = score_pairs(pairs, model)
            result = verify(scores, Trials(pairs.same, pairs.folds), Questions(fars=_FARS))
            accuracy = None if result.accuracy is None else result.accuracy.mean
            values: dict[str, float | None] = {"accuracy": accuracy}
            values |= {f"tar@far={far:g}": result.point(far).tar for far in _FARS}
            self.last[pairs.name] = values
            self.log.validation(step, step / self.plan.steps_per_epoch, pairs.name, values)


class ClassValidator:
    """Names the classes of the validation images, by the head that the recipe chooses.

    Args:
        plan: The stage.
        log: Where the numbers go.
        objective: Its classifiers.
    """

    def __init__(self, plan: StagePlan, log: Log, objective: Objective) -> None:
        self.plan, self.log = plan, log
        share = plan.stage.validation.teacher_head
        self.readout = Readout.of(objective, plan.terms(), share)
        self.last: dict[str, Any] = {}

    def look(self, step: int, model: FaceModel) -> None:
        """See `Validator`."""
        if VAL not in self.plan.stage.validation.benches:
            return
        found = judge_classes(self.plan, model, self.readout)
        values = {"accuracy": found.top1.value}
        if found.top5 is not None:
            values["top5"] = found.top5.value
        self.last[VAL] = values
        self.log.validation(step, step / self.plan.steps_per_epoch, VAL, values)


def judge_classes(plan: StagePlan, model: FaceModel, readout: Readout) -> Classification:
    """What a network and its classifiers say of a stage's validation images.

    Raises:
        FacekdError: An image does not decode, or a head is missing.
    """
    images = plan.holdout
    assert images is not None  # a classification stage always has some
    scores = name_classes(model, readout, images, plan.data.workers).numpy()
    return classify(scores, images.labels, images.label_map.names)


def check_validation(plan: StagePlan) -> None:
    """Make sure that every verification set is there and sound, without decoding its images.

    Raises:
        FacekdError: One is missing or no verification set, or `holdout` is named and nobody is
            held back.
    """
    for name in plan.stage.validation.benches:
        if plan.classes:
            if name != VAL:
                raise FacekdError(
                    f"stage {plan.name!r}: validation names {name!r}, and task: classification "
                    f"knows only {VAL}, the validation images; use benches: [{VAL}] or []."
                )
            continue
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
