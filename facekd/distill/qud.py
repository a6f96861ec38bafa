"""QUD: the teacher's embedding told from a queue of its past ones, without labels."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from facekd.distill.memory import Queue, random_directions
from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.same_width import same_width
from facekd.distill.term import TERMS, Sizes, Step, Term
from facekd.errors import FacekdError
from facekd.heads.classifier import unit
from facekd.settings import Count, NotNegative, Positive


@TERMS.register("qud")
class QUD(Term):
    """Contrast of the teacher's embedding of an image with a queue of its past embeddings.

    -1/B sum_i log( exp(s_i.t_i / T) / (exp(s_i.t_i / T) + sum_{q in Q} exp(s_i.q / T)) ), with s, t
    of length 1 and Q the teacher's last |Q| embeddings, of earlier batches (QUD, BMVC 2024; the
    loss is InfoNCE, arXiv 1807.03748, the queue MoCo's, arXiv 1911.05722). The batch enters the
    queue after it was compared. No labels: an image whose identity is in the queue is pushed from
    its own past. The student's embeddings pass through the projector where the widths differ.

    The paper's T is 0.1, the default of the authors' code 0.07. Their code asks that |Q| be a
    multiple of the joint batch; here any batch enters. As theirs, the queue begins with random
    directions, which go as the first |Q| images come.

    Args:
        temperature: T.
        queue: |Q|, embeddings in the queue; 4 |Q| d_t bytes.

    Raises:
        FacekdError: There is no teacher, or the widths differ and nothing stands between them.
    """

    paper = "QUD, BMVC 2024; InfoNCE, arXiv 1807.03748"
    ranks = "each process's queue holds all processes' teacher embeddings, in the same order"
    needs = frozenset({"teacher_embeddings", "projector"})

    def __init__(self, temperature: Positive = 0.1, queue: Count = 1024) -> None:
        super().__init__()
        self.temperature = temperature
        self.length = queue

    def build(self, sizes: Sizes) -> None:
        """Make the queue, as wide as the teacher's embeddings."""
        if sizes.teacher_dim is None:
            raise FacekdError("term 'qud' needs a teacher's embeddings; name a teacher.")
        self.queue = Queue(random_directions(self.length, sizes.teacher_dim))

    def forward(self, step: Step) -> Tensor:
        """Mean over the batch: a scalar."""
        student, teacher = map(unit, same_width("qud", step))
        positive = (student * teacher).sum(dim=1, keepdim=True)
        negatives = student @ self.queue.rows.clone().T  # a copy: the batch enters before backward
        scores = torch.cat([positive, negatives], dim=1) / self.temperature
        loss = -F.log_softmax(scores, dim=1)[:, 0].mean()
        if self.training:
            self.queue.push(teacher)
        return loss


@preset("qud", paper="QUD, BMVC 2024")
def qud(
    classification: NotNegative = 0.0,
    beta: NotNegative = 1.0,
    temperature: Positive = 0.1,
    queue: Count = 1024,
    **margin: Any,
) -> list[TermSpec]:
    """QUD: contrast with a queue of the teacher's embeddings; no labels, no head.

    The loss is the term alone, as in the paper; `classification` puts a margin softmax beside it.
    """
    return [
        term_spec("margin", classification, **margin),
        term_spec("qud", beta, temperature=temperature, queue=queue),
    ]
