"""MarginDistillation: the teacher's classifier, and margins that the teacher sets by image."""

from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.term import TERMS, Step, Term
from facekd.errors import FacekdError
from facekd.heads.margin_functions import change_target, sine
from facekd.ranks import gather
from facekd.settings import Angle, Positive


@TERMS.register("margin_distillation")
class MarginDistillation(Term):
    """ArcFace under the teacher's head, each image with a margin from the teacher's own cosine.

    CE(s cos(t_y + m_i), y) with the student's embeddings under the teacher's frozen head, and
        m_i = (M_max - M_min) c_i / max_j c_j + M_min,   c_i = cos(z_t,i, w_t,y_i)
    (arXiv 2003.02586; the authors' code is david-svitov/margindistillation, for MXNet): an image
    that the teacher finds typical of its person must be learnt with a large margin.

    Differences from the authors' code: cosines c_i below 0 count as 0, so that margins stay in
    [M_min, M_max] (theirs leave it, without bound where the largest is small); where t_y + m_i > pi
    the target is cos t_y - m_i sin m_i, as in our ArcFace (theirs rises again); the largest cosine
    is that of all processes' batches, not of each device's. The student's embeddings pass through
    the projector where the widths differ. Rows with label -1 are left out. With partial_fc the mean
    is over the labelled rows of all processes, and the softmax over the classes of the step.

    Args:
        m_max: M_max, the margin of the batch's most typical image, radians.
        m_min: M_min, the margin of an image at a right angle to its class centre, radians.
        scale: s, what cosines are multiplied by.

    Raises:
        FacekdError: m_min is above m_max.
    """

    paper = "MarginDistillation, arXiv 2003.02586"
    ranks = "the largest of the teacher's cosines is taken over all processes' batches"
    by_blocks = True
    needs = frozenset({"labels", "teacher_embeddings", "teacher_head", "projector"})

    def __init__(self, m_max: Angle = 0.5, m_min: Angle = 0.2, scale: Positive = 64.0) -> None:
        super().__init__()
        if m_min > m_max:
            raise FacekdError(
                f"term 'margin_distillation': m_min {m_min} is above m_max {m_max}; swap them."
            )
        self.m_max, self.m_min, self.scale = m_max, m_min, scale

    def forward(self, step: Step) -> Tensor:
        """Mean cross-entropy over the labelled rows: a scalar."""
        classes, m = step.classes("teacher"), self.margins(step).unsqueeze(1)

        def lowered(plain: Tensor) -> Tensor:
            added = plain * m.cos() - sine(plain) * m.sin()  # cos(t + m)
            return added.where(plain.detach() >= -m.cos(), plain - m * m.sin())

        cosines = change_target(step.cosines("student", "teacher"), classes.column, lowered)
        total = classes.cross_entropy(self.scale * cosines)
        return total / classes.labelled.sum().clamp_min(1)

    def margins(self, step: Step) -> Tensor:
        """m_i, (B,) in [m_min, m_max], without gradient; with partial_fc of all rows, (N,)."""
        cosines = step.own_cosines("teacher", "teacher").detach().clamp_min(0.0)
        cosines = cosines.masked_fill(~step.classes("teacher").labelled, 0.0)
        largest = gather(cosines.max().unsqueeze(0)).max().clamp_min(1e-12)
        return (self.m_max - self.m_min) * cosines / largest + self.m_min


@preset("margin_distillation", paper="MarginDistillation, arXiv 2003.02586")
def margin_distillation(
    m_max: Angle = 0.5, m_min: Angle = 0.2, scale: Positive = 64.0
) -> list[TermSpec]:
    """MarginDistillation: ArcFace under the teacher's head, with margins that the teacher sets."""
    return [term_spec("margin_distillation", 1.0, m_max=m_max, m_min=m_min, scale=scale)]
