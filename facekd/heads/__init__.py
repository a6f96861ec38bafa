"""Classifiers over identities, and the margins their cosines are given."""

from facekd.heads.classifier import Classifier, load_head, save_head
from facekd.heads.margins import MARGINS, arcface, combined, cosface

__all__ = ["MARGINS", "Classifier", "arcface", "combined", "cosface", "load_head", "save_head"]
