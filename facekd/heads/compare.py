"""How alike two classifiers of the same classes are."""

import torch

from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier, unit


def compare_heads(one: Classifier, other: Classifier) -> dict[str, float]:
    """Cosines between the class vectors of two heads, and how far their biases are apart.

    What HeadSharingKD's `compare_heads.py` tells of the student's and the teacher's head (arXiv
    2201.06945): a student that is taught by the teacher's head comes to have a like one.

    Args:
        one: A head with one centre a class.
        other: Another of the same classes and width.

    Returns:
        cosine_mean, cosine_mean_abs, cosine_std (n below), cosine_max_abs over classes; where both
        have biases also bias_l2, the length of their difference, bias_mean_abs, its components'
        mean size, and bias_cosine.

    Raises:
        FacekdError: Other shapes.
    """
    shapes = [tuple(head.weight.shape) for head in (one, other)]
    if shapes[0] != shapes[1] or one.centres + other.centres > 2:
        raise FacekdError(f"heads of shapes {shapes[0]} and {shapes[1]} cannot be compared.")
    with torch.no_grad():
        a, b = (head.weight.detach().double().cpu() for head in (one, other))
        cosines = (unit(a) * unit(b)).sum(dim=1)
        found = {
            "cosine_mean": cosines.mean(),
            "cosine_mean_abs": cosines.abs().mean(),
            "cosine_std": cosines.std(correction=0),
            "cosine_max_abs": cosines.abs().max(),
        }
        if one.bias is not None and other.bias is not None:
            u, v = (h.detach().double().cpu() for h in (one.bias, other.bias))
            found["bias_l2"] = torch.linalg.vector_norm(u - v)
            found["bias_mean_abs"] = (u - v).abs().mean()
            found["bias_cosine"] = (unit(u[None]) * unit(v[None])).sum()
    return {name: round(float(value), 6) for name, value in found.items()}
