"""What a head is made of, wherever its classes are: one weight row a class, perhaps a bias."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facekd.errors import FacekdError


class WeightRows(nn.Module):
    """The base of `Classifier` and `ShardedClassifier`.

    Attributes:
        weight: (rows, d).
        bias: One number a row, or None.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    @property
    def embedding_dim(self) -> int:
        """Width d of the embeddings it reads."""
        return self.weight.shape[1]

    @property
    def frozen(self) -> bool:
        """Whether it never learns."""
        return not self.weight.requires_grad

    def freeze(self) -> Self:
        """Keep weight and bias as they are: no gradient, so no optimizer and no weight decay."""
        self.requires_grad_(False)
        return self

    def check_width(self, embeddings: Tensor) -> None:
        """Make sure that embeddings (B, d) fit.

        Raises:
            FacekdError: They have another width.
        """
        if embeddings.shape[1] != self.embedding_dim:
            raise FacekdError(
                f"a head for {self.embedding_dim}-wide embeddings was given "
                f"{embeddings.shape[1]}-wide ones; build the network with "
                f"embedding_dim {self.embedding_dim}, or put a projector between them."
            )


def linear_logits(embeddings: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Logits z W^T + b, (B, n), in float32 (float64 when both sides are) under any autocast."""
    with torch.autocast(embeddings.device.type, enabled=False):
        wide = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        return F.linear(wide, weight, bias)
