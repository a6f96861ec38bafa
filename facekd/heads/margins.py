"""Margins by name: small modules with settings; the fixed ones, whose margin never changes.

A margin turns cosines into cosines with the margin, before the scale. Those that look at the
embeddings' lengths or remember past batches stand in `facekd.heads.adaptive_margins`.
"""

from collections.abc import Callable
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from facekd.heads.margin_functions import arcface, combined, cosface, sphereface
from facekd.registry import Registry, first_line
from facekd.settings import Angle, NotNegative, Positive

AtLeastOne = Annotated[float, Field(ge=1, allow_inf_nan=False)]


class CosineMargin(nn.Module):
    """What a margin is. `__init__` takes keyword settings with defaults; their hints are checked.

    Attributes:
        paper: Where it comes from.
        scale: What its cosines are multiplied by unless a recipe says otherwise.
    """

    paper: ClassVar[str] = ""
    scale: ClassVar[float] = 64.0

    def forward(self, cosines: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        """Cosines with the margin.

        Args:
            cosines: (B, C) floating point; narrower than float32 is computed in float32.
            labels: (B,) int64 in [-1, C); a row with -1 stays as it is.
            embeddings: (B, d), not normalised, what the cosines were computed from.

        Returns:
            (B, C), float32 or float64.
        """
        raise NotImplementedError

    def on_block(
        self,
        cosines: Tensor,
        labels: Tensor,
        embeddings: Tensor,
        total: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """As `forward`, on a block of the classes: a row's class may stand in another block.

        Args:
            cosines: (N, S) floating point, of this block's classes; in each block the same rows.
            labels: (N,) int64 in [-1, S); a row with -1 stays as it is.
            embeddings: (N, d), not normalised.
            total: Sums over the blocks.

        Returns:
            (N, S), float32 or float64.
        """
        with_margin: Tensor = self(cosines, labels, embeddings)
        return with_margin

    def penalty(self, embeddings: Tensor) -> Tensor | None:
        """What an image adds to the loss besides its cross-entropy, (B,); None: nothing."""
        return None

    @classmethod
    def summary(cls) -> str:
        """The first line of the class's docstring."""
        return first_line(cls)


MARGINS: Registry[type[CosineMargin]] = Registry("margin")


@MARGINS.register("arcface")
class ArcFace(CosineMargin):
    """ArcFace: cos(t + m) at the target.

    `facekd.heads.arcface` (arXiv 1801.07698, equation 3).

    Args:
        m: Margin in radians, in [0, pi).
        straight_through: insightface's gradient instead of the true one.
    """

    paper = "arXiv 1801.07698"

    def __init__(self, m: Angle = 0.5, straight_through: bool = False) -> None:
        super().__init__()
        self.m, self.straight_through = m, straight_through

    def forward(self, cosines: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        """See `CosineMargin.forward`."""
        return arcface(cosines, labels, self.m, self.straight_through)


@MARGINS.register("cosface")
class CosFace(CosineMargin):
    """CosFace: cos t - m at the target.

    `facekd.heads.cosface` (arXiv 1801.09414, equation 4).

    Args:
        m: Margin in units of the cosine.
        straight_through: Changes nothing: the gradient is the plain cosine's anyway.
    """

    paper = "arXiv 1801.09414"

    def __init__(self, m: Angle = 0.35, straight_through: bool = False) -> None:
        super().__init__()
        self.m, self.straight_through = m, straight_through

    def forward(self, cosines: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        """See `CosineMargin.forward`."""
        return cosface(cosines, labels, self.m, self.straight_through)


@MARGINS.register("combined")
class Combined(CosineMargin):
    """The combined margin: cos(m1 t + m2) - m3 at the target.

    `facekd.heads.combined` (arXiv 1801.07698, equation 4). By default it is ArcFace; insightface's
    `combined` configuration is (1, 0.3, 0.2).

    Args:
        m1: Factor on the angle.
        m2: Added to the angle, radians, in [0, pi).
        m3: Taken from the cosine.
        straight_through: insightface's gradient instead of the true one.
    """

    paper = "arXiv 1801.07698"

    def __init__(
        self,
        m1: Positive = 1.0,
        m2: Angle = 0.5,
        m3: NotNegative = 0.0,
        straight_through: bool = False,
    ) -> None:
        super().__init__()
        self.m1, self.m2, self.m3, self.straight_through = m1, m2, m3, straight_through

    def forward(self, cosines: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        """See `CosineMargin.forward`."""
        return combined(cosines, labels, self.m1, self.m2, self.m3, self.straight_through)


@MARGINS.register("sphereface")
class SphereFace(CosineMargin):
    """SphereFace: the target's angle multiplied, (-1)^k cos(m t) - 2k.

    `facekd.heads.sphereface` (arXiv 1704.08063, equations 6 and 7). The paper has m = 4, embeddings
    of any length and an annealed mixture with the plain cosine; its authors' later library
    (opensphere, after SphereFace Revived, arXiv 2109.05565) has m = 1.7, scale 30, no annealing,
    and takes the margin's gradient as the plain cosine's. The defaults are the library's: those
    two numbers were found with that gradient.

    Args:
        m: Factor on the angle, >= 1.
        straight_through: The plain cosine's gradient; off: the true one.
    """

    paper = "arXiv 1704.08063"
    scale = 30.0

    def __init__(
        self,
        m: AtLeastOne = 1.7,
        straight_through: bool = True,
    ) -> None:
        super().__init__()
        self.m, self.straight_through = m, straight_through

    def forward(self, cosines: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        """See `CosineMargin.forward`."""
        return sphereface(cosines, labels, self.m, self.straight_through)
