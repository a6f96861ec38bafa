"""L2E: the squared distance between the two networks' embeddings."""

from typing import Any, Literal

from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.same_width import same_width
from facekd.distill.term import TERMS, Step, Term
from facekd.heads.classifier import unit
from facekd.settings import NotNegative


@TERMS.register("l2e")
class L2E(Term):
    """Squared L2 distance between normalised student and teacher embeddings (the paper's KDE).

    mean: 1/B sum_i || z_s,i/|z_s,i| - z_t,i/|z_t,i| ||^2, in [0, 4] (D of arXiv 2201.06945).
    sum: without 1/B, as in the authors' code (HeadSharingKD, `KDE`), so that its pull grows with
    the batch: their weight b at batch size B is the weight b x B of the mean.
    The student's embeddings pass through the projector where the widths differ. The mean over
    components that other codebases use (`mse_loss`) is this mean divided by the width.

    Args:
        reduction: "mean" or "sum" over the batch (over components it is always the sum).
        normalize: Whether both sides are scaled to length 1 first.
    """

    paper = "L2E / KDE as in HeadSharingKD, arXiv 2201.06945"
    needs = frozenset({"teacher_embeddings", "projector"})

    def __init__(self, reduction: Literal["mean", "sum"] = "mean", normalize: bool = True) -> None:
        super().__init__()
        self.reduction = reduction
        self.normalize = normalize

    def forward(self, step: Step) -> Tensor:
        """The distance over the batch: a scalar."""
        student, teacher = same_width("l2e", step)
        if self.normalize:
            student, teacher = unit(student), unit(teacher)
        distances = (student - teacher).square().sum(dim=1)
        return distances.mean() if self.reduction == "mean" else distances.sum()


@preset("l2e", paper="L2E / KDE as in arXiv 2201.06945")
def l2e(
    classification: NotNegative = 1.0,
    beta: NotNegative = 1.0,
    reduction: Literal["mean", "sum"] = "mean",
    **margin: Any,
) -> list[TermSpec]:
    """L2E: classification x margin softmax + beta x distance between normalised embeddings.

    `classification: 0` is the embedding distance alone, which needs no labels.
    """
    return [
        term_spec("margin", classification, **margin),
        term_spec("l2e", beta, reduction=reduction),
    ]
