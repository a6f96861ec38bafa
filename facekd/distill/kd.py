"""Knowledge distillation on logits: KL between the teacher's softmax and the student's."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from facekd.distill.presets import TermSpec, preset, soft_settings, term_spec
from facekd.distill.soft import SoftTerm
from facekd.distill.term import TERMS, Step
from facekd.settings import NotNegative, Positive


@TERMS.register("kd")
class KD(SoftTerm):
    """KL divergence between the teacher's and the student's softmax, times T squared.

    T^2/B sum_i KL(p_t,i || p_i) with p_t = softmax(l(z_t; W_t)/T) (arXiv 1503.02531). With
    `head: student`, p = softmax(l(z_s; W_s)/T), with `head: teacher`, p = softmax(l(z_s; W_t)/T):
    the two parts of TH-KD's equation 1 (arXiv 2201.06945). Logits are margin-free scaled cosines,
    or linear ones z W^T + b.

    `logits: linear` is what the authors' code computes (HeadSharingKD, CIFAR-100): its `DistillKL`
    is `head: student` and its `KDTH` is `head: teacher`, both with temperature 4.

    Args:
        head: Whose classifier reads the student's embeddings.
        temperature: T. Scaled cosines are large: 4 still leaves a peaked teacher.
        scale: What cosines are multiplied by (default 64).
        logits: "cosine" or "linear" (with bias, and without scale).

    Raises:
        FacekdError: A scale is given with linear logits.
    """

    paper = "Hinton et al., arXiv 1503.02531; on the teacher's head: TH-KD, arXiv 2201.06945"

    def forward(self, step: Step) -> Tensor:
        """Mean over the batch: a scalar."""
        student, teacher = self.log_probabilities(step)
        divergence = F.kl_div(student, teacher, reduction="sum", log_target=True) / len(student)
        return step.classes(self.head).total(divergence) * self.temperature**2


@preset("kd", paper="arXiv 1503.02531")
def kd(
    classification: NotNegative = 1.0,
    beta: NotNegative = 1.0,
    temperature: Positive = 4.0,
    scale: Positive | None = None,
    **margin: Any,
) -> list[TermSpec]:
    """KD: classification x margin softmax + beta x KL to the teacher's softmax.

    `scale` serves both terms; with `margin: softmax` both take linear logits.
    """
    soft = soft_settings(temperature, scale, margin)
    return [
        term_spec("margin", classification, scale=scale, **margin),
        term_spec("kd", beta, **soft),
    ]
