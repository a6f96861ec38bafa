"""ReFO: a teacher that stays near a student's embeddings, and a student that follows it alone."""

from typing import Any

from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.settings import NotNegative


@preset("refo_teacher", paper='ReFO, "Rethinking Feature-based KD for FR", CVPR 2023, no arXiv')
def refo_teacher(
    classification: NotNegative = 1.0, beta: NotNegative = 1.0, **margin: Any
) -> list[TermSpec]:
    """ReFO's teacher: classification x margin softmax + beta x embedding distance to a proxy.

    L = CE + beta/B sum_i || z_t,i/|z_t,i| - z_p,i/|z_p,i| ||^2: reverse distillation. The stage's
    `teacher` is the proxy, a student trained by itself, and its network is the large one. The
    authors published no code; what we could read of the paper does not say how much the second
    part weighs: the 1 is ours. ReFO+ is the same with a proxy of half the student's depth
    (mobilefacenet's `blocks: [1, 2, 3, 1]`). The three stages stand in the recipe `refo`.
    """
    return [term_spec("margin", classification, **margin), term_spec("l2e", beta)]


@preset("refo", paper='ReFO, "Rethinking Feature-based KD for FR", CVPR 2023, no arXiv')
def refo() -> list[TermSpec]:
    """ReFO's student: the distance between normalised embeddings alone, no labels, no classifier.

    Its teacher is a stage trained with `refo_teacher`. All three networks should have one width:
    a projector between them would stay behind at the end, and the student's own embeddings would
    not be the teacher's.
    """
    return [term_spec("l2e", 1.0)]
