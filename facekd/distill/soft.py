"""What the terms share that compare both networks' softened class probabilities."""

from torch import Tensor

from facekd.distill.term import Form, Need, Side, Step, Term
from facekd.errors import FacekdError
from facekd.settings import Positive


class SoftTerm(Term):
    """A term on softmax(l(z; W)/T) of the student and of the teacher.

    The teacher's embeddings are read by the teacher's head; the student's by its own, or by the
    teacher's (through the projector where the widths differ). Logits are margin-free scaled
    cosines, or linear ones z W^T + b. With partial_fc both softmaxes are over the step's classes.

    Args:
        head: Whose classifier reads the student's embeddings.
        temperature: T. Scaled cosines are large: 4 still leaves a peaked teacher.
        scale: What cosines are multiplied by (default 64).
        logits: "cosine" or "linear" (with bias, and without scale).

    Raises:
        FacekdError: A scale is given with linear logits.
    """

    by_blocks = True

    def __init__(
        self,
        head: Side = "student",
        temperature: Positive = 4.0,
        scale: Positive | None = None,
        logits: Form = "cosine",
    ) -> None:
        super().__init__()
        if logits == "linear" and scale is not None:
            raise FacekdError(
                f"term {self._name()!r}: linear logits have no setting 'scale'; remove it."
            )
        self.head: Side = head
        self.temperature = temperature
        self.scale = 64.0 if scale is None else scale
        self.linear = logits == "linear"
        needs: set[Need] = {"teacher_embeddings", "teacher_head"}
        needs |= {"student_head"} if head == "student" else {"projector"}
        self.needs = frozenset(needs)

    def log_probabilities(self, step: Step) -> tuple[Tensor, Tensor]:
        """The student's and the teacher's log-probabilities, each (B, C), or (N, S) by blocks.

        Raises:
            FacekdError: The heads have different numbers of classes, or do not fit the embeddings.
        """
        student = self._soften(step, "student", self.head)
        teacher = self._soften(step, "teacher", "teacher")
        if student.shape != teacher.shape:
            raise FacekdError(
                f"term {self._name()!r}: the student's head has {student.shape[1]} classes and "
                f"the teacher's {teacher.shape[1]}; both need the same label map."
            )
        return student, teacher

    def _soften(self, step: Step, embeddings: Side, head: Side) -> Tensor:
        def make() -> Tensor:
            if self.linear:
                logits = step.logits(embeddings, head)
            else:
                logits = self.scale * step.cosines(embeddings, head)
            return step.classes(head).log_softmax(logits / self.temperature)

        key = ("softened", embeddings, head, self.linear, self.scale, self.temperature)
        return step.once(key, make)

    def _name(self) -> str:
        return type(self).__name__.lower()
