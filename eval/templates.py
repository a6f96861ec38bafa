"""Faces to templates: media means, summed, at unit length."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..data_tools.ijb import TemplateFaces
from ..errors import FacekdError
from .embeddings import Embeddings


@dataclass(frozen=True)
class TemplateProtocol:
    """The three switches of insightface's IJB code.

    Attributes:
        norm: N. An embedding counts by its norm; off: every face counts alike.
        detector: D. An embedding is weighted by the detector's score.
        flip: F. The mirrored image's embedding is added.
    """

    norm: bool = True
    detector: bool = True
    flip: bool = True

    def words(self, flip_known: bool = True) -> str:
        """The switches as the field writes them, then in plain words.

        Args:
            flip_known: False for embeddings that do not say whether the mirrored image's is in.
        """
        norm = "embeddings with their norms" if self.norm else "embeddings at unit length"
        detector = "weighted by" if self.detector else "without"
        flip = ("added" if self.flip else "left out") if flip_known else "as saved"
        letter = f"F{self.flip:d}" if flip_known else "F?"
        return (
            f"N{self.norm:d} D{self.detector:d} {letter}: {norm}, {detector} the detector's "
            f"score, the mirrored image's {flip}"
        )


@dataclass(frozen=True)
class Pooled:
    """One embedding a template.

    Attributes:
        embeddings: float32 (t, d), unit rows; zero where `empty`.
        quality: float32 (t,), the mean norm of the template's found faces; 0 where `empty`.
        empty: bool (t,), True for a template none of whose faces was found.
    """

    embeddings: NDArray[np.float32]
    quality: NDArray[np.float32]
    empty: NDArray[np.bool_]


def pool(embeddings: Embeddings, faces: TemplateFaces, protocol: TemplateProtocol) -> Pooled:
    """Turn the embeddings of faces into one of each template.

    Of template T with media M, as insightface's `image2template_feature` has it:
    v_T = sum_M (1 / |M|) sum_{i in M} w_i e_i, then v_T / |v_T|, where e_i is the face's embedding
    (plus the mirrored one's, F) and w_i is 1, times the detector's score (D), over |e_i| (not N).
    Faces that were not found are left out, of |M| too. One block of embeddings is held at a time.

    Args:
        embeddings: Of the n faces, in their order.
        faces: Which template and medium each is of.
        protocol: The switches. Without both halves of an embedding F decides nothing.

    Raises:
        FacekdError: Another number of embeddings than faces, an embedding of a found face that is
            not finite or zero, or a template whose sum is zero.
    """
    if embeddings.count != len(faces):
        raise FacekdError(
            f"{embeddings.source} holds {embeddings.count} embeddings, the face list "
            f"{len(faces)} faces; give one embedding a line of the list, in its order."
        )
    shares = _media_shares(faces)
    if protocol.detector:
        shares *= faces.detector
    shares[~faces.found] = 0.0
    templates = len(faces.template_ids)
    sums = np.zeros((templates, embeddings.dim), np.float32)
    norm_sums = np.zeros(templates)
    for rows, block in embeddings.blocks(protocol.flip):
        norms = np.sqrt(np.einsum("nd,nd->n", block, block))
        weights = shares[rows] if protocol.norm else shares[rows] / np.where(norms, norms, 1)
        here, at = np.unique(faces.template[rows], return_inverse=True)
        entries = weights.astype(np.float32), (at, np.arange(len(at)))
        gather: Any = csr_array(entries, shape=(len(here), len(at)))
        sums[here] += gather @ block
        norm_sums[here] += np.bincount(at, norms * faces.found[rows], len(here))
    counts = np.bincount(faces.template, faces.found, templates)
    empty = counts == 0
    _to_unit(sums, empty, faces)
    quality = np.divide(norm_sums, counts, where=~empty, out=np.zeros(templates))
    return Pooled(sums, quality.astype(np.float32), empty)


def _media_shares(faces: TemplateFaces) -> NDArray[np.float64]:
    """One over the number of found faces of each face's template and medium; float64 (n,)."""
    media, medium = np.unique(faces.media, return_inverse=True)
    key = faces.template.astype(np.int64) * len(media) + medium
    _, group = np.unique(key, return_inverse=True)
    counts = np.bincount(group, faces.found)
    return 1 / np.maximum(counts, 1)[group]


def _to_unit(sums: NDArray[np.float32], empty: NDArray[np.bool_], faces: TemplateFaces) -> None:
    """Bring every row to unit length, in place; empty ones stay zero."""
    norms = np.sqrt(np.einsum("td,td->t", sums, sums))
    bad = np.flatnonzero(~(empty | (norms > 0)))
    if len(bad):
        raise FacekdError(
            f"the embeddings of template {faces.template_ids[bad[0]]} add up to zero ({len(bad)} "
            "such templates); look at the detector's scores in the face list."
        )
    sums /= np.where(empty, 1, norms)[:, None]
