"""Margin softmax, on the student's own head or on the teacher's."""

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from facekd.distill.term import TERMS, Need, Side, Step, Term
from facekd.errors import FacekdError, did_you_mean
from facekd.heads.margin_functions import filter_others
from facekd.heads.margins import MARGINS, CosineMargin
from facekd.settings import Positive, check_settings, setting_names

Cosine = Annotated[float, Field(gt=0, le=1)]


@TERMS.register("margin")
class Margin(Term):
    """Cross-entropy of scaled cosines with a margin (ArcFace, AdaFace, ...), or plain softmax.

    CE = -1/B sum_i log( exp(s c'_{i,y_i}) / sum_j exp(s c'_{i,j}) ), where c' are the cosines with
    one of the margins of `facekd.heads` (arXiv 1801.07698, equation 3). With `head: teacher` the
    student's embeddings are classified by the teacher's frozen head: the second part of TH-KD's
    equation 2 (arXiv 2201.06945), and by itself ProxylessKD (arXiv 2011.00265). What a margin adds
    to each image's loss (MagFace's reward for length) is averaged as the cross-entropy is.
    `margin: softmax` takes linear logits z W^T + b, no scale. Rows with label -1 are left out of
    the mean; a batch of nothing else gives 0. With partial_fc the mean is over the labelled rows of
    all processes, and the sum over j over the classes of the step.

    Args:
        head: Whose classifier reads the student's embeddings.
        margin: One of `facekd.heads.MARGINS`, or softmax.
        scale: s, what cosines are multiplied by (default: the margin's own; 64, SphereFace's 30).
        filter_above: Inter-class filtering: wrong classes' cosines above it become 0 before the
            margin, for data with one person under two labels (insightface's `_filter04`
            configurations have 0.4; default: off).
        sub_centres: Sub-centre ArcFace (ECCV 2020): the student's head has several centres a class.
            Without it such a head is welcome, too; with it the stage must have one.
        **settings: The margin's own.

    Raises:
        FacekdError: An unknown margin, or a setting that the chosen one does not have.
    """

    paper = "ArcFace arXiv 1801.07698, CosFace arXiv 1801.09414; others: see the margins"
    ranks = (
        "each process computes it on its own batch, or with partial_fc on its own classes; what "
        "adaface and curricularface remember is taken over all processes' rows, and equal in each"
    )

    by_blocks = True

    def __init__(
        self,
        head: Side = "student",
        margin: str = "arcface",
        scale: Positive | None = None,
        filter_above: Cosine | None = None,
        sub_centres: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.head: Side = head
        self.linear = margin == "softmax"
        own: set[Need] = {"labels", "student_head"}
        own |= {"several centres of a class"} if sub_centres else set()
        on_teacher: set[Need] = {"labels", "teacher_head", "projector"}
        self.needs = frozenset(own if head == "student" else on_teacher)
        self.filter_above = filter_above
        self.margin: CosineMargin | None = None
        self.scale = 1.0
        if self.linear:
            common = {"scale": scale, "filter_above": filter_above, "sub_centres": sub_centres}
            _refuse_all(settings | {k: v for k, v in common.items() if v})
            return
        if margin not in MARGINS:
            reason = did_you_mean(margin, [*MARGINS, "softmax"])
            raise FacekdError(f"term 'margin': margin cannot be {margin!r}; {reason}")
        chosen = MARGINS[margin]
        check_settings(f"term 'margin': {margin}", chosen, settings)
        self.margin = chosen(**settings)
        self.scale = chosen.scale if scale is None else scale

    @classmethod
    def passes_on(cls) -> frozenset[str]:
        """The settings of all margins."""
        return frozenset().union(*(setting_names(MARGINS[name]) for name in MARGINS))

    def forward(self, step: Step) -> Tensor:
        """Mean cross-entropy over the labelled rows: a scalar."""
        classes, penalty = step.classes(self.head), None
        if self.margin is None:
            logits = step.logits("student", self.head)
        else:
            cosines = step.cosines("student", self.head)
            if self.filter_above is not None:
                cosines = filter_others(cosines, classes.column, self.filter_above)
            embeddings = step.read("student", self.head)
            logits = self.scale * self.margin.on_block(
                cosines, classes.column, embeddings, classes.total
            )
            penalty = self.margin.penalty(embeddings)
        total = classes.cross_entropy(logits)
        labelled = classes.labelled
        if penalty is not None:
            total = total + (penalty * labelled).sum()
        return total / labelled.sum().clamp_min(1)


def _refuse_all(settings: dict[str, Any]) -> None:
    for name in settings:
        raise FacekdError(f"term 'margin': softmax has no setting {name!r}; it has none.")
