"""SP: images that look alike to the teacher shall look alike to the student."""

from typing import Any, Literal

from torch import Tensor

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.distill.term import TERMS, Step, Term
from facekd.heads.classifier import unit
from facekd.settings import NotNegative


@TERMS.register("sp")
class SP(Term):
    """Squared differences of the batch's Gram matrices, student against teacher.

    1/B^2 || G_t - G_s ||_F^2 (arXiv 1907.09682), with either
    rows: G = Z Z^T, each row then scaled to length 1, as the paper and its code do
    (HeadSharingKD, `Similarity`);
    embeddings: G_ij = cos(z_i, z_j), as EKD's code does for faces (TFace, `SimPerserving`).
    Rows are the default. The paper compares a network's last feature maps; here, as in EKD's code,
    it is the embeddings, which may have different widths. Relations are within a process's batch.

    Args:
        normalize: What is scaled to length 1, the "rows" of the Gram matrix or the "embeddings".
    """

    paper = "Similarity-preserving KD, arXiv 1907.09682; on face embeddings: EKD (CVPR 2022)"
    needs = frozenset({"teacher_embeddings"})

    def __init__(self, normalize: Literal["rows", "embeddings"] = "rows") -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, step: Step) -> Tensor:
        """The mean over all B^2 pairs: a scalar."""
        return (self._gram(step.embeddings) - self._gram(step.teacher)).square().mean()

    def _gram(self, embeddings: Tensor) -> Tensor:
        if self.normalize == "embeddings":
            embeddings = unit(embeddings)
            return embeddings @ embeddings.T
        return unit(embeddings @ embeddings.T)


@preset("sp", paper="arXiv 1907.09682")
def sp(
    classification: NotNegative = 1.0,
    beta: NotNegative = 3000.0,
    normalize: Literal["rows", "embeddings"] = "rows",
    **margin: Any,
) -> list[TermSpec]:
    """SP: classification x margin softmax + beta x difference of the batch's Gram matrices.

    beta 3000 is that of HeadSharingKD's CIFAR-100 script; for faces none is published.
    """
    return [
        term_spec("margin", classification, **margin),
        term_spec("sp", beta, normalize=normalize),
    ]
