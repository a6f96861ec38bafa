"""EKD: pairs keep the rank among impostor pairs that they have for the teacher."""

from typing import Any

import torch
from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.term import TERMS, Sizes, Step, Term
from facekd.heads.classifier import unit
from facekd.ranks import gather, gather_own, world
from facekd.settings import Count, Fraction, NotNegative, Positive

_FALSE_ACCEPTS = tuple(10**k for k in range(1, 7))


@TERMS.register("ekd")
class EKD(Term):
    """Evaluation-oriented distillation: soft ranks of pairs against thresholds at six FARs.

    Of all N pairs of different identities in the joint batch the floor(N / 10^k)-th highest cosine
    (counted from 0) is the threshold of FAR 10^-k, k = 1..6; a_k is its moving average, apart for
    student and teacher. The soft rank of a pair with cosine x is R(x) = sum_k sigmoid((x - a_k)/t),
    and the term p MSE(R_s, R_t) over all pairs of one identity + n MSE(R_s, R_t) over the 2000
    impostor pairs with the student's highest cosines (EKD, CVPR 2022; the authors' code TFace
    `tasks/ekd`; no arXiv version).

    A threshold needs N >= 10^k pairs to be its own; with fewer it is the hardest pair's cosine, as
    all tighter ones are. 1e6 pairs take a joint batch of about 1400 images; the authors' has 64 a
    GPU. As in their code, averages begin at 0 and move before they are used. Rows with label -1
    take no part. Unlike theirs, a batch without pairs of one identity gives its impostor part
    alone, and one without impostor pairs moves no threshold. Their gather multiplies the gradient
    by the number of GPUs: weights p and n that repeat their runs are larger by that factor.

    Args:
        genuine: p, the weight of pairs of one identity.
        impostor: n, the weight of impostor pairs.
        hardest: Impostor pairs that are taken.
        temperature: t.
        momentum: The share of a batch's thresholds in the average.
    """

    paper = "EKD, CVPR 2022 (no arXiv number)"
    ranks = (
        "pairs are formed over all processes' embeddings, so thresholds are equal in each; the "
        "averaged gradient is that of the joint batch"
    )
    needs = frozenset({"labels", "several images of an identity", "teacher_embeddings"})

    student_thresholds: Tensor
    teacher_thresholds: Tensor

    def __init__(
        self,
        genuine: NotNegative = 0.02,
        impostor: NotNegative = 0.01,
        hardest: Count = 2000,
        temperature: Positive = 0.01,
        momentum: Fraction = 0.01,
    ) -> None:
        super().__init__()
        self.genuine, self.impostor = genuine, impostor
        self.hardest = hardest
        self.temperature = temperature
        self.momentum = momentum

    def build(self, sizes: Sizes) -> None:
        """Make the thresholds, a_1 to a_6 of either network, at 0."""
        self.register_buffer("student_thresholds", torch.zeros(len(_FALSE_ACCEPTS)))
        self.register_buffer("teacher_thresholds", torch.zeros(len(_FALSE_ACCEPTS)))

    def forward(self, step: Step) -> Tensor:
        """Over the joint batch: a scalar."""
        labels = gather(step.labels)
        known = labels >= 0
        labels = labels[known]
        rows, columns = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
        student = unit(gather_own(step.embeddings)[known])
        teacher = unit(gather(step.teacher)[known])
        ours, theirs = (student @ student.T)[rows, columns], (teacher @ teacher.T)[rows, columns]
        same = labels[rows] == labels[columns]
        hardest, order = ours[~same].sort(descending=True)
        if self.training and len(order):
            self._move(self.student_thresholds, hardest.detach())
            self._move(self.teacher_thresholds, theirs[~same].sort(descending=True).values)
        taken = order[: self.hardest]
        genuine = self._distance(ours[same], theirs[same])
        impostor = self._distance(hardest[: self.hardest], theirs[~same][taken])
        return _whole(self.genuine * genuine + self.impostor * impostor)

    @torch.no_grad()
    def _move(self, thresholds: Tensor, impostors: Tensor) -> None:
        places = [len(impostors) // count for count in _FALSE_ACCEPTS]
        thresholds.lerp_(impostors[places], self.momentum)

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Mean squared difference of the pairs' soft ranks; 0 where there are none."""
        differences = self._ranks(ours, self.student_thresholds) - self._ranks(
            theirs, self.teacher_thresholds
        )
        return differences.square().sum() / max(len(ours), 1)

    def _ranks(self, cosines: Tensor, thresholds: Tensor) -> Tensor:
        steps = (cosines[:, None] - thresholds) / self.temperature
        return steps.sigmoid().sum(dim=1)


def _whole(value: Tensor) -> Tensor:
    """The value, with its gradient times the number of processes.

    Each process takes the loss of the joint batch with a gradient through its own rows only, so
    the sum over processes is the gradient of the whole, and they average.
    """
    return value + (world() - 1) * (value - value.detach())


@preset("ekd", paper="EKD, CVPR 2022")
def ekd(
    classification: NotNegative = 1.0,
    genuine: NotNegative = 0.02,
    impostor: NotNegative = 0.01,
    **margin: Any,
) -> list[TermSpec]:
    """EKD: classification x margin softmax + ranks of genuine and of hard impostor pairs.

    The authors' margin is ArcFace's with `m: 0.4`.
    """
    return [
        term_spec("margin", classification, **margin),
        term_spec("ekd", 1.0, genuine=genuine, impostor=impostor),
    ]
