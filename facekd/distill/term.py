"""What a loss is made of: the step's data, the term that reads it, and terms from a recipe."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from facekd.errors import FacekdError
from facekd.heads.class_block import ClassBlock, Classes
from facekd.heads.classifier import Classifier, unit
from facekd.heads.partial_fc import ShardedClassifier
from facekd.registry import Registry, first_line
from facekd.settings import NotNegative, check_settings, check_value

Side = Literal["student", "teacher"]
Form = Literal["cosine", "linear"]
Head = Classifier | ShardedClassifier
Need = Literal[
    "labels",
    "several images of an identity",
    "several centres of a class",
    "position",
    "student_head",
    "teacher_head",
    "teacher_embeddings",
    "projector",
    "feature_maps",
]


@dataclass(frozen=True)
class Sizes:
    """What is known of a stage before its first step: terms with weights or memories read it.

    Attributes:
        num_images: Images in the stage's data; `Step.position` is below it.
        num_classes: Identities.
        student_dim: Width d_s of the student's embeddings.
        teacher_dim: Width d_t of the teacher's; None without a teacher.
        student_channels: Channels of the student's feature maps by stage, 1 to 4.
        teacher_channels: Channels of the teacher's, where it is a network whose maps can be read.
    """

    num_images: int
    num_classes: int
    student_dim: int
    teacher_dim: int | None = None
    student_channels: Mapping[int, int] = field(default_factory=dict)
    teacher_channels: Mapping[int, int] = field(default_factory=dict)


@dataclass
class Step:
    """One batch as the terms see it; what several terms need is computed once.

    Attributes:
        embeddings: (B, d_s) float32, the student's, with gradient.
        labels: (B,) int64; -1 where the identity is unknown.
        position: (B,) int64, where each image stands in the stage's data, below num_images.
        teacher_embeddings: (B, d_t) float32 without gradient, or None.
        student_head: The student's classifier, or None.
        teacher_head: The teacher's frozen classifier, or None.
        projector: d_s -> d_t, where the widths differ.
        student_maps: Stage 1 to 4 -> (B, c, h, w) float32, the student's, with gradient.
        teacher_maps: The same of the teacher, without gradient.
        epoch: Epochs done before this step, a fraction.
    """

    embeddings: Tensor
    labels: Tensor
    position: Tensor
    teacher_embeddings: Tensor | None = None
    student_head: Head | None = None
    teacher_head: Head | None = None
    projector: nn.Module | None = None
    student_maps: Mapping[int, Tensor] = field(default_factory=dict)
    teacher_maps: Mapping[int, Tensor] = field(default_factory=dict)
    epoch: float = 0.0
    _made: dict[Hashable, Tensor] = field(default_factory=dict, repr=False)
    _block: ClassBlock | None = field(default=None, repr=False)

    def once(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor under `key`, made on first use and shared by all terms of this step."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @property
    def projected(self) -> Tensor:
        """Student embeddings in the teacher's width, (B, d_t): through the projector if any."""
        if self.projector is None:
            return self.embeddings
        projector = self.projector
        return self.once("projected", lambda: projector(self.embeddings))

    @property
    def teacher(self) -> Tensor:
        """The teacher's embeddings, (B, d_t).

        Raises:
            FacekdError: This step has none.
        """
        if self.teacher_embeddings is None:
            raise FacekdError("the loss needs a teacher's embeddings, and this step has none.")
        return self.teacher_embeddings

    def classes(self, head: Side) -> Classes:
        """Which classes and rows `cosines` and `logits` under a head have.

        With partial_fc they are one block of columns for the rows of all processes; both heads see
        the same classes, drawn once a step. Otherwise all classes for this process's rows.

        Raises:
            FacekdError: The head is missing.
        """
        found = self._head(head)
        return self._chosen(found) if isinstance(found, ShardedClassifier) else Classes(self.labels)

    def read(self, embeddings: Side, head: Side) -> Tensor:
        """The embeddings that meet a head, the student's with the teacher's by the projector.

        Returns:
            (B, d); with partial_fc those of all processes, (N, d).
        """
        if embeddings == "teacher":
            own, key = self.teacher, "teacher"
        else:
            own, key = (
                (self.embeddings, "student") if head == "student" else (self.projected, "projected")
            )
        if not isinstance(self._head(head), ShardedClassifier):
            return own
        return self.once(("rows of all", key), lambda: self.classes(head).rows(own))

    def cosines(self, embeddings: Side, head: Side) -> Tensor:
        """Cosines of one side's embeddings under one side's head, no margin, no scale.

        Student embeddings meet the teacher's head through the projector.

        Returns:
            (B, C); with partial_fc (N, S), rows and columns of `classes`.

        Raises:
            FacekdError: The head is missing, or the widths differ.
        """

        def make() -> Tensor:
            found, rows = self._head(head), self.read(embeddings, head)
            if isinstance(found, ShardedClassifier):
                return found.cosines(rows, self._chosen(found))
            return found.cosines(rows)

        return self.once(("cosines", embeddings, head), make)

    def logits(self, embeddings: Side, head: Side) -> Tensor:
        """Linear logits (with bias) of one side's embeddings under one side's head.

        Returns:
            (B, C); with partial_fc (N, S), rows and columns of `classes`.

        Raises:
            FacekdError: The head is missing, or the widths differ.
        """

        def make() -> Tensor:
            found, rows = self._head(head), self.read(embeddings, head)
            if isinstance(found, ShardedClassifier):
                return found.logits(rows, self._chosen(found))
            return found.logits(rows)

        return self.once(("logits", embeddings, head), make)

    def own_cosines(self, embeddings: Side, head: Side) -> Tensor:
        """Cosines of one side's embeddings with the class vector of each image's identity alone.

        Returns:
            (B,), or with partial_fc (N,), the rows of `classes`; without meaning where the label is
            unknown.

        Raises:
            FacekdError: The head is missing or has several centres a class, or the widths differ.
        """
        found, rows = self._head(head), self.read(embeddings, head)
        found.check_width(rows)
        if isinstance(found, ShardedClassifier):
            vectors = found.class_vectors(self._chosen(found))
        else:
            vectors = found.class_vectors(self.labels.clamp_min(0))
        return (unit(rows) * unit(vectors)).sum(dim=1)

    def _head(self, side: Side) -> Head:
        head = self.student_head if side == "student" else self.teacher_head
        if head is None:
            raise FacekdError(f"the loss needs a {side} head, and this step has none.")
        return head

    def _chosen(self, head: ShardedClassifier) -> ClassBlock:
        if self._block is None:
            self._block = head.choose(self.labels)
        return self._block


class Term(nn.Module):
    """One summand of a loss. A new method is one subclass in one file, registered in `TERMS`.

    `__init__` takes keyword settings that all have defaults; their type hints are checked when a
    recipe is read. Parameters join the optimizer, buffers the checkpoint; those whose shape depends
    on the stage are made in `build`.

    Attributes:
        paper: Where the method comes from.
        ranks: What is shared between processes that train together, in one sentence.
        needs: What the trainer must provide; set by `__init__` where it depends on settings.
        maps: The stages (1 to 4) whose feature maps it reads, with the need "feature_maps".
        linear: Whether it reads linear logits, for which a student's head wants a bias.
        by_blocks: Whether it can read heads whose classes are spread over the processes
            (`Step.classes`); only a term that needs a head is asked.
    """

    paper: ClassVar[str] = ""
    ranks: ClassVar[str] = "each process computes it on its own batch; the gradients are averaged"
    needs: frozenset[Need] = frozenset()
    maps: frozenset[int] = frozenset()
    linear: bool = False
    by_blocks: ClassVar[bool] = False

    def build(self, sizes: Sizes) -> None:
        """Make the parameters and buffers whose shapes depend on the stage; called once.

        Raises:
            FacekdError: The term cannot work with such sizes.
        """

    def forward(self, step: Step) -> Tensor:
        """The term's value on one batch: a scalar with gradient."""
        raise NotImplementedError

    @classmethod
    def summary(cls) -> str:
        """The first line of the class's docstring."""
        return first_line(cls)

    @classmethod
    def passes_on(cls) -> frozenset[str]:
        """Further keywords that `__init__` hands on; they are checked where they go."""
        return frozenset()


TERMS: Registry[type[Term]] = Registry("term")

BuiltTerm = tuple[str, float, Term]


def build_terms(specs: list[dict[str, Any]], sizes: Sizes | None = None) -> list[BuiltTerm]:
    """Build the terms that a recipe lists.

    Args:
        specs: Each {"term": registered name, "weight": >= 0 (default 1), "name": optional,
            **settings}. A weight of zero computes and reports the term without training on it.
        sizes: The stage's, for terms that are to train; None is enough to look at their needs.

    Returns:
        (name, weight, term) in the order given. The default name is the term's own, with
        "_teacher" behind it when it reads the teacher's head.

    Raises:
        FacekdError: No terms; an unknown term or setting, a wrong value, or a name used twice.
    """
    if not specs:
        raise FacekdError("a loss needs at least one term, and this one lists none.")
    built = [_build_term(spec) for spec in specs]
    names = [name for name, _, _ in built]
    for name in names:
        if names.count(name) > 1:
            raise FacekdError(
                f"the loss has {names.count(name)} terms named {name!r}; "
                "give each a `name:` of its own."
            )
    if sizes is not None:
        for _, _, term in built:
            term.build(sizes)
    return built


def refuse_whole_heads(terms: list[BuiltTerm]) -> None:
    """With partial_fc every term that reads a head must do so by blocks of classes.

    Raises:
        FacekdError: One does not.
    """
    for name, _, term in terms:
        if term.needs & {"student_head", "teacher_head"} and not term.by_blocks:
            able = ", ".join(sorted(kind for kind in TERMS if TERMS[kind].by_blocks))
            raise FacekdError(
                f"term {name!r} reads all classes of a head at once, and partial_fc spreads them "
                f"over the processes; leave partial_fc out, or use {able} or a term that compares "
                "embeddings."
            )


def _build_term(spec: dict[str, Any]) -> BuiltTerm:
    settings = dict(spec)
    kind = settings.pop("term", None)
    if not isinstance(kind, str):
        raise FacekdError(f"a term of the loss must say which (`term: NAME`), found {spec!r}.")
    kind = TERMS.canonical(kind)
    weight = settings.pop("weight", 1.0)
    check_value(f"term {kind!r}: weight", NotNegative, weight)
    name = settings.pop("name", kind + ("_teacher" if settings.get("head") == "teacher" else ""))
    if not isinstance(name, str) or not name.isidentifier() or hasattr(nn.ModuleDict(), name):
        raise FacekdError(
            f"term {kind!r} cannot be named {name!r}; use letters, digits and _, "
            "and none of torch's own words."
        )
    check_settings(f"term {kind!r}", TERMS[kind], settings, TERMS[kind].passes_on())
    return name, float(weight), TERMS[kind](**settings)
