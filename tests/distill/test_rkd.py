"""RKD against loops and the published code's numbers."""

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, Batch, compare, slow_cosine
from torch import Tensor

from facekd.distill import Objective, Step, build_terms, expand
from facekd.distill.rkd import RKD
from facekd.errors import FacekdError
from facekd.heads import Classifier


def slow_huber(difference: Tensor) -> Tensor:
    size = abs(difference)
    return size**2 / 2 if size <= 1 else size - 0.5


def slow_distances(z: Tensor) -> dict[tuple[int, int], Tensor]:
    pairs = [(i, j) for i in range(B) for j in range(B) if i != j]
    found = {(i, j): torch.sqrt(sum((a - b) ** 2 for a, b in zip(z[i], z[j], strict=True)))
             for i, j in pairs}  # fmt: skip
    mean = sum(found.values()) / len(pairs)
    return {pair: distance / mean for pair, distance in found.items()}


def slow_rkd(batch: Batch, distance: float, angle: float, rows: int) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    student, teacher = slow_distances(batch.z), slow_distances(batch.t)
    for pair in student:
        total = total + distance * slow_huber(student[pair] - teacher[pair]) / B**2
    n = min(rows, B)
    for i in range(n):
        for j in range(n):
            for k in range(n):
                if i not in (j, k):
                    s = slow_cosine(batch.z[j] - batch.z[i], batch.z[k] - batch.z[i])
                    t = slow_cosine(batch.t[j] - batch.t[i], batch.t[k] - batch.t[i])
                    total = total + angle * slow_huber(s - t) / n**3
    return total


@pytest.mark.parametrize("teacher_dim", [4, 7])
@pytest.mark.parametrize(("distance", "angle"), [(25.0, 50.0), (1.0, 0.0), (0.0, 2.0)])
@pytest.mark.parametrize("rows", [64, 3])
def test_rkd(distance, angle, rows, teacher_dim):
    compare(
        RKD(distance=distance, angle=angle, angle_rows=rows),
        lambda batch: slow_rkd(batch, distance, angle, rows),
        lambda: Batch(teacher_dim),
    )


@pytest.mark.parametrize(
    ("name", "loss", "settings"),
    [
        ("headsharing_relations", "rkd", {}),
        ("headsharing_relations", "rkd_distance", {"distance": 1.0, "angle": 0.0}),
        ("headsharing_relations", "rkd_angle", {"distance": 0.0, "angle": 1.0}),
        ("tface_distances", "rkd", {}),
    ],
)
def test_authors_rkd(name, loss, settings):
    inputs, results = fixture(name)
    z = inputs["student"].requires_grad_()
    value = RKD(**settings)(Step(z, torch.zeros(6), torch.arange(6), inputs["teacher"]))
    close(value, results[loss]["value"])
    value.backward()
    close(z.grad, results[loss]["gradients"]["student"])


def test_a_turned_and_scaled_space_is_the_same():
    batch = Batch(7)
    rotation = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64)).Q
    same = Step(3 * batch.t @ rotation + 1, LABELS, torch.arange(B), batch.t)
    assert RKD()(same).item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("size", [1, 2])
def test_small_batches(size):
    z, t = torch.randn(size, 4, requires_grad=True), torch.randn(size, 7)
    value = RKD()(Step(z, LABELS[:size], torch.arange(size), t))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-5)  # two images: one distance, no angle
    assert z.grad.isfinite().all()


def test_images_the_student_cannot_tell_apart():
    """Equal, nearly equal and zero embeddings: finite, and no gradient out of all proportion."""
    torch.manual_seed(0)
    z = torch.randn(8, 512)
    z[1], z[2], z[3:5] = z[0], z[0] + 1e-6, 0
    z.requires_grad_()
    value = RKD()(Step(z, torch.zeros(8), torch.arange(8), torch.randn(8, 128)))
    value.backward()
    assert value.isfinite()
    assert z.grad.abs().max() < 1e5
    z = torch.ones(4, 512).requires_grad_()
    value = RKD()(Step(z, torch.zeros(4), torch.arange(4), torch.randn(4, 128)))
    value.backward()
    assert value.isfinite()
    assert z.grad.abs().max() < 1e5


def test_preset():
    specs = expand("rkd")
    expected = {"term": "rkd", "weight": 1.0, "distance": 25.0, "angle": 50.0, "angle_rows": 64}
    assert specs[1] == expected
    z = torch.randn(B, 4, requires_grad=True)
    objective = Objective(build_terms(specs), Classifier(6, 4))
    total, values = objective(z, LABELS, torch.arange(B), torch.randn(B, 7))
    total.backward()
    torch.testing.assert_close(total, values["margin"] + values["rkd"])
    assert z.grad.isfinite().all()
    left = expand({"preset": "rkd", "distance": 0.0, "angle": 0.0})
    assert [spec["term"] for spec in left] == ["margin"]


@pytest.mark.parametrize("rows", [0, 2.5, True])
def test_a_wrong_cap_is_told(rows):
    with pytest.raises(FacekdError, match="angle_rows cannot be"):
        build_terms([{"term": "rkd", "angle_rows": rows}])
