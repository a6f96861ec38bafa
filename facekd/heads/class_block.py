"""The classes that a matrix of logits has columns for: all, or those of this process's block."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from facekd.ranks import gather, largest, mean, rank, rows_of_all, total


@dataclass(frozen=True)
class Classes:
    """All classes lie side by side: what a term over classes does is done within the matrix.

    Attributes:
        column: (N,) int64, where each row's class stands; -1 where no column here is its own.
    """

    column: Tensor

    @property
    def labelled(self) -> Tensor:
        """Rows whose class is known, (N,) bool."""
        return self.column >= 0

    def rows(self, rows: Tensor) -> Tensor:
        """The rows that the matrix has, (N, ...), from this process's own, with gradient."""
        return rows

    def total(self, value: Tensor) -> Tensor:
        """The sum over all blocks of classes of what was summed over one, with gradient."""
        return value

    def count(self, logits: Tensor) -> Tensor:
        """How many classes all blocks have together, a scalar of the logits' dtype."""
        return logits.new_tensor(logits.shape[1])

    def lengths(self, matrix: Tensor) -> Tensor:
        """Each row's Euclidean length over all classes, (N,); a zero row has no gradient."""
        lengths: Tensor = torch.linalg.vector_norm(matrix, dim=1)
        return lengths

    def means(self, matrix: Tensor) -> Tensor:
        """Each class's mean over all processes' rows, of all blocks: (C,), no gradient."""
        return mean(matrix.mean(dim=0))

    def largest(self, matrix: Tensor, count: int) -> Tensor:
        """Which columns are among the `count` largest of their row over all blocks, (N, S) bool.

        So many in every row; which of equal ones is left open. No gradient.
        """
        columns = matrix.topk(count, dim=1).indices
        return torch.zeros_like(matrix, dtype=torch.bool).scatter_(1, columns, True)

    def logsumexp(self, logits: Tensor) -> Tensor:
        """The logarithm of sum_j exp(l_ij) over all classes, (N,); -inf leaves a class out."""
        return logits.logsumexp(dim=1)

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Logarithms of the softmax over all classes, in this block's columns: (N, S)."""
        return F.log_softmax(logits, dim=1)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Cross-entropy over all classes, summed over the labelled rows: a scalar."""
        return F.cross_entropy(logits, self.column, ignore_index=-1, reduction="sum")


@dataclass(frozen=True)
class ClassBlock(Classes):
    """Every process holds other classes, and its matrix has the rows of all processes' batches.

    The sums over classes then cross the processes: softmax_ij = exp(l_ij - m_i) / sum_j exp(l_ij -
    m_i), m_i and the sum being taken over all blocks. Gradients are exact for the average of the
    processes' losses (`facekd.ranks.total`).

    Attributes:
        labels: (N,) int64, the rows' classes among all; -1 where unknown. Equal in all processes.
        drawn: (S,) int64, which of this process's classes take part, rising; None: all of them.
    """

    labels: Tensor
    drawn: Tensor | None = None

    @property
    def labelled(self) -> Tensor:
        """See `Classes`: in any block."""
        return self.labels >= 0

    def rows(self, rows: Tensor) -> Tensor:
        """See `Classes`: those of all processes."""
        return rows_of_all(rows)

    def total(self, value: Tensor) -> Tensor:
        """See `Classes`."""
        return total(value)

    def count(self, logits: Tensor) -> Tensor:
        """See `Classes`."""
        return total(super().count(logits))

    def lengths(self, matrix: Tensor) -> Tensor:
        """See `Classes`."""
        parts = rows_of_all(super().lengths(matrix).unsqueeze(0))
        lengths: Tensor = torch.linalg.vector_norm(parts, dim=0)
        return lengths

    def means(self, matrix: Tensor) -> Tensor:
        """See `Classes`; all processes have the same rows."""
        return gather(matrix.mean(dim=0))

    def largest(self, matrix: Tensor, count: int) -> Tensor:
        """See `Classes`."""
        own = matrix.detach().topk(min(count, matrix.shape[1]), dim=1)
        values = gather(own.values.T).T
        places = torch.arange(own.values.shape[1], device=matrix.device)
        owners = gather(torch.full_like(places, rank()))
        kept = values.sort(dim=1, descending=True, stable=True).indices[:, :count]
        mine = (owners[kept] == rank()).sum(dim=1, keepdim=True)  # the first so many of its own
        inside = torch.zeros_like(matrix, dtype=torch.bool)
        return inside.scatter_(1, own.indices, places < mine)

    def logsumexp(self, logits: Tensor) -> Tensor:
        """See `Classes`."""
        top = largest(logits.amax(dim=1))
        return total((logits - top.unsqueeze(1)).exp().sum(dim=1)).log() + top

    def log_softmax(self, logits: Tensor) -> Tensor:
        """See `Classes`."""
        return logits - self.logsumexp(logits).unsqueeze(1)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """See `Classes`; the same in every process."""
        own = logits.gather(1, self.column.clamp_min(0).unsqueeze(1)).squeeze(1)
        target = total(own * (self.column >= 0))
        return ((self.logsumexp(logits) - target) * self.labelled).sum()
