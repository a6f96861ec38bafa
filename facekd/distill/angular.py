"""ShrinkTeaNet: the angle between the two networks' embeddings of an image."""

from typing import Any, Literal

from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.same_width import same_width
from facekd.distill.term import TERMS, Step, Term
from facekd.heads.classifier import unit
from facekd.settings import NotNegative


@TERMS.register("angular")
class Angular(Term):
    """Angular distillation: the mean of (1 - cos(z_s, z_t)) to a power.

    1/B sum_i (1 - cos(z_s,i, z_t,i))^p. p = 2 is ShrinkTeaNet's (arXiv 1905.10620; its authors
    published no code) and the default. p = 1 is MarginDistillation's reading of it (its
    `angular_distillation`, arXiv 2003.02586), and the cosine distance of EKD's code (TFace,
    `CosineDistance`); it is half of `l2e`. With p = 2 the pull fades as the angle closes.
    The paper also sends the student's intermediate features through the teacher's remaining layers
    and compares what comes out: that is left out; hints on feature maps are `fitnet` with stages.
    The student's embeddings pass through the projector where the widths differ.

    Args:
        power: p, 1 or 2.
    """

    paper = "ShrinkTeaNet, arXiv 1905.10620"
    needs = frozenset({"teacher_embeddings", "projector"})

    def __init__(self, power: Literal[1, 2] = 2) -> None:
        super().__init__()
        self.power = power

    def forward(self, step: Step) -> Tensor:
        """The mean over the batch: a scalar."""
        student, teacher = same_width("angular", step)
        cosines = (unit(student) * unit(teacher)).sum(dim=1)
        return (1 - cosines).pow(self.power).mean()


@preset("shrinkteanet", paper="arXiv 1905.10620")
def shrinkteanet(
    classification: NotNegative = 1.0,
    beta: NotNegative = 1.0,
    power: Literal[1, 2] = 2,
    **margin: Any,
) -> list[TermSpec]:
    """ShrinkTeaNet's loss on embeddings: classification x margin softmax + beta x angular distance.

    beta 1 is MarginDistillation's (`angular_distillation.alpha`), with power 1.
    """
    return [
        term_spec("margin", classification, **margin),
        term_spec("angular", beta, power=power),
    ]
