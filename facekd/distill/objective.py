"""A stage's loss: the weighted sum of its terms, always in float32."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from facekd.distill.term import BuiltTerm, Head, Need, Step, refuse_whole_heads
from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier
from facekd.heads.partial_fc import ShardedClassifier

_REMEDIES = {
    "student_head": "give the student a head (training data with labels)",
    "teacher_head": "name a head file, a stage with a head, or class means as the teacher's head",
}


class Projector(nn.Sequential):
    """Student embeddings into the teacher's width: linear without bias, then batch norm.

    Used by the terms that compare with the teacher only, in the manner of SimKD
    (arXiv 2203.14001); the student's own embedding stays what is exported.

    Args:
        student_dim: Width d_s of the student's embeddings.
        teacher_dim: Width d_t of the teacher's.
    """

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__(
            nn.Linear(student_dim, teacher_dim, bias=False), nn.BatchNorm1d(teacher_dim)
        )


class Objective(nn.Module):
    """L = sum_k weight_k term_k, computed in float32 under any autocast.

    The teacher's head is frozen here: it gets no gradient and so no place in an optimizer that
    takes the parameters which require one.

    Args:
        terms: (name, weight, term), as `build_terms` gives them.
        student_head: The student's classifier, learning or frozen; None when no term reads it.
        teacher_head: The teacher's classifier; None when no term reads it. Where classes are spread
            over the processes they are so in both heads.
        projector: Student width -> teacher width; None where the widths agree.

    Raises:
        FacekdError: A term needs a head that is not there, or heads and projector do not fit.
    """

    def __init__(
        self,
        terms: list[BuiltTerm],
        student_head: Head | None = None,
        teacher_head: Head | None = None,
        projector: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.terms = nn.ModuleDict({name: term for name, _, term in terms})
        self.weights = {name: weight for name, weight, _ in terms}
        self.needs: frozenset[Need] = frozenset().union(*(term.needs for _, _, term in terms))
        self.maps: frozenset[int] = frozenset().union(*(term.maps for _, _, term in terms))
        self.student_head = student_head
        self.teacher_head = None if teacher_head is None else teacher_head.freeze()
        self.projector = projector
        self._check(terms)

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        position: Tensor,
        teacher_embeddings: Tensor | None = None,
        *,
        student_maps: Mapping[int, Tensor] | None = None,
        teacher_maps: Mapping[int, Tensor] | None = None,
        epoch: float = 0.0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch.

        Args:
            embeddings: (B, d_s) floating point, the student's, not normalised.
            labels: (B,) int64; -1 where the identity is unknown.
            position: (B,) int64, where each image stands in the stage's data.
            teacher_embeddings: (B, d_t) floating point, or None.
            student_maps: Stage -> (B, c, h, w) floating point, for terms that read feature maps.
            teacher_maps: The same of the teacher.
            epoch: Epochs done before this step, for terms that change with time.

        Returns:
            The total, a scalar with gradient; and each term's value before its weight, detached.

        Raises:
            FacekdError: Teacher embeddings are needed and not given, or widths do not fit.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            step = Step(
                embeddings=_wide(embeddings),
                labels=labels,
                position=position,
                teacher_embeddings=(
                    None if teacher_embeddings is None else _wide(teacher_embeddings.detach())
                ),
                student_head=self.student_head,
                teacher_head=self.teacher_head,
                projector=self.projector,
                student_maps={k: _wide(v) for k, v in (student_maps or {}).items()},
                teacher_maps={k: _wide(v.detach()) for k, v in (teacher_maps or {}).items()},
                epoch=epoch,
            )
            values = {name: term(step) for name, term in self.terms.items()}
            total = sum(
                (self.weights[name] * value for name, value in values.items()),
                start=embeddings.new_zeros((), dtype=step.embeddings.dtype),
            )
        return total, {name: value.detach() for name, value in values.items()}

    def _check(self, terms: list[BuiltTerm]) -> None:
        student, teacher = self.student_head, self.teacher_head
        for name, _, term in terms:
            for need, remedy in _REMEDIES.items():
                if need in set(term.needs) and getattr(self, need) is None:
                    raise FacekdError(
                        f"term {name!r} needs the {need.replace('_', ' ')}, "
                        f"and this stage has none; {remedy}."
                    )
        if isinstance(student, ShardedClassifier) or isinstance(teacher, ShardedClassifier):
            if isinstance(student, Classifier) or isinstance(teacher, Classifier):
                raise FacekdError(
                    "one head's classes are spread over the processes, and the "
                    "other's are not; spread both."
                )
            refuse_whole_heads(terms)
        if student is None or teacher is None:
            return
        if student.num_classes != teacher.num_classes:
            raise FacekdError(
                f"the student's head has {student.num_classes} classes and the teacher's "
                f"{teacher.num_classes}; both must belong to the same label map."
            )
        same_width = student.embedding_dim == teacher.embedding_dim
        if "projector" in self.needs and self.projector is None and not same_width:
            raise FacekdError(
                f"the student's embeddings are {student.embedding_dim} wide and the teacher's head "
                f"reads {teacher.embedding_dim}; put a projector between them or make the widths "
                "equal."
            )


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
