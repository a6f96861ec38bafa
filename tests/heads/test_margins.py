import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from facekd.heads import MARGINS
from facekd.heads.margin_functions import (
    arcface,
    combined,
    cosface,
    filter_others,
    sine,
    sphereface,
)

TRIPLES = [(1.0, 0.5, 0.0), (1.0, 0.0, 0.35), (1.0, 0.3, 0.2), (1.7, 0.0, 0.0), (0.9, 0.4, 0.1)]


def slow_combined(cosines: Tensor, labels: Tensor, m1: float, m2: float, m3: float) -> Tensor:
    """cos(m1 t + m2) - m3 at the target, entry by entry; beyond pi as the docstring says."""
    rows = []
    for i, label in enumerate(labels.tolist()):
        row = []
        for j in range(cosines.shape[1]):
            c = cosines[i, j]
            if j == label:
                angle = m1 * torch.acos(c) + m2
                if angle <= math.pi:
                    c = torch.cos(angle) - m3
                else:
                    t0 = (math.pi - m2) / m1
                    c = c - max((math.pi - t0) * math.sin(t0), 1 + math.cos(t0)) - m3
            row.append(c)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def batch(seed: int = 0, low: float = -0.99, high: float = 0.99) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    cosines = torch.rand(9, 6, generator=rng, dtype=torch.float64) * (high - low) + low
    labels = torch.tensor([0, 5, -1, 3, 3, 2, 1, -1, 4])
    cosines[0, 0], cosines[1, 5] = -0.98, 0.98  # one beyond pi - m, one near its class
    return cosines, labels


@pytest.mark.parametrize("triple", TRIPLES)
def test_combined_equals_the_equation_values_and_gradients(triple):
    cosines, labels = batch()
    weights = torch.randn(cosines.shape, dtype=torch.float64)
    fast_leaf, slow_leaf = (cosines.clone().requires_grad_() for _ in range(2))
    fast = combined(fast_leaf, labels, *triple)
    slow = slow_combined(slow_leaf, labels, *triple)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    (fast * weights).sum().backward()
    (slow * weights).sum().backward()
    torch.testing.assert_close(fast_leaf.grad, slow_leaf.grad, rtol=1e-10, atol=1e-12)


def test_the_named_margins_are_cases_of_the_equation():
    cosines, labels = batch()
    target = torch.arange(9)[labels >= 0], labels[labels >= 0]
    inside = cosines[target] > math.cos(math.pi - 0.5)
    angle = cosines[target].acos()[inside]
    torch.testing.assert_close(arcface(cosines, labels)[target][inside], (angle + 0.5).cos())
    torch.testing.assert_close(cosface(cosines, labels)[target], cosines[target] - 0.35)
    others = torch.ones_like(cosines, dtype=torch.bool)
    others[target] = False
    embeddings = torch.randn(9, 4)
    for name in set(MARGINS) - {"curricularface"}:
        assert torch.equal(MARGINS[name]()(cosines, labels, embeddings)[others], cosines[others])


@pytest.mark.parametrize("triple", TRIPLES)
def test_gradcheck(triple):
    cosines, labels = batch(3)
    assert torch.autograd.gradcheck(
        lambda c: combined(c, labels, *triple), cosines.requires_grad_(), atol=1e-6
    )


@pytest.mark.parametrize("triple", TRIPLES)
def test_straight_through_keeps_the_value_and_takes_the_plain_gradient(triple):
    cosines, labels = batch()
    leaf = cosines.clone().requires_grad_()
    out = combined(leaf, labels, *triple, straight_through=True)
    assert torch.equal(out, combined(cosines, labels, *triple))
    weights = torch.randn(cosines.shape, dtype=torch.float64)
    (out * weights).sum().backward()
    torch.testing.assert_close(leaf.grad, weights)


def test_the_input_is_not_changed():
    cosines, labels = batch()
    before = cosines.clone()
    combined(cosines, labels, 1.0, 0.5, 0.1)
    assert torch.equal(cosines, before)


@given(
    m1=st.floats(0.25, 4.0), m2=st.floats(0.0, 3.0), m3=st.floats(0.0, 1.0), through=st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_the_target_falls_monotonically_with_its_angle(m1, m2, m3, through):
    angles = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    labels = torch.zeros(2001, dtype=torch.int64)
    out = combined(angles.cos().unsqueeze(1), labels, m1, m2, m3, straight_through=through)[:, 0]
    assert (out.diff() <= 1e-9).all()
    assert out.isfinite().all()


@given(m=st.floats(1.0, 5.0), through=st.booleans())
@settings(max_examples=50, deadline=None)
def test_spherefaces_target_falls_from_1_to_1_minus_2m(m, through):
    angles = torch.linspace(0, math.pi, 2001, dtype=torch.float64)
    labels = torch.zeros(2001, dtype=torch.int64)
    out = sphereface(angles.cos().unsqueeze(1), labels, m, straight_through=through)[:, 0]
    assert (out.diff() <= 1e-9).all()
    assert out[0].item() == pytest.approx(1.0)
    whole = sphereface(-torch.ones(1, 1, dtype=torch.float64), labels[:1], float(round(m)))
    assert whole.item() == pytest.approx(1 - 2 * round(m))


def test_sphereface_gradcheck():
    cosines, labels = batch(3)
    assert torch.autograd.gradcheck(
        lambda c: sphereface(c, labels, 2.3, straight_through=False), cosines.requires_grad_()
    )


def test_sine():
    cosines = torch.tensor([-1.0, -0.6, 0.0, 0.8, 1.0, 1.0000001], requires_grad=True)
    value = sine(cosines)
    torch.testing.assert_close(value, torch.tensor([0.0, 0.8, 1.0, 0.6, 0.0, 0.0]))
    value.sum().backward()
    torch.testing.assert_close(cosines.grad[1:4], torch.tensor([0.75, 0.0, -4 / 3]))
    assert cosines.grad.abs().max() <= 1000.001


def test_a_filter_spares_targets_and_what_lies_on_the_threshold():
    cosines = torch.tensor([[0.9, 0.5, 0.6, -0.7], [0.9, 0.5, 0.6, -0.7]], requires_grad=True)
    out = filter_others(cosines, torch.tensor([0, -1]), 0.5)
    assert out.tolist() == [
        [pytest.approx(0.9), 0.5, 0.0, pytest.approx(-0.7)],
        [0.0, 0.5, 0.0, pytest.approx(-0.7)],
    ]
    out.sum().backward()
    assert cosines.grad.tolist() == [[1, 1, 0, 1], [0, 1, 0, 1]]


@given(
    values=st.lists(
        st.one_of(
            st.sampled_from([-1.0, 1.0, 0.0, 1 - 2**-24, -1 + 2**-24, 1.0000001, -1.0000001]),
            st.floats(-1, 1, width=32),
        ),
        min_size=3,
        max_size=3,
    ),
    label=st.integers(-1, 2),
    name=st.sampled_from(sorted(MARGINS)),
    length=st.sampled_from([0.0, 1e-4, 20.0, 1e4]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
@settings(max_examples=200, deadline=None)
def test_values_and_gradients_are_finite_everywhere(values, label, name, length, dtype):
    cosines = torch.tensor([values]).to(dtype).requires_grad_()
    embeddings = torch.tensor([[length, 0.0]], requires_grad=True)
    margin = MARGINS[name]()
    out = margin(cosines, torch.tensor([label]), embeddings)
    assert out.dtype == torch.float32
    penalty = margin.penalty(embeddings)
    total = out.sum() if penalty is None else out.sum() + penalty.sum()
    total.backward()
    assert total.isfinite()
    assert out.isfinite().all()
    assert cosines.grad.isfinite().all()
    assert embeddings.grad is None or embeddings.grad.isfinite().all()
    if label == -1:
        assert torch.equal(out, cosines.detach().float())
        assert torch.equal(cosines.grad, torch.ones_like(cosines))


def test_values_are_exact_at_cosines_of_one():
    out = arcface(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 0]))
    assert out[0, 0].item() == pytest.approx(math.cos(0.5))
    assert out[1, 0].item() == pytest.approx(-1 - 0.5 * math.sin(0.5))


def test_bfloat16_is_computed_in_float32():
    rough = torch.tensor([[0.3, -0.2]], dtype=torch.bfloat16)
    labels = torch.tensor([0])
    assert torch.equal(arcface(rough, labels), arcface(rough.float(), labels))
