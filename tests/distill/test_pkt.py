"""PKT against loops and HeadSharingKD's numbers."""

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, Batch, compare, slow_cosine
from torch import Tensor

from facekd.distill import Objective, Step, build_terms, expand
from facekd.distill.pkt import PKT
from facekd.heads import Classifier


def slow_probabilities(z: Tensor) -> list[list[Tensor]]:
    kernel = [[(slow_cosine(a, b) + 1) / 2 for b in z] for a in z]
    return [[value / sum(row) for value in row] for row in kernel]


@pytest.mark.parametrize("teacher_dim", [4, 7])
def test_pkt(teacher_dim):
    def slow(batch: Batch) -> Tensor:
        student, teacher = slow_probabilities(batch.z), slow_probabilities(batch.t)
        total = torch.zeros((), dtype=torch.float64)
        for i in range(B):
            for j in range(B):
                p, q = teacher[i][j], student[i][j]
                total = total + p * torch.log((p + 1e-7) / (q + 1e-7))
        return total / B**2

    compare(PKT(), slow, lambda: Batch(teacher_dim))


def test_authors_pkt():
    inputs, results = fixture("headsharing_relations")
    z = inputs["student"].requires_grad_()
    value = PKT()(Step(z, torch.zeros(6), torch.arange(6), inputs["teacher"]))
    close(value, results["pkt"]["value"])
    value.backward()
    close(z.grad, results["pkt"]["gradients"]["student"])


def test_opposite_embeddings_are_finite():
    """Rounding takes some of their cosines so far below -1 that the logarithm has no value."""
    rng, lowest = torch.Generator().manual_seed(0), 0.0
    for _ in range(500):
        half = torch.randn(1, 3, generator=rng)
        z = torch.cat([half, -half]).requires_grad_()
        rows = torch.nn.functional.normalize(z.detach())
        lowest = min(lowest, (rows @ rows.T).min().item())
        value = PKT()(Step(z, LABELS[:2], torch.arange(2), torch.eye(2)))
        value.backward()
        assert value.isfinite()
        assert z.grad.isfinite().all()
    assert lowest < -1 - 2e-7


def test_one_image_and_a_rotated_teacher_are_zero():
    batch = Batch(7)
    rotation = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64)).Q
    same = Step(3 * batch.t @ rotation, LABELS, torch.arange(B), batch.t)
    assert PKT()(same).item() == pytest.approx(0, abs=1e-12)
    alone = Step(batch.z[:1], LABELS[:1], torch.arange(1), batch.t[:1])
    assert PKT()(alone).item() == pytest.approx(0, abs=1e-12)


def test_preset():
    specs = expand("pkt")
    assert specs[1] == {"term": "pkt", "weight": 30000.0}
    z = torch.randn(B, 4, requires_grad=True)
    objective = Objective(build_terms(specs), Classifier(6, 4))
    total, values = objective(z, LABELS, torch.arange(B), torch.randn(B, 7))
    total.backward()
    torch.testing.assert_close(total, values["margin"] + 30000 * values["pkt"])
    assert z.grad.isfinite().all()
