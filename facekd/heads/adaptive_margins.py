"""Margins that look at the embeddings' lengths, or at how far the training has come."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from facekd.errors import FacekdError
from facekd.heads.margin_functions import (
    SMALLEST_SINE,
    arcface,
    change_target,
    sine,
    with_slope,
)
from facekd.heads.margins import MARGINS, CosineMargin
from facekd.ranks import mean, world
from facekd.settings import Angle, Fraction, NotNegative, Positive

_EDGE = 1e-3  # AdaFace's authors keep angles this far from 0 and pi


@MARGINS.register("adaface")
class AdaFace(CosineMargin):
    """AdaFace: the better the image, the more the margin stresses hard ones: cos(t + g) - g'.

    With k = clip(h (|z| - mu) / (sigma + 0.001), -1, 1): g = -m k and g' = m + m k (arXiv
    2204.00964, section 3.3). |z|, the embedding's length clipped to [0.001, 100], gets no gradient.
    mu and sigma are running mean and standard deviation of the lengths, updated before they are
    used: mu <- t_alpha mean + (1 - t_alpha) mu, over the labelled rows of all processes together
    (the authors' code takes each process's own).

    As in the authors' code t + g stays within [0.001, pi - 0.001], and beyond gives no gradient.
    They clip every cosine to +-0.999 besides; here values are exact, and only the gradient is kept
    finite. The true gradient is theirs; their later library (CVLface) takes the plain cosine's.

    Args:
        m: Margin; 0.4 in the paper.
        h: How much of the spread of lengths the margin's range covers.
        t_alpha: Weight of a batch in the running statistics: the paper's momentum of 0.99, and
            the 0.01 of the authors' training script. The default of 1 in their class is unused.
        straight_through: The plain cosine's gradient instead of the true one.

    Attributes:
        batch_mean: mu, a scalar that starts at 20.
        batch_std: sigma, a scalar that starts at 100.
    """

    paper = "arXiv 2204.00964"
    batch_mean: Tensor
    batch_std: Tensor

    def __init__(
        self,
        m: Angle = 0.4,
        h: Positive = 0.333,
        t_alpha: Fraction = 0.01,
        straight_through: bool = False,
    ) -> None:
        super().__init__()
        self.m, self.h, self.t_alpha, self.straight_through = m, h, t_alpha, straight_through
        self.register_buffer("batch_mean", torch.tensor(20.0))
        self.register_buffer("batch_std", torch.tensor(100.0))

    def forward(self, cosines: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        """See `CosineMargin.forward`; in training the running statistics go on first."""
        with torch.no_grad():
            lengths = torch.linalg.vector_norm(embeddings, dim=1).clamp(1e-3, 100.0)
            if self.training:
                self._update(lengths, labels >= 0)
            quality = self.h * (lengths - self.batch_mean) / (self.batch_std + 1e-3)
            quality = quality.clamp(-1.0, 1.0).unsqueeze(1)

        def lowered(plain: Tensor) -> Tensor:
            angle = plain.detach().clamp(-1.0, 1.0).acos()
            turned = angle - self.m * quality
            kept = turned.clamp(_EDGE, math.pi - _EDGE)
            slope = turned.sin() / angle.sin().clamp_min(SMALLEST_SINE) * (kept == turned)
            if self.straight_through:
                slope = torch.ones_like(slope)
            return with_slope(plain, kept.cos() - self.m - self.m * quality, slope)

        return change_target(cosines, labels, lowered)

    def _update(self, lengths: Tensor, counted: Tensor) -> None:
        """Update mu and sigma, the latter with n - 1; too few rows leave them as they are."""
        total = mean(torch.stack([(lengths * counted).sum(), counted.sum().to(lengths)])) * world()
        average, n = total[0] / total[1].clamp_min(1), total[1]
        squares = mean(((lengths - average).square() * counted).sum()) * world()
        spread = (squares / (n - 1).clamp_min(1)).sqrt()
        for buffer, value, enough in ((self.batch_mean, average, 1), (self.batch_std, spread, 2)):
            buffer.lerp_(torch.where(n >= enough, value.to(buffer), buffer), self.t_alpha)


@MARGINS.register("magface")
class MagFace(CosineMargin):
    """MagFace: a longer embedding has a larger margin, cos(t + m(a)), and length is rewarded.

    a = |z| clipped to [l_a, u_a], m(a) = l_m + (u_m - l_m) (a - l_a) / (u_a - l_a), and each image
    adds lambda_g g(a), g(a) = 1/a + a/u_a^2 (arXiv 2103.06627, section 3.2). The gradient flows
    through the margin into the length; outside of [l_a, u_a] it does not, as in the authors' code.
    `straight_through` would cut that off, so there is none. Whose length counts is what the
    classifier reads: through a projector, the projected embedding's.

    With `easy_margin` a target at more than 90 degrees keeps its plain cosine, otherwise only one
    with t + m(a) > pi is treated otherwise, cos t - m(a) sin m(a). The authors' code has it on, and
    so is the default; the value then jumps upwards as t passes 90 degrees.

    Args:
        l_a: Shortest length that counts.
        u_a: Longest.
        l_m: Margin at l_a, radians.
        u_m: Margin at u_a, radians.
        lambda_g: Weight of g; the paper's 35 (`run.sh`; their script's default is 20). The theory
            asks for at least s K u_a^2 l_a^2 / (u_a^2 - l_a^2) with K = (u_m - l_m) / (u_a - l_a),
            22.6 with the defaults.
        easy_margin: See above.

    Raises:
        FacekdError: l_a is not below u_a, or l_m is above u_m.
    """

    paper = "arXiv 2103.06627"

    def __init__(
        self,
        l_a: Positive = 10.0,
        u_a: Positive = 110.0,
        l_m: Angle = 0.45,
        u_m: Angle = 0.8,
        lambda_g: NotNegative = 35.0,
        easy_margin: bool = True,
    ) -> None:
        super().__init__()
        if l_a >= u_a or l_m > u_m:
            raise FacekdError(
                f"magface: the margin rises from l_m {l_m:g} at length l_a {l_a:g} to u_m {u_m:g} "
                f"at u_a {u_a:g}; give l_a below u_a, and l_m not above u_m."
            )
        self.l_a, self.u_a, self.l_m, self.u_m = l_a, u_a, l_m, u_m
        self.lambda_g, self.easy_margin = lambda_g, easy_margin

    def forward(self, cosines: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        """See `CosineMargin.forward`."""
        rise = (self.u_m - self.l_m) / (self.u_a - self.l_a)
        m = self.l_m + rise * (self._lengths(embeddings) - self.l_a).unsqueeze(1)

        def lowered(plain: Tensor) -> Tensor:
            turned = plain * m.cos() - sine(plain) * m.sin()
            if self.easy_margin:
                return torch.where(plain > 0, turned, plain)
            return torch.where(plain > -m.cos(), turned, plain - m * m.sin())

        return change_target(cosines, labels, lowered)

    def penalty(self, embeddings: Tensor) -> Tensor:
        """What lambda_g g(a) adds, (B,)."""
        a = self._lengths(embeddings)
        reward: Tensor = self.lambda_g * (1.0 / a + a / self.u_a**2)
        return reward

    def _lengths(self, embeddings: Tensor) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(embeddings, dim=1)
        return lengths.clamp(self.l_a, self.u_a)


@MARGINS.register("curricularface")
class CurricularFace(CosineMargin):
    """CurricularFace: ArcFace at the target, and hard wrong classes weigh more as training goes on.

    A wrong class with cos t_j > cos(t_y + m) becomes cos t_j (t + cos t_j); t, the running mean of
    the targets' plain cosines, is updated before it is used: t <- alpha r + (1 - alpha) t (arXiv
    2004.00288, section 3.2), r over the labelled rows of all processes together. The gradient is
    the true one, and t gets none. Beyond t_y + m > pi the target is ArcFace's cos t_y - m sin m;
    what is hard is asked of cos(t_y + m) there, too, as in the authors' code.

    Args:
        m: Margin in radians, in [0, pi).
        alpha: Weight of a batch in t; 0.01 in the authors' code (0.1 in TFace's).

    Attributes:
        t: A scalar that starts at 0.
    """

    paper = "arXiv 2004.00288"
    t: Tensor

    def __init__(
        self,
        m: Angle = 0.5,
        alpha: Fraction = 0.01,
    ) -> None:
        super().__init__()
        self.m, self.alpha = m, alpha
        self.register_buffer("t", torch.tensor(0.0))

    def forward(self, cosines: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        """See `CosineMargin.forward`; in training t goes on first."""
        return self.on_block(cosines, labels, embeddings, lambda value: value)

    def on_block(
        self,
        cosines: Tensor,
        labels: Tensor,
        embeddings: Tensor,
        total: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """See `CosineMargin.on_block`: what is hard is asked of a target that stands elsewhere."""
        cosines = cosines.to(torch.promote_types(cosines.dtype, torch.float32))
        column, labelled = labels.clamp_min(0).unsqueeze(1), labels.unsqueeze(1) >= 0
        plain = cosines.gather(1, column)
        with torch.no_grad():
            if self.training:
                self._update(plain, labelled)
            own, known = total(plain * labelled), total(labelled.to(plain))
            turned = own * math.cos(self.m) - sine(own) * math.sin(self.m)
            hard = (cosines > turned) & (known > 0)
        target = arcface(plain, labels.clamp_max(0), self.m)
        others = torch.where(hard, cosines * (self.t.clone() + cosines), cosines)
        return others.scatter(1, column, torch.where(labelled, target, others.gather(1, column)))

    def _update(self, plain: Tensor, labelled: Tensor) -> None:
        total = mean(torch.stack([(plain * labelled).sum(), labelled.sum().to(plain)]))
        average = (total[0] / total[1]).to(self.t)  # 0/0 without any labelled row
        self.t.lerp_(torch.where(total[1] > 0, average, self.t), self.alpha)
