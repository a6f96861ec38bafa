"""The losses of HeadSharingKD's CIFAR-100 code: presets of the terms `margin`, `kd` and `l2e`.

There each is gamma CE + alpha KL + beta D (`helper/loops.py` of commit 8e2738b), with the weights
free of each other and no cross-entropy on the teacher's head, which the paper's equation 2 has;
`th_kd` is the paper's. `crdth` stands beside CRD. With `task: classification` logits are linear, as
in their code; elsewhere they need `margin: softmax` for that.
"""

from typing import Any

from facekd.distill.presets import TermSpec, preset, soft_settings, term_spec
from facekd.settings import NotNegative, Positive


@preset("kdth", paper="HeadSharingKD, arXiv 2201.06945")
def kdth(
    classification: NotNegative = 1.0,
    alpha: NotNegative = 1.5,
    beta: NotNegative = 0.02,
    temperature: Positive = 4.0,
    scale: Positive | None = None,
    **margin: Any,
) -> list[TermSpec]:
    """TH-KD by its authors' code: margin softmax + alpha x KL, and beta x KL on the teacher's head.

    The weights are those of their command for CIFAR-100 (gamma 1, alpha 1.5, beta 0.02).
    """
    soft = soft_settings(temperature, scale, margin)
    return [
        term_spec("margin", classification, scale=scale, **margin),
        term_spec("kd", alpha, **soft),
        term_spec("kd", beta, head="teacher", **soft),
    ]


@preset("kde", paper="HeadSharingKD, arXiv 2201.06945")
def kde(
    classification: NotNegative = 1.0,
    alpha: NotNegative = 0.0,
    beta: NotNegative = 0.02,
    temperature: Positive = 4.0,
    scale: Positive | None = None,
    **margin: Any,
) -> list[TermSpec]:
    """L2E by HeadSharingKD's code: the distance is summed over the batch.

    They publish no weights of it; these are ours.
    """
    return [
        term_spec("margin", classification, scale=scale, **margin),
        term_spec("kd", alpha, **soft_settings(temperature, scale, margin)),
        term_spec("l2e", beta, reduction="sum"),
    ]


@preset("kdeth", paper="HeadSharingKD, arXiv 2201.06945")
def kdeth(
    classification: NotNegative = 1.0,
    alpha: NotNegative = 0.0,
    beta: NotNegative = 0.02,
    delta: NotNegative = 0.02,
    temperature: Positive = 4.0,
    scale: Positive | None = None,
    **margin: Any,
) -> list[TermSpec]:
    """L2E with TH-KD by its authors' code: `kde` + delta x KL on the teacher's head.

    Their code divides delta by beta and multiplies by beta again, so delta counts whole. They
    publish no weights of it; these are ours.
    """
    soft = soft_settings(temperature, scale, margin)
    return [
        *kde(classification, alpha, beta, temperature, scale, **margin),
        term_spec("kd", delta, head="teacher", **soft),
    ]
