"""From a bench and the embeddings of its faces to numbers: the same steps for every kind."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..data_tools.ijb import TemplatePairs, TemplateSearch
from ..data_tools.labelled import LabelledImages
from ..data_tools.pairs import Images, PairSet
from ..errors import FacekdError
from .accuracy import check_folds
from .all_pairs import count_pairs, score_all_pairs
from .embeddings import Embeddings
from .identification import Identification, identify
from .operating import FARS
from .pair_scores import cosine_scores, unit_rows
from .quality import pair_quality
from .scores import Array
from .subjects import infer_subjects
from .templates import TemplateProtocol, pool
from .together import Alone, Together
from .transfer import SetThreshold
from .trials import Trials
from .verification import Questions, Verification, verify, verify_sorted

LoadedBench = PairSet | TemplatePairs | TemplateSearch | LabelledImages
INFERRED = "inferred: who is joined by genuine pairs is one person"
MOST_LISTED = 10_000_000


@dataclass(frozen=True)
class Faces:
    """What a bench wants embedded.

    Attributes:
        images: The faces; None where only their lists are there.
        count: How many.
        missing: bool (n,), True where no face was found; None when all were.
        fingerprint: Of the images; "" where it is not known.
    """

    images: Images | None
    count: int
    missing: NDArray[np.bool_] | None
    fingerprint: str

    @property
    def not_found(self) -> int:
        """How many faces were not found (failure to acquire)."""
        return 0 if self.missing is None else int(np.count_nonzero(self.missing))


def faces_of(bench: LoadedBench) -> Faces:
    """The faces of a bench, in the order in which embeddings are expected."""
    if isinstance(bench, PairSet):
        missing = None if bench.found is None else ~bench.found
        return Faces(bench.images, len(bench.images), missing, bench.fingerprint)
    if isinstance(bench, LabelledImages):
        return Faces(bench.images, len(bench.labels), None, bench.fingerprint)
    faces = bench.faces
    missing = None if faces.found.all() else ~faces.found
    return Faces(faces.images, len(faces), missing, faces.fingerprint)


def kind_of(bench: LoadedBench) -> str:
    """What a report calls this kind of bench."""
    return _KINDS[type(bench)]


def default_fars(bench: LoadedBench) -> tuple[float, ...]:
    """The FARs that the field reports on this kind of bench."""
    if isinstance(bench, TemplatePairs):
        return (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    if isinstance(bench, LabelledImages):
        return (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    return FARS


def list_all_pairs(bench: LabelledImages) -> PairSet:
    """Every pair of a labelled set, one by one: for what streaming cannot tell (groups, bootstrap).

    Raises:
        FacekdError: There are too many to hold.
    """
    count = len(bench.labels)
    if count * (count - 1) // 2 > MOST_LISTED:
        raise FacekdError(
            f"{bench.name}: the pairs of {count:,} images are streamed, not kept, so neither "
            f"--bootstrap nor --groups can be answered (up to {MOST_LISTED:,} pairs they can); "
            "give a list of pairs."
        )
    left, right = np.triu_indices(count, 1)
    return PairSet(
        name=bench.name,
        images=bench.images,
        left=left.astype(np.int64),
        right=right.astype(np.int64),
        same=bench.labels[left] == bench.labels[right],
        folds=None,
        subjects=np.unique(bench.labels, return_inverse=True)[1].astype(np.int32),
        subjects_from="the identities of " + bench.source,
        ids=bench.ids,
        source=bench.source,
        fingerprint=bench.fingerprint,
    ).check()


def trials_of(
    bench: LoadedBench, groups: NDArray[np.str_] | None = None, *, people: bool = False
) -> Trials | None:
    """The pairs of a bench, after all checks that need no embeddings; None where none are listed.

    Args:
        bench: The bench, loaded.
        groups: str (m,), each pair's group, or None.
        people: Whether to say who is in each pair, as a bootstrap needs it. Where the source does
            not, and the answers contradict each other, `subjects_from` is the reason why not.

    Raises:
        FacekdError: All pairs of a labelled set would be of one kind, or no accuracy can be had
            with these folds.
    """
    if isinstance(bench, LabelledImages):
        count_pairs(bench.labels)
    if not isinstance(bench, PairSet | TemplatePairs):
        return None
    folds = bench.folds if isinstance(bench, PairSet) else None
    if folds is not None:
        try:
            check_folds(folds, bench.same)
        except FacekdError as error:
            raise FacekdError(f"{bench.source}: {error}") from error
    if not people:
        return Trials(bench.same, folds, groups)
    subjects, told = bench.subjects, bench.subjects_from
    if subjects is None:
        items = 1 + int(max(bench.left.max(), bench.right.max()))
        try:
            subjects, told = infer_subjects(items, bench.left, bench.right, bench.same), INFERRED
        except FacekdError as error:
            return Trials(bench.same, folds, groups, None, f"people cannot be inferred: {error}")
    both = np.stack([subjects[bench.left], subjects[bench.right]], axis=1)
    return Trials(bench.same, folds, groups, both, told)


@dataclass(frozen=True)
class Judge:
    """One bench and what is asked of it; judges any number of models.

    Attributes:
        bench: The bench, loaded.
        trials: Its pairs, as `trials_of` gives them.
        questions: What is asked.
        protocol: The switches N, D and F; only F matters where there are no templates.
        together: The processes that share the work of all pairs.
    """

    bench: LoadedBench
    trials: Trials | None
    questions: Questions
    protocol: TemplateProtocol = field(default_factory=TemplateProtocol)
    together: Together = field(default_factory=Alone)

    def __post_init__(self) -> None:
        if isinstance(self.bench, LabelledImages) and self.questions.protocol == "insightface":
            raise FacekdError(
                f"{self.bench.name}: all pairs are scored by the exact rule; leave --protocol "
                "insightface to lists of pairs."
            )

    def from_embeddings(
        self, embeddings: Embeddings, thresholds: tuple[SetThreshold, ...] = ()
    ) -> Verification | Identification:
        """The numbers of one model from its embeddings of the bench's faces, in their order.

        Args:
            embeddings: One a face.
            thresholds: Set on another bench for this model, to be applied here.

        Raises:
            FacekdError: An embedding is not finite or zero, a template has no sum, or as `verify`.
        """
        bench, asked = self.bench, replace(self.questions, thresholds=thresholds)
        if isinstance(bench, LabelledImages):
            return self._all_pairs(bench, embeddings, asked)
        if isinstance(bench, PairSet):
            faces = embeddings.faces(self.protocol.flip)
            missing = faces_of(bench).missing
            scores = cosine_scores(faces, bench.left, bench.right, missing=missing)
            return self._pairs(bench, scores, np.linalg.norm(faces, axis=1), asked)
        pooled = pool(embeddings, bench.faces, self.protocol)
        if isinstance(bench, TemplateSearch):
            return identify(pooled, bench, protocol=self.questions.protocol)
        units, missing = pooled.embeddings, pooled.empty
        scores = cosine_scores(units, bench.left, bench.right, missing=missing)
        return self._pairs(bench, scores, pooled.quality, asked)

    def from_scores(
        self, scores: Array, thresholds: tuple[SetThreshold, ...] = (), source: str = "the scores"
    ) -> Verification:
        """The numbers of one model from its scores of the bench's pairs, in their order.

        Args:
            scores: (m,) cosines.
            thresholds: Set on another bench for this model, to be applied here.
            source: Where the scores come from, for error messages.

        Raises:
            FacekdError: The bench lists no pairs, or not so many; or as `verify`.
        """
        if self.trials is None:
            raise FacekdError(
                f"{source}: {self.bench.name} lists no pairs that scores could be of; give "
                "embeddings or a model."
            )
        if len(scores) != len(self.trials):
            raise FacekdError(
                f"{source}: {len(scores)} scores for the {len(self.trials)} pairs of "
                f"{self.bench.name}; give one a pair, in the order of the pair list."
            )
        return verify(scores, self.trials, replace(self.questions, thresholds=thresholds))

    def _pairs(
        self, bench: PairSet | TemplatePairs, scores: Array, quality: Array, asked: Questions
    ) -> Verification:
        assert self.trials is not None
        genuine = np.flatnonzero(bench.same)
        of_pairs = pair_quality(quality, bench.left[genuine], bench.right[genuine])
        return verify(scores, self.trials, asked, genuine_quality=of_pairs)

    def _all_pairs(
        self, bench: LabelledImages, embeddings: Embeddings, asked: Questions
    ) -> Verification:
        unit = np.empty((embeddings.count, embeddings.dim), dtype=np.float32)
        for rows, block in embeddings.blocks(self.protocol.flip):
            unit[rows] = unit_rows(block)  # a block at a time: there is one copy of all, not two
        ranked = score_all_pairs(
            unit,
            bench.labels,
            asked.fars,
            thresholds=[known.threshold for known in asked.thresholds],
            together=self.together,
            progress=f"{bench.name}, all pairs",
        )
        return verify_sorted(ranked, asked)


_KINDS: dict[type, str] = {
    PairSet: "pairs",
    TemplatePairs: "template pairs (1:1)",
    TemplateSearch: "1:N",
    LabelledImages: "all pairs",
}
