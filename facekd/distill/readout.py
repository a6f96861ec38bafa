"""How the classifiers that a loss trains are read where classes are to be named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor, nn

from facekd.data.image_batches import image_batches
from facekd.data_tools.pairs import Images
from facekd.distill.objective import Objective, Projector
from facekd.distill.term import BuiltTerm, Side, Term
from facekd.embedder import Embedder
from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier

_BATCH = 256


@dataclass(frozen=True)
class Readout:
    """Class probabilities from the student's head, the teacher's, or both mixed.

    p = (1 - a) softmax(l(z; W_s)) + a softmax(l(z; W_t)): inference by both heads in TH-KD (arXiv
    2201.06945). Logits are what the loss has them: linear ones with bias, or cosines by its scale,
    without margin or temperature. Where there is only one head, it is read alone.

    Attributes:
        student: The student's classifier, or None.
        teacher: The teacher's, which reads the student's embeddings; or None.
        projector: Student width -> the teacher's head's; None where they agree.
        scales: What each side's cosines are multiplied by; None: its logits are linear.
        share: a, in [0, 1].
    """

    student: Classifier | None
    teacher: Classifier | None
    projector: nn.Module | None = None
    scales: Mapping[Side, float | None] = field(default_factory=dict)
    share: float = 0.0

    @classmethod
    def of(cls, objective: Objective, terms: Sequence[BuiltTerm], share: float) -> Self:
        """Of a stage that trains, or has trained."""
        heads = objective.student_head, objective.teacher_head
        student, teacher = (h if isinstance(h, Classifier) else None for h in heads)
        return cls(student, teacher, objective.projector, scales_of(terms), share)

    def probabilities(self, embeddings: Tensor) -> Tensor:
        """Probabilities of the classes, float32 (n, C), of embeddings (n, d).

        Raises:
            FacekdError: A head that is asked for is missing, or the widths do not fit.
        """
        share = self.share if self.student is not None else 1.0
        found = torch.zeros(())
        if share < 1:
            found = (1 - share) * self._softmax("student", self.student, embeddings)
        if share > 0:
            projected = embeddings if self.projector is None else self.projector(embeddings)
            found = found + share * self._softmax("teacher", self.teacher, projected)
        return found

    def _softmax(self, side: Side, head: Classifier | None, embeddings: Tensor) -> Tensor:
        if head is None:
            raise FacekdError(f"there is no {side} head to name classes by.")
        scale = self.scales.get(side)
        logits = head.logits(embeddings) if scale is None else scale * head.cosines(embeddings)
        return logits.softmax(dim=1)


def scales_of(terms: Sequence[BuiltTerm]) -> dict[Side, float | None]:
    """What a loss multiplies each head's cosines by; None: linear logits."""
    found: dict[Side, float | None] = {}
    for _, _, term in terms:
        scale = None if term.linear else float(getattr(term, "scale", 1.0))
        for side in _read_by(term):
            found.setdefault(side, scale)
    return found


def _read_by(term: Term) -> list[Side]:
    heads: tuple[Side, ...] = ("student", "teacher")
    return [side for side in heads if f"{side}_head" in term.needs]


def through_projector(head: Classifier, projector: nn.Module | None) -> Classifier | None:
    """A head behind a projector as one head of the student's width.

    Linear and batch norm, as evaluation has them, and linear logits are one linear map together:
    W (g (P z - m) / s + h) + b.

    Args:
        head: Reads what the projector gives.
        projector: As `facekd.distill.objective.Projector`; None: nothing lies between.

    Returns:
        The head; None where cosines are read through a projector, which no head can do.
    """
    if projector is None:
        return head
    if not isinstance(projector, Projector) or head.bias is None:
        return None
    linear, norm = projector[0], projector[1]
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    with torch.no_grad():
        factor = norm.weight / (variance + norm.eps).sqrt()
        shift = norm.bias - mean * factor
        weight = head.weight @ (factor[:, None] * linear.weight)
        return Classifier.from_weight(weight, head.bias + head.weight @ shift)


def name_classes(
    model: Embedder, readout: Readout, images: Images, workers: int | None = None
) -> Tensor:
    """The probabilities of the classes of images, float32 (n, C) on the CPU.

    Args:
        model: Gives the embeddings, in evaluation mode.
        readout: Reads them.
        images: uint8 RGB, of the network's input size.
        workers: Loader processes; None: as `image_batches`.

    Raises:
        FacekdError: An image does not decode, or a head is missing.
    """
    head = readout.student or readout.teacher
    device = "cpu" if head is None else head.weight.device
    if readout.projector is not None:
        readout.projector.eval()
    rows, size = range(len(images)), model.preprocess.input_size
    found = []
    with (
        torch.no_grad(),
        image_batches(images, size, rows, batch_size=_BATCH, workers=workers) as batches,
    ):
        for pixels in batches:
            embeddings = torch.from_numpy(model.embed(pixels)).to(device)
            found.append(readout.probabilities(embeddings).cpu())
    return torch.cat(found)
