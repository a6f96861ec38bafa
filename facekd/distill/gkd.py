"""GKD: the teacher's softmax over the classes that matter to the student, and the rest as one."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.term import TERMS, Side, Step, Term
from facekd.errors import FacekdError
from facekd.heads.class_block import Classes
from facekd.heads.margin_functions import change_target, cosface
from facekd.settings import Angle, Count, Fraction, NotNegative, Positive


@TERMS.register("gkd")
class GKD(Term):
    """KL of the softmax in two groups of classes, the primary ones apart from the rest.

    An image's primary group G are the n classes that the student gives the largest logits, its
    own identity among them in any case. With p = softmax(l/T), b = (p(G), p(not G)), and q, r the
    same softmax within G and within the rest (arXiv 2304.04462):
        T^2/B sum_i [ bkd KL(b_t || b_s) + pkd KL(q_t || q_s) + skd KL(r_t || r_s) ] min(e/E, 1)
    after e epochs. The paper leaves the last part out (skd 0): the tail's tiny probabilities are
    what a small student cannot fit.

    `group: fixed` takes n = `classes`, or all classes where there are no more; `adaptive` the
    smallest n for which the n classes that are likeliest on average over the batch reach a
    probability of `tau` together (softmax of the student's logits without T). Where no class is
    left for the rest, the term is pkd times `kd`.

    The paper's abstract speaks of logits and their softened prediction; the authors' code (WisonZ/
    GKD) hands over both networks' logits with CosFace's margin at the target, which is the default
    here, and `margin_on_logits: off` the margin-free ones. Further differences from that code: e is
    a fraction, theirs counts whole epochs; with the adaptive group theirs tries only n = 1, 101,
    201, ..., fails where none of them will do, and weighs the primary part by 4 instead of 8; where
    no class is left for the rest theirs is NaN. Rows with label -1 have no margin and no identity
    that must be in the group. With partial_fc the groups are among the classes of the step.

    Args:
        group: How large the primary group is.
        classes: n of the fixed group.
        tau: The adaptive group's share of probability.
        bkd: Weight of the groups' masses.
        pkd: Weight of the primary classes.
        skd: Weight of the other classes.
        temperature: T.
        ramp_epochs: E, epochs over which the term grows to its weight; 0: at once.
        margin_on_logits: Whether targets' cosines are lowered by `m` on both sides.
        m: CosFace's margin.
        scale: What cosines are multiplied by.

    Raises:
        FacekdError: The heads have different numbers of classes.
    """

    paper = "GKD, arXiv 2304.04462"
    by_blocks = True
    ranks = "the adaptive group's probabilities are averaged over processes: one n for all"
    needs = frozenset({"labels", "student_head", "teacher_head", "teacher_embeddings"})

    def __init__(
        self,
        group: Literal["fixed", "adaptive"] = "fixed",
        classes: Count = 10_000,
        tau: Fraction = 0.93,
        bkd: NotNegative = 1.0,
        pkd: NotNegative = 8.0,
        skd: NotNegative = 0.0,
        temperature: Positive = 4.0,
        ramp_epochs: NotNegative = 10.0,
        margin_on_logits: bool = True,
        m: Angle = 0.4,
        scale: Positive = 64.0,
    ) -> None:
        super().__init__()
        self.group, self.classes, self.tau = group, classes, tau
        self.bkd, self.pkd, self.skd = bkd, pkd, skd
        self.temperature, self.ramp_epochs = temperature, ramp_epochs
        self.m, self.scale = m if margin_on_logits else 0.0, scale

    def forward(self, step: Step) -> Tensor:
        """Mean over the batch, grown by time: a scalar."""
        classes = step.classes("student")
        student, teacher = self._logits(step, "student"), self._logits(step, "teacher")
        if student.shape != teacher.shape:
            raise FacekdError(
                f"term 'gkd': the student's head has {student.shape[1]} classes and the teacher's "
                f"{teacher.shape[1]}; both need the same label map."
            )
        count = int(classes.count(student))
        n = self.group_size(student.detach(), classes)
        primary = classes.largest(change_target(student.detach(), classes.column, _first), n)
        both = teacher / self.temperature, student / self.temperature
        inside = [_Group(logits, primary, classes) for logits in both]
        value = self.pkd * _divergence(*inside)
        if n < count:
            outside = [_Group(logits, ~primary, classes) for logits in both]
            masses = [
                torch.stack([group.mass, rest.mass], dim=1).log_softmax(dim=1)
                for group, rest in zip(inside, outside, strict=True)
            ]
            value = value + self.bkd * F.kl_div(
                masses[1], masses[0], reduction="batchmean", log_target=True
            )
            if self.skd:
                value = value + self.skd * _divergence(*outside)
        return self.temperature**2 * self._grown(step.epoch) * value

    def group_size(self, student: Tensor, classes: Classes) -> int:
        """n, in [1, C], from the student's logits, (B, C) or by blocks (N, S)."""
        if self.group == "fixed":
            return min(self.classes, int(classes.count(student)))
        likely = classes.means(classes.log_softmax(student).exp()).sort(descending=True).values
        short = int((likely.cumsum(0) < self.tau).sum())  # so many classes are not enough
        return min(short + 1, len(likely))

    def _logits(self, step: Step, side: Side) -> Tensor:
        return self.scale * cosface(step.cosines(side, side), step.classes(side).column, self.m)

    def _grown(self, epoch: float) -> float:
        return min(epoch / self.ramp_epochs, 1.0) if self.ramp_epochs else 1.0


class _Group:
    """One network's logits in a group of each row's classes.

    Args:
        logits: (B, C), or (N, S) by blocks.
        within: Of the same shape, which classes are in the group.
        classes: Which classes the columns are.

    Attributes:
        mass: The group as one logit, (B,).
    """

    def __init__(self, logits: Tensor, within: Tensor, classes: Classes) -> None:
        self.within, self.classes = within, classes
        self.mass = classes.logsumexp(logits.masked_fill(~within, -torch.inf))
        self.log_softmax = logits - self.mass.unsqueeze(1)  # in the group; elsewhere no matter


def _divergence(teacher: _Group, student: _Group) -> Tensor:
    """Mean over rows of the KL of the teacher's softmax in a group and the student's."""
    p = teacher.log_softmax.masked_fill(~teacher.within, -torch.inf).exp()
    summed = (p * (teacher.log_softmax - student.log_softmax)).sum()
    return teacher.classes.total(summed) / len(p)


def _first(target: Tensor) -> Tensor:
    """The row's own identity before all others."""
    return torch.full_like(target, torch.inf)


@preset("gkd", paper="GKD, arXiv 2304.04462")
def gkd(
    classification: NotNegative = 1.0,
    beta: NotNegative = 1.0,
    group: Literal["fixed", "adaptive"] = "fixed",
    classes: Count = 10_000,
    tau: Fraction = 0.93,
    temperature: Positive = 4.0,
    ramp_epochs: NotNegative = 10.0,
    margin_on_logits: bool = True,
    m: Angle = 0.4,
    scale: Positive = 64.0,
) -> list[TermSpec]:
    """GKD: classification x CosFace + beta x KL in the student's likeliest classes and the rest."""
    grouped = {"group": group, "classes": classes, "tau": tau, "temperature": temperature}
    shape = {"m": m, "scale": scale}
    return [
        term_spec("margin", classification, margin="cosface", **shape),
        term_spec(
            "gkd",
            beta,
            ramp_epochs=ramp_epochs,
            margin_on_logits=margin_on_logits,
            **grouped,
            **shape,
        ),
    ]
