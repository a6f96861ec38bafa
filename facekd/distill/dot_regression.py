"""Dot regression: an embedding is pulled to its identity's class vector, and pushed from none."""

from typing import Any

from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.term import TERMS, Need, Side, Step, Term
from facekd.settings import NotNegative


@TERMS.register("dot_regression")
class DotRegression(Term):
    """Half the squared difference between 1 and the cosine to the image's own class vector.

    1/B sum_i 1/2 (cos(z_i, w_{y_i}) - 1)^2 (FedDr+, arXiv 2406.02355, whose classifier is a frozen
    simplex; the loss is that of arXiv 2203.09081). Here the frozen vectors are the teacher's head.
    It only pulls, so it needs vectors that stay apart by themselves: with a student's head that
    learns, combine it with a margin softmax. One class vector an image is read: O(B d), whatever
    the number of identities. Rows with label -1 are left out of the mean; a batch of nothing else
    gives 0. The authors published no code that we know of. The student's embeddings pass through
    the projector where the teacher's head has another width. With partial_fc the mean is over the
    labelled rows of all processes.

    Args:
        head: Whose class vectors.
    """

    paper = "FedDr+, arXiv 2406.02355; dot regression: arXiv 2203.09081"
    by_blocks = True

    def __init__(self, head: Side = "teacher") -> None:
        super().__init__()
        self.head: Side = head
        on_teacher: frozenset[Need] = frozenset({"labels", "teacher_head", "projector"})
        self.needs = frozenset({"labels", "student_head"}) if head == "student" else on_teacher

    def forward(self, step: Step) -> Tensor:
        """The mean over the labelled rows: a scalar."""
        labelled = step.classes(self.head).labelled
        cosines = step.own_cosines("student", self.head)
        total = ((cosines - 1).square() * labelled).sum() / 2
        return total / labelled.sum().clamp_min(1)


@preset("dot_regression", paper="FedDr+, arXiv 2406.02355")
def dot_regression(
    classification: NotNegative = 1.0,
    beta: NotNegative = 1.0,
    head: Side = "teacher",
    **margin: Any,
) -> list[TermSpec]:
    """Dot regression: classification x margin softmax + beta x pull to the teacher's class vector.

    The default weights are ours: FedDr+ has no margin softmax (`classification: 0`) and adds the
    distance to another network's embeddings (`{term: fitnet}`), with weights that sum to 1.
    """
    return [
        term_spec("margin", classification, **margin),
        term_spec("dot_regression", beta, head=head),
    ]
