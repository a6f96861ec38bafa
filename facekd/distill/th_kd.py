"""TH-KD: a preset of the terms `margin`, `kd` and `l2e`."""

from typing import Any, Literal

from facekd.distill.presets import TermSpec, preset, soft_settings, term_spec
from facekd.settings import Fraction, NotNegative, Positive


@preset("th_kd", paper="HeadSharingKD, arXiv 2201.06945")
def th_kd(
    a: Fraction = 0.5,
    alpha: NotNegative = 1.0,
    beta: NotNegative = 1.0,
    temperature: Positive = 4.0,
    reduction: Literal["mean", "sum"] = "mean",
    scale: Positive | None = None,
    **margin: Any,
) -> list[TermSpec]:
    """TH-KD: the teacher's frozen head is a second head of the student.

    L = CE' + alpha H' + beta D, with
    H'  = (1-a) KL(p_t || p_s) + a KL(p_t || p_s^TH), times T^2   (equation 1)
    CE' = (1-a) CE(p_s, y) + a CE(p_s^TH, y)                      (equation 2)
    and D the distance between normalised embeddings. The paper does not state a, alpha and beta
    for faces: the defaults are ours. Cross-entropies have the margin, KLs do not. The authors'
    CIFAR-100 code differs: it has no CE(p_s^TH, y), free weights, linear logits with bias and a D
    summed over the batch: `kdth`, `kde`, `kdeth`, `crdth`.

    Args:
        a: The share of the teacher's head, alpha_TH in the paper, in [0, 1]; 1 leaves the student
            no other head.
        alpha: Weight of H'; 0 leaves the KLs out.
        beta: Weight of D; 0 leaves it out.
        temperature: T of both KLs.
        reduction: D's, "mean" or "sum" over the batch.
        scale: What cosines are multiplied by, everywhere (default 64).
        **margin: Of both cross-entropies; `margin: softmax` takes linear logits everywhere.
    """
    soft = soft_settings(temperature, scale, margin)
    return [
        term_spec("margin", 1 - a, head="student", scale=scale, **margin),
        term_spec("margin", a, head="teacher", scale=scale, **margin),
        term_spec("kd", alpha * (1 - a), head="student", **soft),
        term_spec("kd", alpha * a, head="teacher", **soft),
        term_spec("l2e", beta, reduction=reduction),
    ]
