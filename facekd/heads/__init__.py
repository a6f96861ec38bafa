"""Classifiers over identities, and the margins their cosines are given."""

from facekd.heads.adaptive_margins import AdaFace, CurricularFace, MagFace
from facekd.heads.classifier import Classifier, load_head, save_head
from facekd.heads.margin_functions import arcface, combined, cosface, sphereface
from facekd.heads.margins import MARGINS, ArcFace, Combined, CosFace, CosineMargin, SphereFace
from facekd.heads.partial_fc import ShardedClassifier

__all__ = [
    "MARGINS",
    "AdaFace",
    "ArcFace",
    "Classifier",
    "Combined",
    "CosFace",
    "CosineMargin",
    "CurricularFace",
    "MagFace",
    "ShardedClassifier",
    "SphereFace",
    "arcface",
    "combined",
    "cosface",
    "load_head",
    "save_head",
    "sphereface",
]
