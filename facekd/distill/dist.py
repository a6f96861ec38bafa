"""DIST: the student keeps the teacher's relations between classes, not its probabilities."""

from typing import Any

import torch
from torch import Tensor

from facekd.distill.presets import TermSpec, preset, soft_settings, term_spec
from facekd.distill.soft import SoftTerm
from facekd.distill.term import TERMS, Form, Side, Step
from facekd.settings import NotNegative, Positive

_EPSILON = 1e-8  # in the correlation's denominator, as in the authors' code


@TERMS.register("dist")
class DIST(SoftTerm):
    """Pearson correlations of softened probabilities, along the classes and along the batch.

    T^2 ( beta (1 - 1/B sum_i rho(p_s,i; p_t,i)) + gamma (1 - 1/C sum_j rho(p_s,j; p_t,j)) ), where
    p_i is an image's row of the (B, C) probabilities, p_j a class's column and rho Pearson's
    correlation (arXiv 2205.10536; hunto/image_classification_sota, `DIST`, where tau is T). The
    columns are those of a process's own batch; with partial_fc, where each step sees some classes,
    C is their number, and the columns are those of all processes' batches. A class that no image of
    the batch comes near has next to no probability: its correlation counts as 0. The authors use
    T = 1 on ImageNet and T = 4 on CIFAR-100; 4 is the default, as scaled cosines are large.

    Args:
        head: Whose classifier reads the student's embeddings.
        temperature: T of both softmaxes.
        scale: What cosines are multiplied by (default 64).
        logits: "cosine" or "linear" (with bias, and without scale).
        beta: Weight of the relation between classes, within an image.
        gamma: Weight of the relation between images, within a class.

    Raises:
        FacekdError: A scale is given with linear logits.
    """

    paper = "DIST, arXiv 2205.10536"

    def __init__(
        self,
        head: Side = "student",
        temperature: Positive = 4.0,
        scale: Positive | None = None,
        logits: Form = "cosine",
        beta: NotNegative = 1.0,
        gamma: NotNegative = 1.0,
    ) -> None:
        super().__init__(head, temperature, scale, logits)
        self.beta = beta
        self.gamma = gamma

    def forward(self, step: Step) -> Tensor:
        """Both relations over the batch: a scalar."""
        log_student, log_teacher = self.log_probabilities(step)
        student, teacher = log_student.exp(), log_teacher.exp()
        classes = step.classes(self.head)
        count = classes.count(student)
        a, b = (p - classes.total(p.sum(dim=1, keepdim=True)) / count for p in (student, teacher))
        products = classes.total((a * b).sum(dim=1))
        of_images = _correlations(products, classes.lengths(a), classes.lengths(b))
        a, b = (p - p.mean(dim=0, keepdim=True) for p in (student, teacher))
        lengths = (torch.linalg.vector_norm(p, dim=0) for p in (a, b))
        of_classes = _correlations((a * b).sum(dim=0), *lengths)
        between_classes = 1 - of_images.mean()
        between_images = 1 - classes.total(of_classes.sum()) / count
        total = self.beta * between_classes + self.gamma * between_images
        return total * self.temperature**2


def _correlations(products: Tensor, length: Tensor, other: Tensor) -> Tensor:
    return products / (length * other + _EPSILON)


@preset("dist", paper="arXiv 2205.10536")
def dist(
    classification: NotNegative = 1.0,
    weight: NotNegative = 2.0,
    beta: NotNegative = 1.0,
    gamma: NotNegative = 1.0,
    temperature: Positive = 4.0,
    head: Side = "student",
    scale: Positive | None = None,
    **margin: Any,
) -> list[TermSpec]:
    """DIST: classification x margin softmax + weight x correlations of the softened probabilities.

    Weight 2, beta 1 and gamma 1 are the authors' on ImageNet and CIFAR-100. `scale` serves both
    terms; with `margin: softmax` both take linear logits.
    """
    soft = soft_settings(temperature, scale, margin)
    return [
        term_spec("margin", classification, scale=scale, **margin),
        term_spec("dist", weight, head=head, beta=beta, gamma=gamma, **soft),
    ]
