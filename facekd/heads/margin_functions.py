"""Angular margins as pure functions on cosines: they lower the target's cosine.

Every function takes cosines (B, C) and labels (B,), changes one entry a row (the target's column)
and returns the new cosines, not yet multiplied by the scale. A row with label -1 (no class, or its
class lives on another rank) stays as it is.

Gradient: the true one is that of the returned value, d cos(m1 t + m2) / d cos t =
m1 sin(m1 t + m2) / sin t. It grows without bound at cosines of +-1, so sin t is taken as at least
1e-3 there (an angle of 0.06 degrees); values are exact everywhere. `straight_through=True` is the
gradient of insightface's arcface_torch, which computes the margin outside the graph: the value has
the margin, the gradient is that of the plain cosine. The two train differently. Neither has a
second derivative.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

SMALLEST_SINE = 1e-3


def arcface(
    cosines: Tensor, labels: Tensor, m: float = 0.5, straight_through: bool = False
) -> Tensor:
    """ArcFace: an angle added to the target's, cos(t + m) (arXiv 1801.07698, equation 3).

    Where t + m > pi the target becomes cos t - m sin m (the authors' `easy_margin=False` rule), so
    the value falls monotonically with t.

    Args:
        cosines: (B, C) floating point; narrower than float32 is computed in float32.
        labels: (B,) int64 in [-1, C).
        m: Margin in radians, in [0, pi).
        straight_through: See the module's text.

    Returns:
        Cosines with the margin, (B, C), float32 or float64.
    """
    return combined(cosines, labels, 1.0, m, 0.0, straight_through)


def cosface(
    cosines: Tensor, labels: Tensor, m: float = 0.35, straight_through: bool = False
) -> Tensor:
    """CosFace: a constant taken from the target's cosine, cos t - m (arXiv 1801.09414, equation 4).

    Its true gradient is the plain cosine's, so `straight_through` changes nothing.

    Args:
        cosines: (B, C) floating point; narrower than float32 is computed in float32.
        labels: (B,) int64 in [-1, C).
        m: Margin in units of the cosine. The paper's 0.35; insightface's configurations take 0.4.
        straight_through: Accepted so that all margins are called alike.

    Returns:
        Cosines with the margin, (B, C), float32 or float64.
    """
    return combined(cosines, labels, 1.0, 0.0, m, straight_through)


def combined(
    cosines: Tensor,
    labels: Tensor,
    m1: float = 1.0,
    m2: float = 0.5,
    m3: float = 0.0,
    straight_through: bool = False,
) -> Tensor:
    """The combined margin, cos(m1 t + m2) - m3 (arXiv 1801.07698, equation 4).

    (1, m, 0) is ArcFace, (1, 0, m) CosFace, (m, 0, 0) SphereFace's first branch.
    Where m1 t + m2 > pi, that is beyond t0 = (pi - m2) / m1, the target is cos t - c - m3 with
    c = max((pi - t0) sin t0, 1 + cos t0). The first of the two is the shift m sin m that ArcFace
    uses, written for any t0; the second keeps the value monotone when m1 is large.

    Args:
        cosines: (B, C) floating point; narrower than float32 is computed in float32.
        labels: (B,) int64 in [-1, C).
        m1: Factor on the angle, > 0.
        m2: Added to the angle, radians, in [0, pi).
        m3: Taken from the cosine, >= 0.
        straight_through: See the module's text.

    Returns:
        Cosines with the margin, (B, C), float32 or float64.
    """

    def lowered(plain: Tensor) -> Tensor:
        value, slope = _shifted(plain.detach(), m1, m2)
        return with_slope(plain, value - m3, torch.ones_like(slope) if straight_through else slope)

    return change_target(cosines, labels, lowered)


def sphereface(
    cosines: Tensor, labels: Tensor, m: float = 1.7, straight_through: bool = True
) -> Tensor:
    """SphereFace: the angle multiplied, (-1)^k cos(m t) - 2k with k = floor(m t / pi).

    arXiv 1704.08063, equations 6 and 7. It falls monotonically with t for any m >= 1.

    Args:
        cosines: (B, C) floating point; narrower than float32 is computed in float32.
        labels: (B,) int64 in [-1, C).
        m: Factor on the angle, >= 1, whole or not.
        straight_through: See the module's text.

    Returns:
        Cosines with the margin, (B, C), float32 or float64; the target's in [1 - 2m, 1].
    """

    def lowered(plain: Tensor) -> Tensor:
        angle = plain.detach().clamp(-1.0, 1.0).acos()
        branch = (m * angle / math.pi).floor()
        sign = 1.0 - 2.0 * branch.remainder(2.0)
        slope = sign * m * (m * angle).sin() / angle.sin().clamp_min(SMALLEST_SINE)
        value = sign * (m * angle).cos() - 2.0 * branch
        return with_slope(plain, value, torch.ones_like(slope) if straight_through else slope)

    return change_target(cosines, labels, lowered)


def filter_others(cosines: Tensor, labels: Tensor, above: float) -> Tensor:
    """Inter-class filtering: a wrong class's cosine above a threshold becomes 0, without gradient.

    insightface's guard against one person under two labels (arcface_torch,
    `interclass_filtering_threshold`): such a class is no longer pushed away. It stays in the
    softmax with a cosine of 0. In a row with label -1 every class counts as a wrong one.

    Args:
        cosines: (B, C) floating point.
        labels: (B,) int64 in [-1, C).
        above: The largest cosine that is kept.

    Returns:
        (B, C), the cosines' dtype.
    """
    dirty = cosines.detach() > above
    column = labels.clamp_min(0).unsqueeze(1)
    dirty = dirty.scatter(1, column, dirty.gather(1, column) & (labels.unsqueeze(1) < 0))
    return cosines.masked_fill(dirty, 0.0)


def change_target(cosines: Tensor, labels: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Replace the target's cosine of every row that has one.

    Args:
        cosines: (B, C) floating point; narrower than float32 is computed in float32.
        labels: (B,) int64 in [-1, C).
        change: (B, 1) target cosines -> (B, 1), with finite gradients in every row.

    Returns:
        (B, C), float32 or float64.
    """
    cosines = cosines.to(torch.promote_types(cosines.dtype, torch.float32))
    column = labels.clamp_min(0).unsqueeze(1)
    plain = cosines.gather(1, column)
    target = torch.where(labels.unsqueeze(1) < 0, plain, change(plain))
    return cosines.scatter(1, column, target)


def with_slope(plain: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """Exactly `value`, with exactly `slope` as its derivative by `plain`; both without gradient."""
    return value + slope * (plain - plain.detach())  # the bracket is zero


def sine(cosines: Tensor) -> Tensor:
    """Sine from cosine, exact, with the derivative -cos t / sin t kept finite at +-1."""
    plain = cosines.detach().clamp(-1.0, 1.0)
    value = (1.0 - plain.square()).sqrt()
    return with_slope(cosines, value, -plain / value.clamp_min(SMALLEST_SINE))


def _shifted(cosines: Tensor, m1: float, m2: float) -> tuple[Tensor, Tensor]:
    """cos(m1 t + m2), continued beyond pi, and its derivative by cos t."""
    if m1 == 1.0 and m2 == 0.0:
        return cosines, torch.ones_like(cosines)
    theta = cosines.clamp(-1.0, 1.0).acos()
    phi = m1 * theta + m2
    limit = (math.pi - m2) / m1
    shift = max((math.pi - limit) * math.sin(limit), 1.0 + math.cos(limit))
    beyond = phi > math.pi
    value = torch.where(beyond, cosines - shift, phi.cos())
    slope = m1 * phi.sin() / theta.sin().clamp_min(SMALLEST_SINE)
    return value, torch.where(beyond, torch.ones_like(slope), slope)
