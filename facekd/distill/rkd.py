"""RKD: distances and angles between the embeddings of a batch, student against teacher."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.term import TERMS, Step, Term
from facekd.heads.classifier import unit
from facekd.settings import Count, NotNegative

_SHORTEST_SQUARE = 1e-12  # squared distances below this have no gradient


@TERMS.register("rkd")
class RKD(Term):
    """Relational knowledge distillation: Huber losses on pairs' distances and triplets' angles.

    distance * 1/B^2 sum_ij h(d_s,ij - d_t,ij) + angle * 1/n^3 sum_ijk h(a_s,ijk - a_t,ijk), where
    d_ij = |z_i - z_j| / mu with mu the mean distance of the batch's pairs,
    a_ijk = cos of the angle at z_i between z_j and z_k,
    and h(x) = x^2/2 up to |x| = 1, |x| - 1/2 beyond (arXiv 1904.05068). As in the published code
    (HeadSharingKD and TFace, `RKDLoss`) the means include pairs and triplets of an image with
    itself, which are 0. The gradient goes through the student's mu.

    Angles take O(n^3 + n^2 d) time and memory, so only the batch's first n = `angle_rows` images
    give them; distances are of the whole batch. For a batch of one image the published code gives
    NaN and ours 0; between images that the student cannot tell apart an angle's gradient grows to
    1e12 there and to 1e6 at most here. The widths may differ. Relations are within a process's
    batch.

    Args:
        distance: Weight of the distances; 0 leaves them out. The authors' 25.
        angle: Weight of the angles; 0 leaves them out. The authors' 50.
        angle_rows: How many images at most give angles.
    """

    paper = "Relational KD, arXiv 1904.05068"
    needs = frozenset({"teacher_embeddings"})

    def __init__(
        self,
        distance: NotNegative = 25.0,
        angle: NotNegative = 50.0,
        angle_rows: Count = 64,
    ) -> None:
        super().__init__()
        self.distance = distance
        self.angle = angle
        self.angle_rows = angle_rows

    def forward(self, step: Step) -> Tensor:
        """Both relations over the batch: a scalar."""
        total = step.embeddings.sum() * 0
        if self.distance:
            student, teacher = _distances(step.embeddings), _distances(step.teacher)
            total = total + self.distance * F.smooth_l1_loss(student, teacher)
        if self.angle:
            few = slice(self.angle_rows)
            student, teacher = _angles(step.embeddings[few]), _angles(step.teacher[few])
            total = total + self.angle * F.smooth_l1_loss(student, teacher)
        return total


def _distances(z: Tensor) -> Tensor:
    """(B, B): distances divided by the mean of the B (B - 1) between different images."""
    squares = z.square().sum(dim=1)
    between = (squares.unsqueeze(1) + squares - 2 * z @ z.T).clamp_min(_SHORTEST_SQUARE).sqrt()
    others = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    between = between * others
    mean = between.sum() / others.sum().clamp_min(1)
    return between / mean.clamp_min(_SHORTEST_SQUARE)


def _angles(z: Tensor) -> Tensor:
    """(n, n, n): cosines of the angle at i between j and k; 0 where j or k is i."""
    n, width = z.shape
    directions = unit((z.unsqueeze(0) - z.unsqueeze(1)).reshape(n * n, width)).view(n, n, width)
    return directions @ directions.transpose(1, 2)


@preset("rkd", paper="arXiv 1904.05068")
def rkd(
    classification: NotNegative = 1.0,
    distance: NotNegative = 25.0,
    angle: NotNegative = 50.0,
    angle_rows: Count = 64,
    **margin: Any,
) -> list[TermSpec]:
    """RKD: classification x margin softmax + distance and angle of the batch's embeddings."""
    weight = 1.0 if distance or angle else 0.0
    return [
        term_spec("margin", classification, **margin),
        term_spec("rkd", weight, distance=distance, angle=angle, angle_rows=angle_rows),
    ]
