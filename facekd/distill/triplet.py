"""TripletDistillation: a triplet loss whose margin the teacher's distances set."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.term import TERMS, Step, Term
from facekd.errors import FacekdError
from facekd.heads.classifier import unit
from facekd.settings import NotNegative

Distance = Literal["l2", "angle"]
Mining = Literal["all", "hardest"]

_LARGEST_COSINE = 1.0 - 1e-6  # an angle of 0.08 degrees: arccos has no bounded slope beyond


@TERMS.register("triplet")
class Triplet(Term):
    """Triplet loss with a margin for each triplet, wide where the teacher tells well apart.

    mean over triplets (a, p, n) of max(0, d_s(a,p) - d_s(a,n) + m(a,p,n)), with
    m = (M_max - M_min) / D_max max(0, d_t(a,n) - d_t(a,p)) + M_min and D_max the batch's largest
    max(0, d_t(a,n) - d_t(a,p)) (TripletDistillation, arXiv 1905.04457). a and p are two images of
    one identity in either order, n of another. d is the squared L2 distance of normalised
    embeddings, or their angle; widths need not agree. Rows with label -1 take no part.

    The equation is that of MarginDistillation's repository, which has both distances and M from
    0.2 to 0.5, on triplets chosen among 7200 images beforehand. It divides by zero where the
    teacher orders no triplet well: here such a batch has the margin M_min. The angle's gradient is
    taken as 0 below 0.08 degrees and as near to the antipode, where it grows without bound.

    Args:
        distance: "l2" (squared) or "angle" (radians).
        mining: "all" triplets of the batch, or for each anchor its "hardest": the positive farthest
            from it and the negative nearest to it for the student (arXiv 1703.07737).
        margin_min: M_min, in units of d.
        margin_max: M_max, in units of d.

    Raises:
        FacekdError: M_max is below M_min.
    """

    paper = "TripletDistillation, arXiv 1905.04457"
    ranks = "each process forms triplets of its own batch; the gradients are averaged"
    needs = frozenset({"labels", "several images of an identity", "teacher_embeddings"})

    def __init__(
        self,
        distance: Distance = "l2",
        mining: Mining = "all",
        margin_min: NotNegative = 0.2,
        margin_max: NotNegative = 0.5,
    ) -> None:
        super().__init__()
        if margin_max < margin_min:
            raise FacekdError(
                f"term 'triplet': margin_max {margin_max} is below margin_min {margin_min}."
            )
        self.distance: Distance = distance
        self.mining: Mining = mining
        self.margin_min, self.margin_max = margin_min, margin_max

    def forward(self, step: Step) -> Tensor:
        """Mean over the triplets, 0 where there are none: a scalar."""
        student, teacher = self._distances(step.embeddings), self._distances(step.teacher)
        a, p, n = self._triplets(step.labels, student.detach())
        with torch.no_grad():
            apart = (teacher[a, n] - teacher[a, p]).relu()
            widest = apart.max() if len(a) else apart.sum()
            share = torch.where(widest > 0, apart / widest, apart)
            margins = (self.margin_max - self.margin_min) * share + self.margin_min
        losses = F.relu(student[a, p] - student[a, n] + margins)
        return losses.sum() / max(len(a), 1)

    def _distances(self, embeddings: Tensor) -> Tensor:
        """(B, B)."""
        vectors = unit(embeddings)
        cosines = vectors @ vectors.T
        if self.distance == "l2":
            lengths = vectors.square().sum(dim=1)
            return lengths[:, None] + lengths - 2 * cosines
        return cosines.clamp(-_LARGEST_COSINE, _LARGEST_COSINE).acos()

    def _triplets(self, labels: Tensor, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of anchors, positives and negatives, each (T,) int64."""
        known = (labels >= 0)[:, None] & (labels >= 0)
        same = labels[:, None] == labels
        positive = same & known & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        negative = ~same & known
        if self.mining == "all":
            anchors, positives = positive.nonzero(as_tuple=True)
            pair, negatives = negative[anchors].nonzero(as_tuple=True)
            return anchors[pair], positives[pair], negatives
        anchors = (positive.any(dim=1) & negative.any(dim=1)).nonzero()[:, 0]
        farthest = distances.masked_fill(~positive, -torch.inf).argmax(dim=1)
        nearest = distances.masked_fill(~negative, torch.inf).argmin(dim=1)
        return anchors, farthest[anchors], nearest[anchors]


@preset("triplet_distillation", paper="TripletDistillation, arXiv 1905.04457")
def triplet_distillation(
    classification: NotNegative = 0.0,
    beta: NotNegative = 1.0,
    distance: Distance = "l2",
    mining: Mining = "all",
    margin_min: NotNegative = 0.2,
    margin_max: NotNegative = 0.5,
    **margin: Any,
) -> list[TermSpec]:
    """TripletDistillation: a triplet loss with the teacher's margins; fine-tunes a student.

    The paper trains by it alone, from a student that has learnt under ArcFace, at a learning rate
    of 1e-3; `classification` keeps a margin softmax beside it.
    """
    shape = {"margin_min": margin_min, "margin_max": margin_max}
    return [
        term_spec("margin", classification, **margin),
        term_spec("triplet", beta, distance=distance, mining=mining, **shape),
    ]
