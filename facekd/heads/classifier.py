"""A classifier over identities: one weight row a class (or several), read as cosines or logits."""

from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from facekd.errors import FacekdError
from facekd.files import atomic_path
from facekd.heads.weight_rows import WeightRows, linear_logits

HEAD_FORMAT = "1"

_SHORTEST = 1e-6  # below this length a vector counts as zero


def unit(vectors: Tensor) -> Tensor:
    """Rows divided by their length; a zero row stays zero, with a bounded gradient.

    Args:
        vectors: (n, d), floating point; narrower than float32 is computed in float32.

    Returns:
        (n, d), float32 or float64, rows of length 1 (or shorter, below a length of 1e-6).
    """
    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return F.normalize(wide, dim=1, eps=_SHORTEST)


def cosines_with(embeddings: Tensor, weight: Tensor) -> Tensor:
    """Cosines between embeddings (B, d) and the rows of a weight (n, d): (B, n).

    Computed in float32 (float64 when both sides are) under any autocast; a zero row gives 0.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        cosines: Tensor = _Cosines.apply(unit(embeddings), weight)
        return cosines


class _Cosines(torch.autograd.Function):
    """u . w_j / |w_j| with as few passes over an (n, d) weight as there can be.

    Lengths are divided out after the product, so there is no normalised copy of the weight; the
    gradient d/dw_j = (g_j u - (g_j c_j) w_j / |w_j|) / |w_j| is one product and one update in place
    (autograd's own takes twice the time at 85,742 x 512). It has no second derivative.
    """

    @staticmethod
    def forward(ctx: Any, directions: Tensor, weight: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(weight, dim=1)
        counted = lengths > _SHORTEST
        lengths = lengths.clamp_min(_SHORTEST)
        cosines = F.linear(directions, weight).div_(lengths)
        ctx.save_for_backward(directions, weight, lengths, counted, cosines)
        return cosines

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        directions, weight, lengths, counted, cosines = ctx.saved_tensors
        scaled = grad / lengths
        to_directions = scaled @ weight if ctx.needs_input_grad[0] else None
        to_weight = None
        if ctx.needs_input_grad[1]:
            along = (scaled * cosines).sum(dim=0).div_(lengths) * counted
            to_weight = (scaled.T @ directions).addcmul_(weight, along.unsqueeze(1), value=-1)
        return to_directions, to_weight


class Classifier(WeightRows):
    """The head that turns embeddings into one number a class, always in float32.

    With K > 1 centres a class (Deng et al., Sub-center ArcFace, ECCV 2020), a class's cosine is the
    largest among its centres': rows c K to c K + K - 1 of the weight are those of class c.

    Args:
        num_classes: Number of identities C, >= 1.
        embedding_dim: Width d of the embeddings it reads, >= 1.
        bias: Whether linear logits have a bias (cosines never do).
        centres: K, >= 1.

    Attributes:
        weight: (C K, d), drawn from N(0, 0.01) (standard deviation).
        bias: (C,) zeros, or None.
        centres: K.
        dominant: With K > 1, (C,) int64: the centre nearest to most images of each class, once the
            stage that trains it has counted them; -1 before.

    Raises:
        FacekdError: A bias and several centres.
    """

    dominant: Tensor

    def __init__(
        self, num_classes: int, embedding_dim: int, bias: bool = False, centres: int = 1
    ) -> None:
        super().__init__()
        if bias and centres > 1:
            raise FacekdError(
                f"a head with {centres} centres a class gives cosines; it has no bias."
            )
        self.centres = centres
        rows = num_classes * centres
        self.weight = nn.Parameter(torch.empty(rows, embedding_dim).normal_(0.0, 0.01))
        self.bias = nn.Parameter(torch.zeros(num_classes)) if bias else None
        if centres > 1:
            self.register_buffer("dominant", torch.full((num_classes,), -1))

    @classmethod
    def from_weight(
        cls, weight: Tensor, bias: Tensor | None = None, frozen: bool = True, centres: int = 1
    ) -> Self:
        """A classifier with given numbers, copied: an imported head, or class means.

        Args:
            weight: (C K, d), finite.
            bias: (C,) or None.
            frozen: Whether it is kept as it is (a teacher's head) or goes on learning.
            centres: K.

        Raises:
            FacekdError: The shapes do not fit together, or a number is not finite.
        """
        if weight.ndim != 2 or 0 in weight.shape:
            raise FacekdError(
                f"a head's weight must be (classes, embedding width), found {tuple(weight.shape)}."
            )
        if bias is not None and bias.shape != weight.shape[:1]:
            raise FacekdError(
                f"a head with {weight.shape[0]} classes needs that many biases, "
                f"found {tuple(bias.shape)}."
            )
        if centres < 1 or weight.shape[0] % centres:
            raise FacekdError(f"{weight.shape[0]} rows cannot be {centres} centres a class.")
        if not weight.isfinite().all() or (bias is not None and not bias.isfinite().all()):
            raise FacekdError("a head's weight or bias holds NaN or infinity; make the head again.")
        classes = weight.shape[0] // centres
        head = cls(classes, weight.shape[1], bias=bias is not None, centres=centres)
        head = head.to(weight.device, torch.promote_types(weight.dtype, torch.float32))
        with torch.no_grad():
            head.weight.copy_(weight)
            if head.bias is not None and bias is not None:
                head.bias.copy_(bias)
        return head.freeze() if frozen else head

    def redraw(self) -> Self:
        """Draw weight and bias anew within +- 1/sqrt(d), as torch's Linear does."""
        with torch.no_grad():
            reach = self.embedding_dim**-0.5
            self.weight.uniform_(-reach, reach)
            if self.bias is not None:
                self.bias.uniform_(-reach, reach)
        return self

    @property
    def num_classes(self) -> int:
        """Number of identities C."""
        return self.weight.shape[0] // self.centres

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Cosines between embeddings and class vectors, computed in float32 under any autocast.

        Args:
            embeddings: (B, d) floating point, of any length.

        Returns:
            (B, C) float32 (float64 when both sides are), in [-1, 1] up to rounding; 0 for a row
            of length zero on either side. With several centres a class, the nearest one's.
        """
        every = self.centre_cosines(embeddings)
        return every.squeeze(2) if self.centres == 1 else every.amax(dim=2)

    def centre_cosines(self, embeddings: Tensor) -> Tensor:
        """Cosines between embeddings and all centres, (B, C, K); otherwise as `cosines`."""
        self.check_width(embeddings)
        every = cosines_with(embeddings, self.weight)
        return every.view(-1, self.num_classes, self.centres)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Linear logits z W^T + b, computed in float32 under any autocast.

        Args:
            embeddings: (B, d) floating point.

        Returns:
            (B, C) float32 (float64 when both sides are).

        Raises:
            FacekdError: The head has several centres a class, or another width.
        """
        self.check_width(embeddings)
        if self.centres > 1:
            raise FacekdError(
                f"a head with {self.centres} centres a class gives cosines and no linear logits; "
                "use one centre, or terms on cosines."
            )
        return linear_logits(embeddings, self.weight, self.bias)

    def class_vectors(self, labels: Tensor) -> Tensor:
        """The weight rows of some classes, not normalised.

        Args:
            labels: (B,) int64 in [0, C).

        Returns:
            (B, d), with gradient.

        Raises:
            FacekdError: The head has several centres a class, so none of them is the class's.
        """
        if self.centres > 1:
            raise FacekdError(
                f"a head with {self.centres} centres a class has no one vector of a class; use one "
                "centre, or terms on cosines."
            )
        return self.weight[labels]

    def with_dominant_centres(self) -> "Classifier":
        """The classifier with each class's dominant centre alone, K = 1; itself where K = 1.

        Raises:
            FacekdError: The centres' images were not counted.
        """
        if self.centres == 1:
            return self
        if (self.dominant < 0).any():
            raise FacekdError(
                f"a head with {self.centres} centres a class does not know which is the dominant "
                "one; use the head that a finished stage saved."
            )
        rows = torch.arange(self.num_classes, device=self.weight.device) * self.centres
        return Classifier.from_weight(self.weight[rows + self.dominant], frozen=self.frozen)


def save_head(path: str | Path, classifier: Classifier, label_map_hash: str) -> None:
    """Write a head file (safetensors, format 1) that remembers the label map it belongs to.

    With several centres a class it says how many (`centres` in its metadata), and holds `dominant`.

    Args:
        path: File to write; it appears whole or not at all.
        classifier: The head.
        label_map_hash: Hash of the label map that gives its rows their meaning.

    Raises:
        FacekdError: The file cannot be written.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    metadata = {"format": HEAD_FORMAT, "label_map": label_map_hash}
    if classifier.centres > 1:
        metadata["centres"] = str(classifier.centres)
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))  # save_file hides a full disk


def load_head(path: str | Path, frozen: bool = True) -> tuple[Classifier, str]:
    """Read a head file.

    Args:
        path: A file `save_head` wrote.
        frozen: Whether the head is kept as it is, or goes on learning.

    Returns:
        The head, on the CPU, and the hash of its label map.

    Raises:
        FacekdError: No such file, not a head file, another format, or numbers that make no head.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise FacekdError(f"cannot read the head file {path}: {error}.") from error
    if metadata.get("format") != HEAD_FORMAT or "label_map" not in metadata:
        raise FacekdError(
            f"{path} is not a head file of format {HEAD_FORMAT} (its metadata: {metadata}); "
            "use a head that facekd-train saved."
        )
    try:
        head = _from_tensors(tensors, metadata.get("centres", "1"), frozen)
    except FacekdError as error:
        raise FacekdError(f"{path}: {error}") from error
    return head, metadata["label_map"]


def _from_tensors(tensors: dict[str, Tensor], centres: str, frozen: bool) -> Classifier:
    if not (centres.isascii() and centres.isdigit()):
        raise FacekdError(f"its number of centres is {centres!r}.")
    many = int(centres) > 1
    further = {"dominant"} if many else {"bias"}
    if not {"weight"} <= tensors.keys() <= {"weight"} | further or (many and len(tensors) < 2):
        raise FacekdError(
            f"it should hold a weight and {'' if many else 'perhaps '}a {min(further)}, "
            f"found {list(tensors)}."
        )
    head = Classifier.from_weight(tensors["weight"], tensors.get("bias"), frozen, int(centres))
    if many:
        dominant = tensors["dominant"]
        if dominant.shape != head.dominant.shape or dominant.dtype != torch.int64:
            raise FacekdError(
                f"its dominant centres are {dominant.dtype} {tuple(dominant.shape)}, and it has "
                f"{head.num_classes} classes."
            )
        if not ((dominant >= -1) & (dominant < head.centres)).all():
            raise FacekdError(f"a dominant centre is not among a class's {head.centres}.")
        head.dominant.copy_(dominant)
    return head
