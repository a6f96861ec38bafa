"""Scalar loops that the losses are compared with; nothing here calls facekd's losses."""

from collections.abc import Callable

import torch
from torch import Tensor

from facekd.distill import Step, Term
from facekd.heads import Classifier

B, C, D = 5, 6, 4
LABELS = torch.tensor([0, 5, 3, 3, 1])


def scalars_dot(a: Tensor, b: Tensor) -> Tensor:
    return sum((a[k] * b[k] for k in range(len(a))), start=torch.zeros((), dtype=torch.float64))


def slow_cosine(a: Tensor, b: Tensor) -> Tensor:
    return scalars_dot(a, b) / torch.sqrt(scalars_dot(a, a) * scalars_dot(b, b))


def slow_cross_entropy(logits: list[Tensor], label: int) -> Tensor:
    return torch.log(sum(torch.exp(v - logits[label]) for v in logits))


def slow_kl(teacher: list[Tensor], student: list[Tensor]) -> Tensor:
    """sum_j p_j log(p_j / q_j), p and q the softmax of two rows of logits."""
    p = [torch.exp(v - max(teacher)) for v in teacher]
    q = [torch.exp(v - max(student)) for v in student]
    p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
    return sum(a * torch.log(a / b) for a, b in zip(p, q, strict=True))


class Batch:
    """One batch in float64, with everything a term may ask for; made anew, equal each time.

    Where the teacher's width is another than the student's D, a linear projector may stand between.
    """

    def __init__(self, teacher_dim: int = D, projected: bool = False) -> None:
        rng = torch.Generator().manual_seed(5)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=rng, dtype=torch.float64)

        self.z, self.t = draw(B, D).requires_grad_(), draw(B, teacher_dim)
        self.own = Classifier.from_weight(draw(C, D), draw(C), frozen=False)
        self.other = Classifier.from_weight(draw(C, teacher_dim), draw(C))
        self.projection = torch.nn.Parameter(draw(teacher_dim, D)) if projected else None
        self.step = Step(self.z, LABELS, torch.arange(B), self.t, self.own, self.other)
        if self.projection is not None:
            self.step.projector = torch.nn.Linear(D, teacher_dim, bias=False)
            self.step.projector.weight = self.projection

    @property
    def projected(self) -> list[Tensor]:
        """The student's embeddings in the teacher's width, by loops."""
        if self.projection is None:
            return list(self.z)
        return [torch.stack([scalars_dot(w, v) for w in self.projection]) for v in self.z]

    def rows(self, z: Tensor, head: Classifier, scale: float | None) -> list[list[Tensor]]:
        """Logits by loops: scale x cosine, or z W^T + b where scale is None."""
        if scale is None:
            return [[scalars_dot(v, w) + b for w, b in zip(head.weight, head.bias, strict=True)]
                    for v in z]  # fmt: skip
        return [[scale * slow_cosine(v, w) for w in head.weight] for v in z]

    def gradients(self, value: Tensor) -> list[Tensor]:
        learning = [self.z, self.own.weight, self.own.bias]
        if self.projection is not None:
            learning.append(self.projection)
        found = torch.autograd.grad(value, learning, allow_unused=True)
        return [torch.zeros(()) if g is None else g for g in found]


def compare(term: Term, slow: Callable[[Batch], Tensor], make: Callable[[], Batch] = Batch) -> None:
    ours, loops = make(), make()
    value, expected = term(ours.step), slow(loops)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    assert value.ndim == 0
    for a, b in zip(ours.gradients(value), loops.gradients(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
