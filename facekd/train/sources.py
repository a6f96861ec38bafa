"""What a stage builds on: the networks and classifiers behind the names in a recipe."""

from collections.abc import Mapping
from pathlib import Path

from facekd.backbones import BACKBONES
from facekd.data_tools.labelmap import LabelMap
from facekd.embedder import Embedder
from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier, load_head
from facekd.model import FaceModel, load_model
from facekd.recipe import Network, Normalize, Stage, Teacher, is_file


def head_path(model: Path) -> Path:
    """Where a network's classifier lies: beside it."""
    return model.with_suffix(".head.safetensors")


def teacher_head_path(model: Path) -> Path:
    """Where the teacher's classifier lies as it reads the embeddings of a network of classes."""
    return model.with_suffix(".teacher.head.safetensors")


def locate(source: str, folder: Path) -> Path:
    """The file behind a `teacher`, `head` or `start_from`: a path, or an earlier stage's result."""
    return Path(source).expanduser() if is_file(source) else folder / f"{source}.pt"


def find_head(teacher: Teacher, folder: Path) -> Path | None:
    """The file of the teacher's classifier, or None where it is rebuilt as class means.

    Raises:
        FacekdError: The recipe names a head file, and there is none.
    """
    if teacher.head == "rebuild":
        return None
    if teacher.head != "auto":
        path = Path(teacher.head).expanduser()
        if not path.is_file():
            raise FacekdError(
                f"teacher.head: {path} does not exist; name a .head.safetensors file, or use "
                "rebuild for class means of the teacher's embeddings."
            )
        return path
    beside = head_path(locate(teacher.model, folder))
    return beside if not is_file(teacher.model) or beside.is_file() else None


def open_teacher(settings: Teacher, folder: Path, device: str) -> Embedder:
    """Load a teacher network.

    Raises:
        FacekdError: As `facekd.load_model`.
    """
    path = locate(settings.model, folder)
    given, channels = settings.input_range, settings.channels
    return load_model(path, input_range=given, channels=channels, device=device)


def load_fitting_head(path: Path, label_map: LabelMap, width: int, what: str) -> Classifier:
    """Load a head file and make sure that it belongs to a stage's data and width.

    Of a head with several centres a class the dominant ones are taken: the others stand for wrong
    labels, and a teacher or a shared classifier has one vector a class.

    Args:
        path: The head file, or the network that it lies beside.
        label_map: Of the stage's data.
        width: Of the embeddings that the head is to read.
        what: The recipe's key, for the message.

    Raises:
        FacekdError: It is missing, of another shape, or of another label map.
    """
    if path.suffix != ".safetensors":
        path = head_path(path)
    if not path.is_file():
        raise FacekdError(
            f"{what}: there is no {path}; name a .head.safetensors file (facekd-train or "
            "`facekd-model import-head` makes one), train the stage that leaves it, or use "
            "teacher.head: rebuild for class means."
        )
    head, found = load_head(path)
    try:
        head = head.with_dominant_centres()
    except FacekdError as error:
        raise FacekdError(f"{what}: {path}: {error}") from error
    if found != label_map.hash:
        raise FacekdError(
            f"{what}: {path} belongs to label map {found} ({head.num_classes} classes), but "
            f"the data's is {label_map.hash} ({len(label_map)} classes); use "
            "the head of a network trained on this very data, or teacher.head: rebuild."
        )
    if (head.num_classes, head.embedding_dim) != (len(label_map), width):
        raise FacekdError(
            f"{what}: {path} is {head.num_classes} x {head.embedding_dim}, but "
            f"{len(label_map)} classes x {width} are needed here."
        )
    return head


def initial_model(stage: Stage, folder: Path, earlier: Mapping[str, Stage]) -> FaceModel:
    """The network a stage begins with: new, or the one that `start_from` names.

    While that one is a stage still to be trained, a new network of its shape stands for it.

    Args:
        stage: Its settings.
        folder: The run folder.
        earlier: The stages before it.

    Raises:
        FacekdError: An unknown backbone or argument, or `start_from` and `model` disagree.
    """
    settings = stage.model
    if stage.start_from is None:
        return _new_model(settings)
    path = locate(stage.start_from, folder)
    model: Embedder
    if not path.is_file() and stage.start_from in earlier:
        model = initial_model(earlier[stage.start_from], folder, earlier)
    else:
        model = load_model(path)
    if not isinstance(model, FaceModel):
        raise FacekdError(f"start_from: {path} holds no weights that can be trained on.")
    has = {
        "backbone": model.backbone_name,
        "embedding_dim": model.embedding_dim,
        "input_size": model.preprocess.input_size,
        "normalize": _statistics(model),
    }
    asked = {key: getattr(settings, key) for key in settings.model_fields_set & has.keys()}
    wishes = {key: value for key, value in asked.items() if value is not None} | settings.args
    has |= {key: model.description["backbone"]["kwargs"].get(key) for key in settings.args}
    for key, wanted in wishes.items():
        found = has[key]
        if wanted != found and not (key == "backbone" and BACKBONES.canonical(wanted) == found):
            raise FacekdError(
                f"start_from: {path} has {key} {found!r}, but model.{key} says {wanted!r}; "
                "leave that key out or change it."
            )
    return model


def _statistics(model: FaceModel) -> Normalize | None:
    mean, std = model.preprocess.mean, model.preprocess.std
    return None if mean is None or std is None else Normalize(mean=mean, std=std)


_NETWORKS = {"name", "embedding_dim", "input_size", "input_range", "channels", "mean", "std"}


def _new_model(settings: Network) -> FaceModel:
    own = settings.args.keys() & _NETWORKS
    if own:
        raise FacekdError(
            f"model.args: {min(own)!r} is no argument of the backbone; arguments are such as "
            "width: 0.5."
        )
    try:
        return FaceModel.create(
            settings.backbone,
            embedding_dim=settings.embedding_dim,
            input_size=settings.input_size,
            **(settings.normalize.model_dump() if settings.normalize else {}),
            **settings.args,
        )
    except (TypeError, RuntimeError) as error:  # a word for a number; more than the memory holds
        reason = str(error).splitlines()[0]
        raise FacekdError(
            f"model: {settings.backbone} cannot be built with {settings.model_dump()} ({reason})."
        ) from error
