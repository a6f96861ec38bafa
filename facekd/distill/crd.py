"""CRD: each network's projection of an image told from the other's projections of others."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facekd.distill.memory import Bank, Company, Queue, random_directions, same_identity
from facekd.distill.presets import TermSpec, preset, soft_settings, term_spec
from facekd.distill.term import TERMS, Need, Sizes, Step, Term
from facekd.errors import FacekdError
from facekd.heads.classifier import unit
from facekd.ranks import gather
from facekd.settings import Count, Fraction, NotNegative, Positive

MemoryKind = Literal["bank", "queue"]


@TERMS.register("crd")
class CRD(Term):
    """Contrastive representation distillation: NCE between the two networks' projections.

    Both embeddings pass through a linear layer to 128 numbers and are scaled to length 1. Seen
    from the student (anchor v_i, positive u_i, negatives u_k of the teacher) the loss is
    -1/B sum_i [ log h(v_i, u_i) + sum_k log(1 - h(v_i, u_k)) ], with
    h(v, u) = e / (e + K Z/N), e = exp(v.u / tau) (arXiv 1910.10699; equation 18 by the authors'
    code); the same seen from the teacher is added. Z/N is the mean of e over the first batch and
    its negatives, and stays. The authors' code has P = e/Z beside K/N, and 1e-7 in the
    denominators, which is left out here: N cancels, and log h is computed without dividing.

    `memory: bank` is the paper's: positives and K random negatives come from banks of both
    networks' projections of all N images, each the moving average of what it was when its image
    was met. The banks take 2 x N x 128 x 4 bytes on the training device and in each checkpoint
    (5.3 GB for MS1MV3's 5.2 million images), the drawn negatives 2 x B x K x 128 x 4 for a batch
    (1.1 GB for 64 x 16384); `shared` draws once for the whole batch and takes a B-th of that.

    `memory: queue` is ours, for data too large for banks: positives are the batch's own, negatives
    the last K projections of either network (MoCo's queue, arXiv 1911.05722). Either way the
    gradient reaches an anchor, not what it is compared with.

    Negatives of the anchor's identity do not count, and K is then what is left; a row without any
    gives 0. Banks and queues learn the labels with the rows, so this holds for images met before;
    without labels (-1) every other image is a negative. The authors draw from other classes by a
    list made beforehand, without repetition where that is possible; here draws may repeat, come
    from torch's generator on the CPU, and are the same on every device.

    Args:
        memory: "bank" or "queue".
        negatives: K: drawn for each image (bank; at most N - 1), or the queue's length.
        temperature: tau.
        width: Of the projections.
        momentum: The share of a bank's old row (bank only; default 0.5).
        shared: Whether one draw of K serves the whole batch (bank only; default off).

    Raises:
        FacekdError: A setting that a queue does not have; no teacher, or a bank of fewer than two
            images.
    """

    paper = "CRD, arXiv 1910.10699, as in HeadSharingKD, arXiv 2201.06945"
    ranks = (
        "banks and queues hold all processes' projections and are equal in each; Z is that of the "
        "joint first batch; each process draws its own negatives"
    )

    log_mean: Tensor
    fixed: Tensor

    def __init__(
        self,
        memory: MemoryKind = "bank",
        negatives: Count = 16384,
        temperature: Positive = 0.07,
        width: Count = 128,
        momentum: Fraction | None = None,
        shared: bool | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("momentum", momentum), ("shared", shared)):
            if memory == "queue" and value is not None:
                raise FacekdError(f"term 'crd': a queue has no setting {name!r}; remove it.")
        self.memory: MemoryKind = memory
        self.negatives = negatives
        self.temperature = temperature
        self.width = width
        self.momentum = 0.5 if momentum is None else momentum
        self.shared = bool(shared)
        needs: set[Need] = {"teacher_embeddings"}
        self.needs = frozenset(needs | {"position"} if memory == "bank" else needs)

    def build(self, sizes: Sizes) -> None:
        """Make the projections and the memory."""
        if sizes.teacher_dim is None:
            raise FacekdError("term 'crd' needs a teacher's embeddings; name a teacher.")
        self.student = nn.Linear(sizes.student_dim, self.width)
        self.teacher = nn.Linear(sizes.teacher_dim, self.width)
        self.register_buffer("log_mean", torch.zeros(2))  # log Z/N, of student and teacher anchors
        self.register_buffer("fixed", torch.tensor(False))
        if self.memory == "queue":
            self.past_student = Queue(random_directions(self.negatives, self.width))
            self.past_teacher = Queue(random_directions(self.negatives, self.width))
            self.past_labels = Queue(torch.full((self.negatives,), -1))
        elif sizes.num_images < 2:
            raise FacekdError("term 'crd' compares images with others, and the data has only one.")
        else:
            self.negatives = min(self.negatives, sizes.num_images - 1)
            self.bank = Bank(sizes.num_images, self.width, self.momentum)

    def forward(self, step: Step) -> Tensor:
        """Both directions, mean over the batch: a scalar."""
        student, teacher = unit(self.student(step.embeddings)), unit(self.teacher(step.teacher))
        company = self._company(step, student, teacher)
        scores = [
            self._scores(student, company.teacher_positive, company.teacher),
            self._scores(teacher, company.student_positive, company.student),
        ]
        log_mean = self.log_mean if self.fixed else _log_mean(scores, company.allowed)
        losses = [
            _nce(positive, negative, company.allowed, log)
            for (positive, negative), log in zip(scores, log_mean, strict=True)
        ]
        if self.training:
            self._remember(step, student.detach(), teacher.detach())
            self.log_mean.copy_(log_mean)
            self.fixed.fill_(True)
        return losses[0] + losses[1]

    def draw(self, batch: int, images: int) -> Tensor:
        """Images drawn as negatives, int64 on the CPU: (K,) for the batch or (batch, K)."""
        shape = (self.negatives,) if self.shared else (batch, self.negatives)
        return torch.randint(images, shape)

    def _company(self, step: Step, student: Tensor, teacher: Tensor) -> Company:
        if self.memory == "bank":
            drawn = self.draw(len(student), len(self.bank.labels)).to(student.device)
            return self.bank.company(step.position, step.labels, drawn)
        return Company(
            student.detach(),
            teacher.detach(),
            self.past_student.rows.clone(),  # a copy: the batch enters before backward
            self.past_teacher.rows.clone(),
            ~same_identity(step.labels, self.past_labels.rows),
        )

    def _scores(self, anchors: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, ...]:
        """(B,) and (B, K): v.u / tau."""
        if negatives.ndim == 2:
            products = anchors @ negatives.T
        else:
            products = torch.bmm(negatives, anchors[:, :, None])[:, :, 0]
        return (anchors * positives).sum(dim=1) / self.temperature, products / self.temperature

    def _remember(self, step: Step, student: Tensor, teacher: Tensor) -> None:
        if self.memory == "bank":
            self.bank.update(step.position, step.labels, student, teacher)
        else:
            self.past_student.push(student)
            self.past_teacher.push(teacher)
            self.past_labels.push(step.labels)


@torch.no_grad()
def _log_mean(scores: list[tuple[Tensor, ...]], allowed: Tensor) -> Tensor:
    """Log of the mean of exp(score) over positives and allowed negatives of all processes."""
    totals = [
        torch.cat([positive, negative[allowed]]).logsumexp(dim=0) for positive, negative in scores
    ]
    counted = (allowed.sum() + len(allowed)).to(totals[0].dtype)
    return gather(torch.stack(totals)[None]).logsumexp(dim=0) - gather(counted[None]).sum().log()


def _nce(positive: Tensor, negative: Tensor, allowed: Tensor, log_mean: Tensor) -> Tensor:
    """-log h and -log(1 - h), summed over a row's negatives, mean over rows."""
    kept = allowed.sum(dim=1)
    level = kept.clamp_min(1).to(positive.dtype).log() + log_mean  # log(K Z/N)
    pulls = F.softplus(level - positive) * (kept > 0)
    pushes = (F.softplus(negative - level[:, None]) * allowed).sum(dim=1)
    return (pulls + pushes).mean()


@preset("crd", paper="arXiv 1910.10699")
def crd(
    classification: NotNegative = 1.0,
    alpha: NotNegative = 0.0,
    beta: NotNegative = 0.8,
    temperature: Positive = 4.0,
    scale: Positive | None = None,
    memory: MemoryKind = "bank",
    negatives: Count = 16384,
    shared: bool | None = None,
    **margin: Any,
) -> list[TermSpec]:
    """CRD: classification x margin softmax + alpha x KL + beta x contrast of projections.

    The weights 1, 0, 0.8 are the authors' for CRD alone; `alpha: 1` is their CRD+KD, by which the
    student of SH-KD learns (arXiv 2201.06945), and needs the teacher's head.
    """
    soft = soft_settings(temperature, scale, margin)
    return [
        term_spec("margin", classification, scale=scale, **margin),
        term_spec("kd", alpha, **soft),
        term_spec("crd", beta, memory=memory, negatives=negatives, shared=shared),
    ]


@preset("crdth", paper="HeadSharingKD, arXiv 2201.06945")
def crdth(
    classification: NotNegative = 0.9,
    alpha: NotNegative = 1.0,
    beta: NotNegative = 0.8,
    delta: NotNegative = 0.02,
    temperature: Positive = 4.0,
    scale: Positive | None = None,
    memory: MemoryKind = "bank",
    negatives: Count = 16384,
    shared: bool | None = None,
    **margin: Any,
) -> list[TermSpec]:
    """CRD with TH-KD: CRD + KL on the student's head, and delta x KL on the teacher's.

    The weights are those of the authors' command for CIFAR-100 (`crdth`: gamma 0.9, alpha 1, beta
    0.8, delta 0.02); their code multiplies by beta what it divided by beta, so delta counts whole.
    """
    soft = soft_settings(temperature, scale, margin)
    return [
        *crd(classification, alpha, beta, temperature, scale, memory, negatives, shared, **margin),
        term_spec("kd", delta, head="teacher", **soft),
    ]
