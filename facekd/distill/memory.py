"""What contrastive terms remember of past batches: a queue of features, or a row for each image."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from facekd.heads.classifier import unit
from facekd.ranks import gather


class Queue(nn.Module):
    """The last K rows that entered, first in, first out; all processes' rows in each of them.

    Any batch may enter: of one that is longer than the queue the last K rows stay.

    Args:
        rows: (K, ...), what it holds at first, so that it always holds K.

    Attributes:
        rows: (K, ...), in no order that matters.
        oldest: () int64, the row that is replaced next.
    """

    rows: Tensor
    oldest: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows)
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Let a batch enter, this process's rows with those of all others, in place.

        Args:
            rows: (B, ...), on the queue's device; the same B in every process.
        """
        rows, length = gather(rows), len(self.rows)
        places = (self.oldest + torch.arange(len(rows), device=rows.device)) % length
        self.rows.index_copy_(0, places[-length:], rows[-length:])
        self.oldest.add_(len(rows)).remainder_(length)


def random_directions(count: int, width: int) -> Tensor:
    """Rows of length 1 spread evenly over the sphere by torch's generator, (count, width)."""
    return unit(torch.randn(count, width))


@dataclass(frozen=True)
class Company:
    """What a batch is compared with in a memory; nothing here has a gradient.

    Attributes:
        student_positive: (B, d), the student's features of the same images.
        teacher_positive: (B, d), the teacher's.
        student: The student's features of other images, (K, d) for all rows or (B, K, d).
        teacher: The teacher's of the same others.
        allowed: (B, K) bool; False where another is the image itself or of its identity.
    """

    student_positive: Tensor
    teacher_positive: Tensor
    student: Tensor
    teacher: Tensor
    allowed: Tensor


class Bank(nn.Module):
    """One row for each image of the stage, of either network: a moving average on the sphere.

    v_i <- unit(momentum v_i + (1 - momentum) v) each time image i is met. It begins with uniform
    random numbers in +-sqrt(3/d) (torch's generator). Of an image that stands in a batch twice the
    last row counts. Every process holds the bank and updates it with all processes' rows.

    Args:
        images: N, the stage's.
        width: d.
        momentum: The share of the old row.

    Attributes:
        student: (N, d).
        teacher: (N, d).
        labels: (N,) int64, of the images met so far; -1 where not met, or not known.
    """

    student: Tensor
    teacher: Tensor
    labels: Tensor

    def __init__(self, images: int, width: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        reach = math.sqrt(3 / width)
        self.register_buffer("student", torch.empty(images, width).uniform_(-reach, reach))
        self.register_buffer("teacher", torch.empty(images, width).uniform_(-reach, reach))
        self.register_buffer("labels", torch.full((images,), -1))

    def company(self, position: Tensor, labels: Tensor, drawn: Tensor) -> Company:
        """The rows that were drawn, and which of them are negatives.

        Args:
            position: (B,) int64, the batch's images.
            labels: (B,) int64; -1 where unknown.
            drawn: (K,) int64 for all, or (B, K): images drawn as negatives.
        """
        itself = drawn == position[:, None]
        allowed = ~itself & ~same_identity(labels, self.labels[drawn])
        return Company(
            self.student[position],
            self.teacher[position],
            self.student[drawn],
            self.teacher[drawn],
            allowed,
        )

    @torch.no_grad()
    def update(self, position: Tensor, labels: Tensor, student: Tensor, teacher: Tensor) -> None:
        """Move the rows of a batch's images towards its features.

        Args:
            position: (B,) int64.
            labels: (B,) int64.
            student: (B, d), of length 1.
            teacher: (B, d), of length 1.
        """
        position = gather(position)
        # Where an image stands twice, both write the same row: the last of them.
        same = position[:, None] == position
        last = (same * torch.arange(len(position), device=position.device)).amax(dim=1)
        self.labels.index_copy_(0, position, gather(labels)[last])
        for bank, rows in ((self.student, student), (self.teacher, teacher)):
            new = gather(rows)[last]
            moved = self.momentum * bank[position] + (1 - self.momentum) * new
            bank.index_copy_(0, position, unit(moved))


def same_identity(labels: Tensor, others: Tensor) -> Tensor:
    """Which of the others have a row's identity; an unknown one (-1) is nobody's.

    Args:
        labels: (B,) int64.
        others: (K,) for all rows, or (B, K) int64.

    Returns:
        (B, K) bool.
    """
    return (labels[:, None] == others) & (labels[:, None] >= 0)
