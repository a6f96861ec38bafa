"""PKT: the teacher's and the student's probabilities that one image picks another."""

from typing import Any

import torch
from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.term import TERMS, Step, Term
from facekd.heads.classifier import unit
from facekd.settings import NotNegative

_EPSILON = 1e-7  # in both logarithms, as in the authors' code


@TERMS.register("pkt")
class PKT(Term):
    """KL divergence between the two networks' conditional probabilities over the batch.

    1/B^2 sum_ij p_t(j|i) log( (p_t(j|i) + 1e-7) / (p_s(j|i) + 1e-7) ), with
    p(j|i) = K_ij / sum_k K_ik and the cosine kernel K_ij = (1 + cos(z_i, z_j)) / 2
    (arXiv 1803.10837). As in the authors' code (HeadSharingKD, `PKT`), and unlike the paper's sums
    over k != i, an image may pick itself, and the mean is over all B^2 entries: at batch size B a
    weight of 30000 is 30000/B times the sum of an image's divergence, averaged over images.
    Rounding can take a cosine below -1: its kernel counts as 0 here, so that the logarithm stays
    finite. The widths may differ. Relations are within a process's batch.
    """

    paper = "Probabilistic knowledge transfer, arXiv 1803.10837"
    needs = frozenset({"teacher_embeddings"})

    def forward(self, step: Step) -> Tensor:
        """The mean over all B^2 pairs: a scalar."""
        student, teacher = _probabilities(step.embeddings), _probabilities(step.teacher)
        ratio = torch.log(teacher + _EPSILON) - torch.log(student + _EPSILON)
        return (teacher * ratio).mean()


def _probabilities(embeddings: Tensor) -> Tensor:
    rows = unit(embeddings)
    kernel = ((rows @ rows.T + 1) / 2).clamp_min(0)
    return kernel / kernel.sum(dim=1, keepdim=True)


@preset("pkt", paper="arXiv 1803.10837")
def pkt(
    classification: NotNegative = 1.0, beta: NotNegative = 30000.0, **margin: Any
) -> list[TermSpec]:
    """PKT: classification x margin softmax + beta x KL of the batch's conditional probabilities.

    beta 30000 is that of HeadSharingKD's CIFAR-100 script (batches of 64), large because the term
    is a mean over B^2 entries; for faces none is published.
    """
    return [term_spec("margin", classification, **margin), term_spec("pkt", beta)]
