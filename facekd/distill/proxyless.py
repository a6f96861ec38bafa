"""ProxylessKD: presets of the term `margin` on the teacher's head."""

from typing import Any

from facekd.distill.margin import Cosine
from facekd.distill.presets import TermSpec, preset, term_spec
from facekd.settings import Angle, Positive


@preset("proxyless", paper="ProxylessKD, arXiv 2011.00265")
def proxyless(**margin: Any) -> list[TermSpec]:
    """ProxylessKD: the student learns under the teacher's frozen head alone."""
    return [term_spec("margin", 1.0, head="teacher", **margin)]


@preset("arcdistill", paper="ProxylessKD, arXiv 2011.00265; the name is of arXiv 2407.01332")
def arcdistill(
    m: Angle = 0.5, scale: Positive = 64.0, filter_above: Cosine | None = None
) -> list[TermSpec]:
    """ArcDistill: ProxylessKD with ArcFace's margin."""
    return proxyless(margin="arcface", m=m, scale=scale, filter_above=filter_above)


@preset("cosdistill", paper="ProxylessKD, arXiv 2011.00265; the name is of arXiv 2407.01332")
def cosdistill(
    m: Angle = 0.35, scale: Positive = 64.0, filter_above: Cosine | None = None
) -> list[TermSpec]:
    """CosDistill: ProxylessKD with CosFace's margin."""
    return proxyless(margin="cosface", m=m, scale=scale, filter_above=filter_above)
