"""Both networks' embeddings of a batch, in one width."""

from torch import Tensor

from facekd.distill.term import Step
from facekd.errors import FacekdError


def same_width(term: str, step: Step) -> tuple[Tensor, Tensor]:
    """The student's embeddings, through the projector where there is one, and the teacher's.

    Args:
        term: Who asks, for the message.
        step: The batch.

    Returns:
        Two (B, d_t).

    Raises:
        FacekdError: The widths differ, and no projector stands between them.
    """
    student, teacher = step.projected, step.teacher
    if student.shape != teacher.shape:
        raise FacekdError(
            f"term {term!r}: the student's embeddings are {student.shape[1]} wide and the "
            f"teacher's {teacher.shape[1]}; put a projector between them."
        )
    return student, teacher
