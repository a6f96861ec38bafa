"""FitNet: the squared distance between embeddings, or between feature maps."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.same_width import same_width
from facekd.distill.term import TERMS, Need, Sizes, Step, Term
from facekd.errors import FacekdError
from facekd.heads.classifier import unit
from facekd.settings import NotNegative

Stages = Sequence[Literal[1, 2, 3, 4]]


@TERMS.register("fitnet")
class FitNet(Term):
    """Squared error between the student's embeddings, or regressed feature maps, and the teacher's.

    mean: 1/(B n) sum_i || r(x_s,i) - x_t,i ||^2 over the n components of an embedding or a map, as
    published for faces (TFace's EKD, `HintLoss`) and for classes (HeadSharingKD, `HintLoss`).
    half_sum: 1/(2B) sum_i || r(x_s,i) - x_t,i ||^2, the paper's (arXiv 1412.6550, equation 3); with
    `normalize` GKD's `fitnet`, which is half of `l2e`.
    Without stages x are embeddings and r is the projector where the widths differ. With stages x
    are the feature maps at those stages' ends, r a 1x1 convolution and batch norm of each stage's
    own, and the stages' errors are added. HeadSharingKD's regressor ends in a ReLU, as its maps do;
    face networks' maps have both signs, and so has r here. The paper trains r and the lower layers
    first and the rest afterwards; here, as in HeadSharingKD, everything learns together.

    Args:
        stages: Whose feature maps, among 1 to 4; none: the embeddings.
        normalize: Whether both embeddings are scaled to length 1 first.
        reduction: "mean" over components and batch, or "half_sum".

    Raises:
        FacekdError: `normalize` is given with stages.
    """

    paper = "FitNets, arXiv 1412.6550"
    ranks = (
        "each process computes it on its own batch, batch norm included; the gradients are averaged"
    )

    def __init__(
        self,
        stages: Stages = (),
        normalize: bool = False,
        reduction: Literal["mean", "half_sum"] = "mean",
    ) -> None:
        super().__init__()
        if stages and normalize:
            raise FacekdError(
                "term 'fitnet': normalize is for embeddings, not for the feature maps of stages; "
                "remove one of the two."
            )
        self.maps = frozenset(stages)
        on_embeddings: frozenset[Need] = frozenset({"teacher_embeddings", "projector"})
        self.needs = frozenset({"feature_maps"}) if stages else on_embeddings
        self.normalize = normalize
        self.reduction = reduction
        self.regressors = nn.ModuleDict()

    def build(self, sizes: Sizes) -> None:
        """Make each stage's regressor.

        Raises:
            FacekdError: One of the networks shows no feature map at a stage.
        """
        for stage in sorted(self.maps):
            student = _channels("student", sizes.student_channels, stage)
            teacher = _channels("teacher", sizes.teacher_channels, stage)
            self.regressors[str(stage)] = nn.Sequential(
                nn.Conv2d(student, teacher, kernel_size=1, bias=False), nn.BatchNorm2d(teacher)
            )

    def forward(self, step: Step) -> Tensor:
        """The error over the batch, stages added: a scalar."""
        if not self.maps:
            student, teacher = same_width("fitnet", step)
            if self.normalize:
                student, teacher = unit(student), unit(teacher)
            return self._error(student, teacher)
        total = step.embeddings.new_zeros(())
        for stage in sorted(self.maps):
            student, teacher = step.student_maps[stage], step.teacher_maps[stage]
            if student.shape[2:] != teacher.shape[2:]:
                raise FacekdError(
                    f"term 'fitnet': at stage {stage} the student's feature map is "
                    f"{student.shape[2]} x {student.shape[3]} and the teacher's "
                    f"{teacher.shape[2]} x {teacher.shape[3]}; choose networks with equal input "
                    "sizes, or no stages."
                )
            total = total + self._error(self.regressors[str(stage)](student), teacher)
        return total

    def _error(self, student: Tensor, teacher: Tensor) -> Tensor:
        squares = (student - teacher).square()
        return squares.mean() if self.reduction == "mean" else squares.sum() / (2 * len(squares))


def _channels(side: str, channels: Mapping[int, int], stage: int) -> int:
    if stage not in channels:
        raise FacekdError(
            f"term 'fitnet': the {side} shows no feature map of stage {stage}; "
            "use a network whose stages facekd knows, or no stages."
        )
    return channels[stage]


@preset("fitnet", paper="arXiv 1412.6550")
def fitnet(
    classification: NotNegative = 1.0,
    beta: NotNegative | None = None,
    stages: Stages = (),
    normalize: bool = False,
    reduction: Literal["mean", "half_sum"] = "mean",
    **margin: Any,
) -> list[TermSpec]:
    """FitNet: classification x margin softmax + beta x squared error of embeddings or feature maps.

    Where beta is left out it is 100 with stages, as in HeadSharingKD's CIFAR-100 script (one stage,
    in the middle), and 1 without, which is ours: no weight is published for embeddings.
    """
    if beta is None:
        beta = 100.0 if stages else 1.0
    form = {"stages": list(stages) or None, "normalize": normalize, "reduction": reduction}
    return [
        term_spec("margin", classification, **margin),
        term_spec("fitnet", beta, **form),
    ]
