"""One stage as it will be trained: its settings, its data, and what follows from the two."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekd.data.augment import Augment
from facekd.data.faces import FaceSet
from facekd.distill.term import BuiltTerm, Need, Sizes, build_terms
from facekd.recipe import Cache, Data, Stage
from facekd.train.sources import find_head

TEACHER_NEEDS: frozenset[Need] = frozenset({"teacher_head", "teacher_embeddings", "feature_maps"})


@dataclass(frozen=True)
class StagePlan:
    """One stage, checked.

    Attributes:
        name: Its name in the recipe.
        stage: Its settings.
        seed: Fixes weights, order and mirroring.
        folder: The run folder; results are `<folder>/<name>.pt` and neighbours.
        cache: Whether and where teachers' embeddings are kept.
        data: The stage's data settings.
        faces: Training images.
        holdout: People held back, or None; of classes the validation images.
        specs: The loss, presets expanded.
        needs: What its terms ask for.
        backbone: The network's full name.
        embedding_dim: Width of this stage's embeddings.
        input_size: Side of its input, pixels.
        params: Number of the backbone's parameters.
        macs: Multiply-accumulates of one forward pass.
        teacher_dim: Width of the teacher's embeddings; None without a teacher.
        teacher_takes: What a teacher out of a file is given, in words; "" for others.
        steps_per_epoch: Steps in one pass over the images.
        total_steps: Steps of the whole stage.
    """

    name: str
    stage: Stage
    seed: int
    folder: Path
    cache: Cache
    data: Data
    faces: FaceSet
    holdout: FaceSet | None
    specs: list[dict[str, Any]]
    needs: frozenset[Need]
    backbone: str
    embedding_dim: int
    input_size: int
    params: int
    macs: int
    teacher_dim: int | None
    teacher_takes: str
    steps_per_epoch: int
    total_steps: int

    @property
    def classes(self) -> bool:
        """Whether it learns to name classes, not to verify faces."""
        return self.stage.task == "classification"

    @property
    def noun(self) -> str:
        """What its labels number, in words."""
        return "classes" if self.classes else "identities"

    @property
    def model_path(self) -> Path:
        """Where the finished network goes."""
        return self.folder / f"{self.name}.pt"

    @property
    def work_folder(self) -> Path:
        """Where the stage keeps its log and its state while it trains."""
        return self.folder / self.name

    @property
    def needs_projector(self) -> bool:
        """Whether student embeddings must be brought to the teacher's width."""
        return "projector" in self.needs and self.teacher_dim not in (None, self.embedding_dim)

    @property
    def leaves_head(self) -> bool:
        """Whether the finished stage leaves a classifier that reads its embeddings."""
        if "student_head" in self.needs:
            return True
        return "teacher_head" in self.needs and self.teacher_dim == self.embedding_dim

    @property
    def centres(self) -> int:
        """Centres that each class of the student's head has."""
        return self.stage.head.centres if self.stage.head else 1

    @property
    def uses_cache(self) -> bool:
        """Whether the teacher's embeddings are computed once, ahead of training."""
        teacher = self.stage.teacher
        if teacher is None or not self.needs & TEACHER_NEEDS:
            return False
        rebuilt = "teacher_head" in self.needs and find_head(teacher, self.folder) is None
        return rebuilt or self.reads_cache

    @property
    def reads_cache(self) -> bool:
        """Whether each step takes the teacher's embeddings from the cache, not from the teacher."""
        return self._asks_each_step and self.cache.mode != "never" and not self.why_no_cache

    @property
    def why_no_cache(self) -> str:
        """What this stage asks of its teacher that cannot be kept, in words; "" where all can."""
        if "feature_maps" in self.needs:
            return "its loss reads the teacher's feature maps"
        if self.augment.looks is None:
            drawn = [f"data.{name}" for name in self.augment.drawn]
            give = "gives" if len(drawn) == 1 else "give"
            return f"{' and '.join(drawn)} {give} every image a new look at every step"
        return ""

    @property
    def cache_is_off(self) -> str:
        """Why each step asks the teacher although a cache would do by default; "" otherwise."""
        wanted = self._asks_each_step and self.cache.mode != "never"
        if not wanted or not self.why_no_cache:
            return ""
        return f"off: {self.why_no_cache}, so the teacher runs at every step{self.views_remedy}"

    @property
    def views_remedy(self) -> str:
        """What would keep the embeddings although crops or colours are drawn; "" if nothing."""
        if "feature_maps" in self.needs or self.augment.looks is not None:
            return ""
        return "; cache.views=8 would keep eight drawings of each image"

    @property
    def cache_folder(self) -> Path:
        """Where teachers' embeddings lie."""
        return Path(self.cache.dir) if self.cache.dir else self.folder / "cache"

    @property
    def augment(self) -> Augment:
        """What happens to the images before the network sees them.

        `cache.views` counts only where the teacher's embeddings are asked for and could be kept:
        nobody else is to see fewer drawings for it.
        """
        keeps = self._asks_each_step and "feature_maps" not in self.needs
        return Augment.of(self.data, self.cache.views if keeps else 1, self.input_size)

    @property
    def kept(self) -> Augment:
        """What the cached embeddings are of; class means need no more than mirroring."""
        return self.augment if self.reads_cache else Augment()

    @property
    def _asks_each_step(self) -> bool:
        asked = self.needs & {"teacher_embeddings", "feature_maps"}
        return self.stage.teacher is not None and bool(asked)

    def terms(self, sizes: Sizes | None = None) -> list[BuiltTerm]:
        """Fresh terms of the loss; with the stage's sizes, ready to train."""
        return build_terms(self.specs, sizes)
