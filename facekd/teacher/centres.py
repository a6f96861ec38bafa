"""A classifier for a teacher that brings none: the class means of its embeddings."""

import numpy as np
import torch

from facekd.data.faces import FaceSet
from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier
from facekd.teacher.cache import EmbeddingCache


def class_centres(cache: EmbeddingCache, faces: FaceSet) -> Classifier:
    """Rebuild a head as normalised class means, mirror images included.

    w_c = m_c / |m_c| with m_c the mean of f / |f| over both views of all images of class c: under
    cosine logits, the classifier that the embeddings themselves imply (AdaDistill's premise,
    arXiv 2407.01332, section 3).

    Returns:
        A frozen head, weight float32 (num_classes, d).

    Raises:
        FacekdError: A class whose embeddings are all zero or cancel out.
    """
    sums = np.zeros((faces.num_classes, cache.embedding_dim), np.float64)
    for rows, embeddings in cache.blocks():
        norms = np.linalg.norm(embeddings, axis=2, keepdims=True)
        unit = (embeddings / np.maximum(norms, 1e-12)).sum(axis=1, dtype=np.float64)  # every look
        known = faces.labels[rows] >= 0
        np.add.at(sums, faces.labels[rows][known], unit[known])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    if (lengths < 1e-6).any():
        name = faces.label_map.names[int(lengths.argmin())]
        raise FacekdError(
            f"the teacher's embeddings of identity {name!r} add up to nothing, so it has no class "
            "mean; check the teacher's input_range, or leave that identity out."
        )
    return Classifier.from_weight(torch.from_numpy((sums / lengths).astype(np.float32)))
