"""Judging a finished run of `task: classification` on its validation images."""

from facekd.distill.readout import name_classes
from facekd.errors import FacekdError
from facekd.eval.classification import Classification, classify
from facekd.eval.words import percent
from facekd.study.file import StudyBench
from facekd.study.jobs import Job
from facekd.study.judged import Judged, pack, written
from facekd.train.build import pick_device
from facekd.train.class_model import load_class_model
from facekd.train.stage_plan import StagePlan
from facekd.train.validate import VAL


def class_words(name: str, bench: StudyBench, plan: StagePlan) -> str:
    """What the images are, in words that no machine's path is in; part of a run's settings.

    Raises:
        FacekdError: The bench is none of classes.
    """
    source = bench.source or name
    if source != VAL:
        raise FacekdError(
            f"bench {name!r}: source {source!r}, and runs with task: classification are judged on "
            f"their validation images; use source: {VAL}."
        )
    images = plan.holdout
    assert images is not None  # a classification stage always has some
    share = bench.teacher_head
    head = f", {share:g} of the teacher's head where the loss reads it" if share else ""
    classes = f"{len(images)} images of {images.num_classes} classes"
    return f"{classes}{head}, {images.fingerprint} {images.label_map.hash}"


def judge_classes(job: Job, bench: StudyBench) -> Judged:
    """Name the classes of the validation images with a finished network.

    Raises:
        FacekdError: An image does not decode, or a file of the stage is damaged.
    """
    share = bench.teacher_head if "teacher_head" in job.plan.needs else 0.0
    model = load_class_model(job.model_path, share, pick_device(job.plan.stage))
    images = job.plan.holdout
    assert images is not None
    scores = name_classes(model.network, model.readout, images, 0).numpy()
    found = classify(scores, images.labels, images.label_map.names)
    heads = job.summary().get("heads")
    alike = {"head_cosine": heads["cosine_mean"]} if heads else {}
    return Judged({**_numbers(found), **written(alike)}, f"{percent(found.top1.value)} %")


def _numbers(found: Classification) -> dict[str, str]:
    """Top-1 with Wilson's interval, top-5, the mean over classes, and one bit an image."""
    low, high = found.top1.interval or (None, None)
    values = {
        "accuracy": found.top1.value,
        "accuracy_low": low,
        "accuracy_high": high,
        "top5": found.top5.value if found.top5 else None,
        "mean_per_class": found.mean_per_class,
    }
    return written(values) | {"correct": pack(found.correct)}
