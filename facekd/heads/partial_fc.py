"""A classifier whose classes are spread over the processes that train together."""

from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from facekd.errors import FacekdError
from facekd.heads.class_block import ClassBlock
from facekd.heads.classifier import Classifier, cosines_with
from facekd.heads.drawn_rows import drawn_rows
from facekd.heads.weight_rows import WeightRows, linear_logits
from facekd.ranks import gather, rank, total, world

_DRAWN_AT_ONCE = 1 << 14  # rows


def class_range(num_classes: int, place: int, ranks: int) -> range:
    """The classes of one rank: equal shares in order, the first ones larger by one where need be.

    Raises:
        FacekdError: There are fewer classes than ranks.
    """
    if num_classes < ranks:
        raise FacekdError(
            f"partial_fc spreads the classes over the processes, and {num_classes} identities are "
            f"too few for {ranks} processes; leave partial_fc out."
        )
    share, more = divmod(num_classes, ranks)
    start = place * share + min(place, more)
    return range(start, start + share + (place < more))


class ShardedClassifier(WeightRows):
    """Partial FC: this process's classes of a head, of which each step may see a part.

    Every process holds its own classes' rows and computes their cosines for all processes' images;
    the softmax over all classes is `ClassBlock`'s. With a sample rate r < 1 each training step sees
    the classes of its images, and others drawn evenly by torch's generator up to floor(r C_own), or
    at least one (An et al., Partial FC, arXiv 2010.05222, section 3.3 and 2203.15565, section 3):
    the softmax is over these alone, and only their rows get a gradient. With more classes of images
    than that, all of them and no others. In evaluation mode every class is seen.

    The processes' losses are averaged, as DistributedDataParallel does; it must leave this head
    alone, whose gradient is already that of the average.

    Args:
        num_classes: C, of the whole head.
        embedding_dim: Width d.
        bias: Whether linear logits have a bias.
        sample_rate: r, in (0, 1].

    Attributes:
        rows: This process's classes.
        weight: (len(rows), d). Together they are the numbers that `Classifier` would draw.
        bias: (len(rows),) or None.

    Raises:
        FacekdError: Fewer classes than processes.
    """

    def __init__(
        self, num_classes: int, embedding_dim: int, bias: bool = False, sample_rate: float = 1.0
    ) -> None:
        super().__init__()
        self.num_classes, self.sample_rate = num_classes, sample_rate
        self.rows = class_range(num_classes, rank(), world())
        self.weight = nn.Parameter(_drawn_weight(num_classes, embedding_dim, self.rows))
        self.bias = nn.Parameter(torch.zeros(len(self.rows))) if bias else None

    @classmethod
    def part_of(cls, head: Classifier, sample_rate: float = 1.0) -> Self:
        """This process's classes of a whole head, copied; frozen if it is.

        Raises:
            FacekdError: Several centres a class, or fewer classes than processes.
        """
        if head.centres > 1:
            raise FacekdError(
                f"partial_fc is for one centre a class, and this head has {head.centres}; leave "
                "partial_fc or the centres out."
            )
        own = cls.__new__(cls)
        nn.Module.__init__(own)
        own.num_classes, own.sample_rate = head.num_classes, sample_rate
        own.rows = class_range(head.num_classes, rank(), world())
        part = slice(own.rows.start, own.rows.stop)
        own.weight = nn.Parameter(head.weight.detach()[part].clone())
        own.bias = None if head.bias is None else nn.Parameter(head.bias.detach()[part].clone())
        return own.freeze() if head.frozen else own

    def choose(self, labels: Tensor) -> ClassBlock:
        """The classes that take part in a step; the two heads of a step share them.

        Args:
            labels: (B,) int64, this process's; -1 where unknown.
        """
        labels = gather(labels)
        own = labels - self.rows.start
        here = (labels >= self.rows.start) & (labels < self.rows.stop)
        if self.sample_rate == 1.0 or not self.training:
            return ClassBlock(torch.where(here, own, -1), labels)
        drawn = self._draw(torch.unique(own[here]))
        place = torch.searchsorted(drawn, own.clamp(0, len(self.rows) - 1))
        return ClassBlock(torch.where(here, place, -1), labels, drawn)

    def cosines(self, embeddings: Tensor, classes: ClassBlock) -> Tensor:
        """Cosines under this process's classes that take part; otherwise as `Classifier.cosines`.

        Args:
            embeddings: (N, d) floating point, of all processes (`ClassBlock.rows`).
            classes: What `choose` gave.

        Returns:
            (N, S) float32 or float64.
        """
        self.check_width(embeddings)
        return cosines_with(embeddings, self._part(self.weight, classes))

    def logits(self, embeddings: Tensor, classes: ClassBlock) -> Tensor:
        """Linear logits z W^T + b of the same classes, (N, S); otherwise as `cosines`."""
        self.check_width(embeddings)
        bias = None if self.bias is None else self._part(self.bias, classes)
        return linear_logits(embeddings, self._part(self.weight, classes), bias)

    def class_vectors(self, classes: ClassBlock) -> Tensor:
        """The weight rows of all processes' images' own classes, not normalised.

        Args:
            classes: What `choose` gave.

        Returns:
            (N, d), with gradient, equal in all processes; zeros where the class is unknown.
        """
        own = self._part(self.weight, classes)[classes.column.clamp_min(0)]
        return total(own * (classes.column >= 0).unsqueeze(1))

    def _part(self, parameter: Tensor, classes: ClassBlock) -> Tensor:
        return drawn_rows(parameter, classes.drawn, 1.0 / world())

    def _draw(self, positive: Tensor) -> Tensor:
        wanted = max(1, int(self.sample_rate * len(self.rows)))
        if len(positive) >= wanted:
            return positive
        numbers = torch.rand(len(self.rows), device=self.weight.device)
        numbers[positive] = 2.0
        return numbers.topk(wanted).indices.sort().values


def _drawn_weight(num_classes: int, width: int, rows: range) -> Tensor:
    """Rows of the matrix that `Classifier` draws, without holding the whole of it.

    The generator ends where it would after all rows, so that processes stay in step. torch draws
    sixteen numbers at a time: pieces are whole multiples of that, but for the last.
    """
    own = torch.empty(len(rows), width)
    starts = [*range(0, max(1, num_classes - _DRAWN_AT_ONCE), _DRAWN_AT_ONCE), num_classes]
    for start, end in pairwise(starts):
        piece = torch.empty(end - start, width).normal_(0.0, 0.01)
        first, last = max(start, rows.start), min(end, rows.stop)
        if first < last:
            own[first - rows.start : last - rows.start] = piece[first - start : last - start]
    return own
