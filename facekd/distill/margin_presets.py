"""Presets of margin softmax alone, without any other term."""

from facekd.distill.margin import Cosine
from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.heads.margins import AtLeastOne
from facekd.settings import Angle, Fraction, NotNegative, Positive


@preset("arcface", paper="arXiv 1801.07698")
def arcface(
    m: Angle = 0.5,
    scale: Positive = 64.0,
    straight_through: bool = False,
    filter_above: Cosine | None = None,
) -> list[TermSpec]:
    """ArcFace on the student's own head: no teacher."""
    shape = {"m": m, "scale": scale, "straight_through": straight_through}
    return _alone("arcface", filter_above=filter_above, **shape)


@preset("cosface", paper="arXiv 1801.09414")
def cosface(
    m: Angle = 0.35, scale: Positive = 64.0, filter_above: Cosine | None = None
) -> list[TermSpec]:
    """CosFace on the student's own head: no teacher."""
    return _alone("cosface", m=m, scale=scale, filter_above=filter_above)


@preset("combined", paper="arXiv 1801.07698")
def combined(
    m1: Positive = 1.0,
    m2: Angle = 0.3,
    m3: NotNegative = 0.2,
    scale: Positive = 64.0,
    straight_through: bool = False,
    filter_above: Cosine | None = None,
) -> list[TermSpec]:
    """The combined margin, cos(m1 t + m2) - m3, on the student's own head: no teacher.

    The defaults are those of insightface's `combined` configuration.
    """
    shape = {"m1": m1, "m2": m2, "m3": m3, "scale": scale, "straight_through": straight_through}
    return _alone("combined", filter_above=filter_above, **shape)


@preset("sphereface", paper="arXiv 1704.08063")
def sphereface(
    m: AtLeastOne = 1.7,
    scale: Positive = 30.0,
    straight_through: bool = True,
    filter_above: Cosine | None = None,
) -> list[TermSpec]:
    """SphereFace on the student's own head, as its authors' later library has it: no teacher."""
    shape = {"m": m, "scale": scale, "straight_through": straight_through}
    return _alone("sphereface", filter_above=filter_above, **shape)


@preset("adaface", paper="arXiv 2204.00964")
def adaface(
    m: Angle = 0.4,
    h: Positive = 0.333,
    t_alpha: Fraction = 0.01,
    scale: Positive = 64.0,
    straight_through: bool = False,
    filter_above: Cosine | None = None,
) -> list[TermSpec]:
    """AdaFace on the student's own head, its margin led by the embeddings' length: no teacher."""
    shape = {"m": m, "h": h, "t_alpha": t_alpha, "scale": scale}
    return _alone("adaface", straight_through=straight_through, filter_above=filter_above, **shape)


@preset("magface", paper="arXiv 2103.06627")
def magface(
    l_a: Positive = 10.0,
    u_a: Positive = 110.0,
    l_m: Angle = 0.45,
    u_m: Angle = 0.8,
    lambda_g: NotNegative = 35.0,
    easy_margin: bool = True,
    scale: Positive = 64.0,
    filter_above: Cosine | None = None,
) -> list[TermSpec]:
    """MagFace on the student's own head: good images get long embeddings; no teacher."""
    shape = {"l_a": l_a, "u_a": u_a, "l_m": l_m, "u_m": u_m, "lambda_g": lambda_g}
    return _alone(
        "magface", easy_margin=easy_margin, scale=scale, filter_above=filter_above, **shape
    )


@preset("curricularface", paper="arXiv 2004.00288")
def curricularface(
    m: Angle = 0.5,
    alpha: Fraction = 0.01,
    scale: Positive = 64.0,
    filter_above: Cosine | None = None,
) -> list[TermSpec]:
    """CurricularFace on the student's own head, which stresses hard classes later: no teacher."""
    return _alone("curricularface", m=m, alpha=alpha, scale=scale, filter_above=filter_above)


@preset("subcenter_arcface", paper="Deng et al., Sub-center ArcFace, ECCV 2020 (not on arXiv)")
def subcenter_arcface(
    m: Angle = 0.5,
    scale: Positive = 64.0,
    straight_through: bool = False,
    filter_above: Cosine | None = None,
) -> list[TermSpec]:
    """Sub-centre ArcFace, for data with wrong labels: the stage says head: {centres: 3}.

    When the stage is done it lists the images far from their class in `<stage>.far.csv`; the second
    step trains plain ArcFace with `data: {exclude: that file}`.
    """
    shape = {"m": m, "scale": scale, "straight_through": straight_through}
    return _alone("arcface", sub_centres=True, filter_above=filter_above, **shape)


@preset("softmax", paper="none: the textbook's softmax")
def softmax() -> list[TermSpec]:
    """Plain softmax on linear logits with bias: no teacher, no margin."""
    return _alone("softmax")


def _alone(margin: str, **settings: object) -> list[TermSpec]:
    return [term_spec("margin", 1.0, margin=margin, **settings)]
