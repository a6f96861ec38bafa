"""Margin softmax, on the student's own head or on the teacher's."""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.settings import Angle, NotNegative, Positive
from facekd.distill.term import TERMS, Need, Side, Step, Term
from facekd.errors import FacekdError
from facekd.heads.margins import MARGINS

_SETTINGS = {
    "arcface": {"m", "scale", "straight_through"},
    "cosface": {"m", "scale", "straight_through"},
    "combined": {"m1", "m2", "m3", "scale", "straight_through"},
    "softmax": set[str](),
}


@TERMS.register("margin")
class Margin(Term):
    """Cross-entropy of scaled cosines with a margin (ArcFace, CosFace, combined), or plain softmax.

    CE = -1/B sum_i log( exp(s c'_{i,y_i}) / sum_j exp(s c'_{i,j}) ), where c' are the cosines with
    the margin of `facekd.heads.margins` at the target (arXiv 1801.07698, equation 3). With
    `head: teacher` the student's embeddings are classified by the teacher's frozen head: the
    second part of TH-KD's equation 2 (arXiv 2201.06945), and by itself ProxylessKD
    (arXiv 2011.00265). `margin: softmax` takes linear logits z W^T + b, no scale. Rows with label
    -1 are left out of the mean; a batch of nothing else gives 0.

    Args:
        head: Whose classifier reads the student's embeddings.
        margin: Which margin.
        m: Margin of arcface (radians, default 0.5) or cosface (cosine, default 0.35).
        m1: Factor on the angle (combined; default 1).
        m2: Added to the angle, radians (combined; default 0.5).
        m3: Taken from the cosine (combined; default 0).
        scale: s, what cosines are multiplied by (default 64).
        straight_through: insightface's gradient instead of the true one (default off).

    Raises:
        FacekdError: A setting is given that the chosen margin does not have.
    """

    paper = "ArcFace arXiv 1801.07698, CosFace arXiv 1801.09414"

    def __init__(
        self,
        head: Side = "student",
        margin: Literal["arcface", "cosface", "combined", "softmax"] = "arcface",
        m: Angle | None = None,
        m1: Positive | None = None,
        m2: Angle | None = None,
        m3: NotNegative | None = None,
        scale: Positive | None = None,
        straight_through: bool | None = None,
    ) -> None:
        super().__init__()
        self.head: Side = head
        self.margin = margin
        self.linear = margin == "softmax"
        on_teacher: frozenset[Need] = frozenset({"labels", "teacher_head", "projector"})
        self.needs = frozenset({"labels", "student_head"}) if head == "student" else on_teacher
        given: dict[str, Any] = {
            "m": m, "m1": m1, "m2": m2, "m3": m3,
            "scale": scale, "straight_through": straight_through,
        }  # fmt: skip
        self.settings = {name: value for name, value in given.items() if value is not None}
        for name in self.settings:
            if name not in _SETTINGS[margin]:
                has = ", ".join(sorted(_SETTINGS[margin])) or "none"
                raise FacekdError(
                    f"term 'margin': {margin} has no setting {name!r} (it has {has}); remove it."
                )
        self.scale = self.settings.pop("scale", 64.0)

    def forward(self, step: Step) -> Tensor:
        """Mean cross-entropy over the labelled rows: a scalar."""
        if self.linear:
            logits = step.logits("student", self.head)
        else:
            cosines = step.cosines("student", self.head)
            logits = self.scale * MARGINS[self.margin](cosines, step.labels, **self.settings)
        total = F.cross_entropy(logits, step.labels, ignore_index=-1, reduction="sum")
        return total / (step.labels >= 0).sum().clamp_min(1)


@preset("arcface", paper="arXiv 1801.07698")
def arcface(
    m: Angle = 0.5, scale: Positive = 64.0, straight_through: bool = False
) -> list[TermSpec]:
    """ArcFace on the student's own head: no teacher."""
    shape = {"m": m, "scale": scale, "straight_through": straight_through}
    return [term_spec("margin", 1.0, margin="arcface", **shape)]


@preset("cosface", paper="arXiv 1801.09414")
def cosface(m: Angle = 0.35, scale: Positive = 64.0) -> list[TermSpec]:
    """CosFace on the student's own head: no teacher."""
    return [term_spec("margin", 1.0, margin="cosface", m=m, scale=scale)]


@preset("softmax", paper="none: the textbook's softmax")
def softmax() -> list[TermSpec]:
    """Plain softmax on linear logits with bias: no teacher, no margin."""
    return [term_spec("margin", 1.0, margin="softmax")]


@preset("proxyless", paper="ProxylessKD, arXiv 2011.00265")
def proxyless(**margin: Any) -> list[TermSpec]:
    """ProxylessKD: the student learns under the teacher's frozen head alone."""
    return [term_spec("margin", 1.0, head="teacher", **margin)]
