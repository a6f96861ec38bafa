"""A finished classification stage from its files: network, classifiers, names of the classes."""

from dataclasses import dataclass
from pathlib import Path

import torch

from facekd.data_tools.labelmap import LabelMap
from facekd.distill.presets import expand
from facekd.distill.readout import Readout, scales_of
from facekd.distill.term import build_terms
from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier, load_head
from facekd.heads.compare import compare_heads
from facekd.model import FaceModel
from facekd.train.sources import head_path, teacher_head_path


@dataclass(frozen=True)
class ClassModel:
    """Names the classes of images.

    Attributes:
        network: Gives embeddings.
        readout: Reads them.
        label_map: The classes' names.
        path: The network's file.
    """

    network: FaceModel
    readout: Readout
    label_map: LabelMap
    path: Path

    def alike(self) -> dict[str, float] | None:
        """How alike its head and its teacher's are; None where there are not both.

        Raises:
            FacekdError: A head's file is damaged, or another network's.
        """
        files = head_path(self.path), teacher_head_path(self.path)
        if not all(file.is_file() for file in files):
            return None
        own, theirs = (_head(file, self.label_map, self.network) for file in files)
        return compare_heads(own, theirs)


def load_class_model(
    path: Path, share: float = 0.0, device: torch.device | str = "cpu"
) -> ClassModel:
    """The network of a classification stage with the classifiers that lie beside it.

    Args:
        path: `<stage>.pt`.
        share: Of the teacher's head in the probabilities, in [0, 1].
        device: Where it runs.

    Raises:
        FacekdError: A file is missing, or belongs to another one; the network is of faces.
    """
    network = FaceModel.load(path)
    recipe = network.description.get("recipe")
    if not isinstance(recipe, dict):  # another software's: `facekd-model import` tells its task
        recipe = {"task": network.description.get("task"), "loss": expand("softmax")}
    if recipe.get("task") != "classification":
        raise FacekdError(
            f"{path} was not trained with task: classification, so it names no classes; faces are "
            "judged by facekd-eval --bench."
        )
    found = LabelMap.load(path.with_suffix(".label_map.json"))
    scales = scales_of(build_terms(recipe["loss"]))
    student, teacher = head_path(path), teacher_head_path(path)
    if share and not teacher.is_file():
        raise FacekdError(
            f"{teacher} does not exist: the loss of {path.name} reads no teacher's head, or not by "
            "linear logits; leave the share of the teacher's head out."
        )
    readout = Readout(
        _head(student, found, network).to(device) if share < 1 else None,
        _head(teacher, found, network).to(device) if share > 0 else None,
        scales=scales,
        share=share,
    )
    return ClassModel(network.to(device), readout, found, path)


def _head(path: Path, label_map: LabelMap, network: FaceModel) -> Classifier:
    head, belongs = load_head(path)
    wanted = (len(label_map), network.embedding_dim)
    if belongs != label_map.hash or (head.num_classes, head.embedding_dim) != wanted:
        raise FacekdError(
            f"{path} belongs to another network than the one beside it ({head.num_classes} x "
            f"{head.embedding_dim}, label map {belongs}); copy the files of one stage together."
        )
    return head
