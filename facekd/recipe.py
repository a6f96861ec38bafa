"""The schema of a recipe: every setting, its default and its meaning live here and only here.

A recipe is a list of stages; a stage trains one network. A stage may point at another stage's
result, or at a file, as its teacher, as the source of its classifier, or as its starting weights.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from facekd.errors import FacekdError, did_you_mean
from facekd.preprocess import STATISTICS

Positive = Annotated[int, Field(gt=0)]
NaturalNumber = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AboveZero = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Synthetic(_Strict):
    """How many faces `data: synthetic` draws."""

    identities: Annotated[int, Field(ge=2)] = 300
    images_per_identity: Positive = 20
    seed: NaturalNumber = 0


class RandAugment(_Strict):
    """Some operations of the fourteen of RandAugment (arXiv 1909.13719), one after the other."""

    operations: Positive = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {} if value in (True, "on") else value


class Data(_Strict):
    """Training images: `synthetic`, `.rec` files, a folder of `name/*.jpg`, or tar shards."""

    source: str | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default="synthetic",
        description="synthetic, a .rec file, an image folder, tar shards; several .rec files with "
        "joint labels: a list, their folder, or part-{00..15}.rec; none: only `unlabelled`. With "
        "task: classification: a folder of train/CLASS/ and val/CLASS/, or cifar10:FOLDER and such",
    )
    reading: Literal["index", "stream"] = Field(
        default="index",
        description="of tar shards; stream: each is read from front to back (webdataset), for "
        "disks that seek slowly",
    )
    buffer: Positive = Field(
        default=10_000, description="with stream: how many neighbouring images are shuffled"
    )
    synthetic: Synthetic = Synthetic()
    min_images: Positive = Field(default=1, description="leave out people with fewer images")
    max_identities: Positive | None = Field(
        default=None, description="keep only the first so many people"
    )
    unlabelled: str | None = Field(
        default=None,
        description="more images whose people are not known: a folder, a .rec file or tar shards",
    )
    exclude: str | None = Field(
        default=None, description="CSV with columns image and/or identity: what to leave out"
    )
    holdout: NaturalNumber = Field(
        default=0, description="people held back from training, as the verification set `holdout`"
    )
    holdout_seed: NaturalNumber = 0
    flip: bool = Field(default=True, description="mirror every second image at random")
    crop: BelowOne = Field(
        default=0.0, description="cut away up to this part of the side at random, and enlarge"
    )
    colour: BelowOne = Field(
        default=0.0, description="change brightness, contrast and saturation by up to this factor"
    )
    pad: NaturalNumber = Field(
        default=0,
        description="a black frame of so many pixels around the image, of which a part of the "
        "input's size is cut out at random (CIFAR: 4)",
    )
    resized_crop: Fraction = Field(
        default=0.0,
        description="cut out a rectangle of at least this part of the area, its sides 3:4 to 4:3, "
        "and resize it (ImageNet: 0.08); 0: no",
    )
    randaugment: RandAugment | None = Field(default=None, description="on: two operations of 9")
    on_bad_record: Literal["error", "skip"] = "error"
    max_bad: Fraction = Field(
        default=0.01, description="with skip: stop above this fraction of bad records"
    )
    workers: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="loader processes of each training process; default: its share of the cores "
        "but one, 0 where that share is two or fewer",
    )

    @property
    def named(self) -> str:
        """The source in words."""
        return self.source if isinstance(self.source, str) else ", ".join(self.source)

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str | list) else value

    @model_validator(mode="after")
    def _some_images(self) -> "Data":
        if self.source == "none" and not self.unlabelled:
            raise ValueError("source: none needs `unlabelled`: the images to train on")
        return self

    @field_validator("exclude", "unlabelled")
    @classmethod
    def _home(cls, value: str | None) -> str | None:
        return str(Path(value).expanduser()) if value else None


class Normalize(_Strict):
    """How a network's input is standardised: `(pixel / 255 - mean) / std`, by channel."""

    mean: tuple[float, float, float]
    std: tuple[AboveZero, AboveZero, AboveZero]

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in STATISTICS:
            raise ValueError(f"{value!r} is no known set; {did_you_mean(value, STATISTICS)}")
        return dict(zip(("mean", "std"), STATISTICS[value], strict=True))


class Network(_Strict):
    """The network of a stage."""

    backbone: str = "mobilefacenet"
    embedding_dim: Positive | None = Field(
        default=None,
        description="width of its output; default: 512, or the network's own (resnet20: 64)",
    )
    input_size: Positive | None = Field(
        default=None,
        description="side of its input, pixels; default: 112, or the network's usual one "
        "(resnet20: 32, torchvision/resnet50: 224)",
    )
    normalize: Normalize | None = Field(
        default=None,
        description="cifar10, cifar100, imagenet, or mean and std of pixels in 0..1 by channel; "
        "default: pixels become -1..1",
    )
    args: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the backbone, such as width: 0.5"
    )

    @field_validator("args", mode="before")
    @classmethod
    def _switches(cls, value: Any) -> Any:
        return _words_to_bools(value)


class Teacher(_Strict):
    """Where a stage's teacher comes from."""

    model: str = Field(
        description="a stage of this recipe, or a file: .pt, .onnx, other software's weights "
        "(docs/networks.md)"
    )
    head: str = Field(
        default="auto",
        description="auto: the classifier saved beside the model, else class means of its "
        "embeddings; rebuild: always class means; or a .head.safetensors file, also one that "
        "`facekd-model import-head` wrote",
    )
    input_range: tuple[float, float] | None = Field(
        default=None,
        description="what the network expects pixels 0..255 to become; default: what its file, its "
        "graph or its software says",
    )
    channels: Literal["rgb", "bgr"] | None = Field(
        default=None,
        description="order that the network expects; default: what its file says, or its software",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"model": value} if isinstance(value, str) else value


class Cache(_Strict):
    """Teachers' embeddings, computed once and kept."""

    mode: Literal["auto", "never", "require"] = Field(
        default="auto",
        description="auto: embed every image and its mirror image once, where that is all that "
        "training asks for; never: at every step; require: stop where it cannot be done",
    )
    dir: str = Field(default="", description="where they are kept; default: <output>/cache")
    views: Positive = Field(
        default=1,
        description="above 1: with crop or colour, so many drawings of each image, always the same",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"mode": value} if isinstance(value, str) else value

    @field_validator("dir")
    @classmethod
    def _home(cls, value: str) -> str:
        return str(Path(value).expanduser()) if value else value


class Balance(_Strict):
    """A share of every batch with several images of each person in it."""

    images_per_identity: Positive = Field(default=1, description="1: no such share")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="the part of the batch; the rest is drawn as ever"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"images_per_identity": value} if isinstance(value, int) else value


class Head(_Strict):
    """A classifier taken from elsewhere, or a new one with several centres a class."""

    source: str | None = Field(
        default=None, description="a stage of this recipe, or a .head.safetensors file"
    )
    frozen: bool = Field(
        default=True, description="keep the source's as it is (SH-KD's teacher) or train it on"
    )
    centres: Positive = Field(
        default=1, description="of each class, for data with wrong labels (sub-centre ArcFace: 3)"
    )
    drop_degrees: Annotated[float, Field(gt=0, lt=180)] = Field(
        default=75.0,
        description="with several centres: <stage>.far.csv lists the images so far from their "
        "class's dominant one, for data.exclude of the recipe that trains again without them",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _source_or_centres(self) -> "Head":
        if self.source is None and self.centres == 1:
            raise ValueError("a head says its `source`, or `centres: 3` for a new one with three")
        if self.source is not None and self.centres > 1:
            raise ValueError(
                f"`source` gives a classifier with one centre a class; leave centres: "
                f"{self.centres} out, or source for a new classifier"
            )
        return self


class PartialFC(_Strict):
    """The stage's heads spread over the processes by class, each step on all or on some classes."""

    sample_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="classes of a step: those of its images, and others up to this share",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"sample_rate": value} if isinstance(value, int | float) else value


class Optimizer(_Strict):
    """SGD or AdamW."""

    name: Literal["sgd", "adamw"] = "sgd"
    lr: NonNegative = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = False
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    weight_decay: NonNegative = 5e-4
    decay_all: bool = Field(default=False, description="decay batch norm, PReLU and biases too")
    clip_norm: NonNegative = Field(default=5.0, description="largest gradient norm; 0: no clipping")


class Schedule(_Strict):
    """Learning rate over the run: linear warm-up, then a decay."""

    epochs: Annotated[float, Field(gt=0)] = 20
    warmup_epochs: NonNegative = 0.0
    decay: Literal["cosine", "polynomial", "steps", "none"] = "polynomial"
    power: NonNegative = Field(
        default=1.0, description="of the polynomial; 1 falls linearly to zero"
    )
    milestones: tuple[NonNegative, ...] = Field(
        default=(), description="epochs at which steps happen"
    )
    gamma: Fraction = 0.1

    @model_validator(mode="after")
    def _consistent(self) -> "Schedule":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs {self.warmup_epochs} must be below epochs {self.epochs}"
            )
        if self.decay == "steps" and not self.milestones:
            raise ValueError("decay: steps needs milestones, such as [8, 14, 20]")
        return self


class Validation(_Strict):
    """Verification sets looked at during training; of classes, the validation images."""

    benches: tuple[str, ...] = Field(
        default=(),
        description="holdout, synthetic, a .bin file, or the name of one in FACEKD_DATA; with "
        "task: classification only `val`",
    )
    teacher_head: Fraction = Field(
        default=0.0,
        description="of classes: the share of the teacher's head in the probabilities, alpha_TH; "
        "0: the student's head alone, 1: the teacher's",
    )
    pairs: Positive = Field(default=6000, description="pairs drawn from `holdout`")
    every: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="epochs between two looks"
    )


class Stage(_Strict):
    """One network's training."""

    task: Literal["face", "classification"] = Field(
        default="face", description="what the network learns: to verify faces, or to name classes"
    )
    data: Data | None = Field(default=None, description="default: the recipe's own data")
    model: Network = Network()
    start_from: str | None = Field(
        default=None, description="weights: a stage, a .pt, or other software's"
    )
    teacher: Teacher | None = None
    head: Head | None = None
    partial_fc: PartialFC | None = Field(
        default=None, description="for very many identities; default: every process has all"
    )
    loss: str | dict[str, Any] | list[str | dict[str, Any]] = Field(
        default="arcface", description="with task: classification: softmax"
    )
    batch_size: Annotated[int, Field(ge=2)] = Field(
        default=128, description="images of one step, over all processes that train together"
    )
    accumulate: Positive = Field(
        default=1, description="forward and backward passes into which a step is cut, for memory"
    )
    balance: Balance = Balance()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    freeze_bn: bool = Field(
        default=False,
        description="batch norm uses and keeps its running statistics, as in evaluation; without "
        "it each process and each accumulated pass normalises by its own images alone",
    )
    sync_bn: bool = Field(
        default=False, description="batch norm over the images of all processes; CUDA only"
    )
    ema: BelowOne = Field(
        default=0.0, description="decay of the averaged weights that are validated and saved; 0: no"
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="off", description="torch.compile of the network; auto: where it measures faster"
    )
    deterministic: bool = Field(
        default=False, description="only deterministic kernels; slower on CUDA, where it matters"
    )
    stop_after_nonfinite: Positive = Field(
        default=10, description="stop after so many steps in a row whose gradient is not finite"
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    validation: Validation = Validation()
    checkpoint_minutes: NonNegative = Field(
        default=10.0, description="between two saves within an epoch"
    )
    keep_checkpoints: Annotated[int, Field(ge=1)] = Field(
        default=2, description="the last so many; the best at validation is kept besides"
    )
    seed: NaturalNumber | None = Field(default=None, description="default: the recipe's own seed")

    @field_validator("loss", mode="before")
    @classmethod
    def _switches(cls, value: Any) -> Any:
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, str | dict) for part in parts):
            raise ValueError(
                "a loss is a preset's name, a mapping with `preset:` or `term:`, or a list of these"
            )
        return _words_to_bools(value)

    @model_validator(mode="before")
    @classmethod
    def _loss_of_the_task(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("task") == "classification":
            return {"loss": "softmax", **value}
        return value

    @model_validator(mode="after")
    def _own_network(self) -> "Stage":
        named = "backbone" in self.model.model_fields_set or self.start_from is not None
        if self.task == "classification" and not named:
            raise ValueError("task: classification has no usual network; name model.backbone")
        return self

    @model_validator(mode="after")
    def _one_batch_norm(self) -> "Stage":
        if self.freeze_bn and self.sync_bn:
            raise ValueError("freeze_bn uses no batch's statistics, so sync_bn has none to share")
        return self

    @property
    def margin(self) -> str:
        """What presets' margin softmax is where they leave it open; "": their own."""
        return "softmax" if self.task == "classification" else ""

    def sources(self) -> dict[str, str]:
        """What the stage builds on: stages or files, by the key that names them."""
        named = {
            "teacher": self.teacher.model if self.teacher else None,
            "head": self.head.source if self.head else None,
            "start_from": self.start_from,
        }
        return {key: source for key, source in named.items() if source is not None}


class Recipe(_Strict):
    """A whole recipe, resolved: `common` is merged into the stages before it is checked."""

    format: Literal[1] = 1
    description: str = ""
    output: str = Field(default="", description="the run folder; default: runs/<recipe name>")
    cache: Cache = Cache()
    seed: NaturalNumber = 0
    data: Data = Data()
    _place: Callable[[tuple[str | int, ...], str], str] | None = PrivateAttr(default=None)
    stages: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")], Stage] = Field(
        min_length=1
    )

    @field_validator("output")
    @classmethod
    def _home(cls, value: str) -> str:
        return str(Path(value).expanduser()) if value else value

    @model_validator(mode="after")
    def _streams_in_order(self) -> "Recipe":
        for name, stage in self.stages.items():
            data = stage.data or self.data
            if data.reading == "stream" and stage.balance.images_per_identity > 1:
                raise ValueError(
                    f"stages.{name}.balance draws people from all over the shards, and "
                    "data.reading: stream reads them from front to back; use reading: index"
                )
        return self

    def where(self, path: tuple[str | int, ...], message: str) -> str:
        """Where the setting stands that a message is about: `mine.yaml line 7: `, or nothing.

        Args:
            path: Of the section, from the root.
            message: The key or value in it that the message quotes first is the one meant.
        """
        place = self._place(path, message) if self._place else ""
        return f"{place}: " if place else ""

    @model_validator(mode="after")
    def _references(self) -> "Recipe":
        earlier: list[str] = []
        for name, stage in self.stages.items():
            for what, source in stage.sources().items():
                if not is_file(source) and source not in earlier:
                    raise ValueError(
                        f"stages.{name}.{what}: {source!r} is neither a file (.pt, .onnx, "
                        f".params, .safetensors) nor a stage that stands earlier"
                        + (f"; {did_you_mean(source, earlier)}" if earlier else "")
                    )
            earlier.append(name)
        return self


def select_stages(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with the named stages only, and those they build on.

    Raises:
        FacekdError: There is no such stage.
    """
    wanted = set()
    for name in names:
        if name not in recipe.stages:
            raise FacekdError(f"there is no stage {name!r}; {did_you_mean(name, recipe.stages)}")
        wanted.add(name)
    for name in reversed(recipe.stages):
        if name in wanted:
            wanted |= set(recipe.stages[name].sources().values()) & recipe.stages.keys()
    kept = {name: stage for name, stage in recipe.stages.items() if name in wanted}
    return recipe.model_copy(update={"stages": kept})


def is_file(source: str) -> bool:
    """Whether a teacher, head or start_from names a file (by its ending) and not a stage."""
    suffixes = {".pt", ".pth", ".ckpt", ".tar", ".onnx", ".params", ".safetensors"}
    return Path(source).suffix in suffixes


def _words_to_bools(value: Any) -> Any:
    """`on` and `off` inside a loss, whose settings have no type here yet."""
    if isinstance(value, dict):
        return {k: _words_to_bools(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_words_to_bools(v) for v in value]
    words = {"on": True, "yes": True, "off": False, "no": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value
