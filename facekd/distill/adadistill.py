"""AdaDistill: margin softmax against class centres that follow the teacher's embeddings."""

from typing import Any, Literal

import torch
from torch import Tensor

from facekd.distill.margin import Cosine, Margin
from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.same_width import same_width
from facekd.distill.term import TERMS, Sizes, Step, Term
from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier, unit
from facekd.ranks import gather
from facekd.settings import Positive

_SMALLEST_ALPHA = 1e-6  # in the weighted form, as in the authors' code


@TERMS.register("adadistill")
class AdaDistill(Term):
    """Margin softmax against class centres that are a moving average of teacher embeddings.

    CE(s margin(cos(z_s, w_j)), y), where before each step the centres of the batch's identities
    move, outside the graph (arXiv 2407.01332):
        w_y <- alpha w_y + (1 - alpha) z_t/|z_t|, with
        plain:    alpha = clip(cos(z_s, z_t), 0, 1)
        weighted: alpha = clip(clip(cos(w_y, z_t), 1e-6, 1) cos(z_s, z_t), 1e-6, 1)
    so that an untrained student sees single embeddings, and a good one their mean. `weighted` is
    what the paper and the authors' code (fdbtrs/AdaDistill) end with, and the default; `plain` is
    the paper's only: their code's branch for it reads names that do not exist.

    Differences from the authors' code: of several images of one identity in a batch, theirs keeps
    whichever is written last, here each moves the old centre and the results are averaged (equal
    where labels are unique); their processes each keep centres of their own, which drift apart.
    The student's embeddings pass through the projector where the widths differ. In evaluation mode
    the centres stay. Rows with label -1 move nothing and are left out of the mean.

    Args:
        alpha: Which alpha.
        margin: One of `facekd.heads.MARGINS`. ArcFace's m is 0.45 by default, the paper's.
        scale: s, what cosines are multiplied by (default: the margin's own, 64).
        filter_above: Inter-class filtering, as in the term `margin`.
        **settings: The margin's own.

    Raises:
        FacekdError: An unknown margin or a setting it does not have; the stage has no teacher; or
            the widths differ and there is no projector.
    """

    paper = "AdaDistill, arXiv 2407.01332"
    ranks = (
        "each process gathers the others' teacher embeddings, labels and alphas and moves its "
        "centres by all of them, so that the centres stay equal"
    )
    needs = frozenset({"labels", "teacher_embeddings", "projector"})

    def __init__(
        self,
        alpha: Literal["plain", "weighted"] = "weighted",
        margin: str = "arcface",
        scale: Positive | None = None,
        filter_above: Cosine | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        if margin == "arcface":
            settings = {"m": 0.45} | settings
        self.softmax = Margin("student", margin, scale, filter_above, **settings)
        if self.softmax.linear:
            raise FacekdError(
                "term 'adadistill': its centres are compared by cosines, and margin: softmax has "
                "none; use arcface or cosface."
            )

    @classmethod
    def passes_on(cls) -> frozenset[str]:
        """The settings of all margins."""
        return Margin.passes_on()

    def build(self, sizes: Sizes) -> None:
        """Draw the first centres, (C, d_t), from N(0, 0.01) (standard deviation)."""
        if sizes.teacher_dim is None:
            raise FacekdError("term 'adadistill' needs a teacher's embeddings; name a teacher.")
        self.centres = Classifier(sizes.num_classes, sizes.teacher_dim).freeze()

    def forward(self, step: Step) -> Tensor:
        """Mean cross-entropy over the labelled rows, after the centres moved: a scalar."""
        student, teacher = same_width("adadistill", step)
        if self.training:
            self._move(student.detach(), teacher, step.labels)
        under_centres = Step(student, step.labels, step.position, student_head=self.centres)
        return self.softmax(under_centres)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _move(self, student: Tensor, teacher: Tensor, labels: Tensor) -> None:
        """Move the centres of the identities in every process's batch; all see the same rows.

        Sums run as matrix products, whose order is fixed: equal in each process.
        """
        weight = self.centres.weight
        target = unit(teacher).to(weight.dtype)
        alpha = (unit(student) * target).sum(dim=1).clamp(0.0, 1.0)
        if self.alpha == "weighted":
            own = (unit(weight[labels.clamp_min(0)]) * target).sum(dim=1)
            alpha = (alpha * own.clamp(_SMALLEST_ALPHA, 1.0)).clamp(_SMALLEST_ALPHA, 1.0)
        target, alpha, labels = gather(target), gather(alpha), gather(labels)
        labelled = labels >= 0
        target, alpha, labels = target[labelled], alpha[labelled].unsqueeze(1), labels[labelled]
        classes = torch.unique(labels)
        share = (classes.unsqueeze(1) == labels).to(weight.dtype)  # (identities, rows)
        share = share / share.sum(dim=1, keepdim=True)
        weight[classes] = (share @ alpha) * weight[classes] + share @ ((1.0 - alpha) * target)


@preset("adadistill", paper="AdaDistill, arXiv 2407.01332")
def adadistill(alpha: Literal["plain", "weighted"] = "weighted", **margin: Any) -> list[TermSpec]:
    """AdaDistill: margin softmax against moving averages of the teacher's embeddings, alone."""
    return [term_spec("adadistill", 1.0, alpha=alpha, **margin)]
