"""What a teacher costs a training step, and what is left of it with cached embeddings.

A step is what the training loop does with a batch that is loaded: forward, backward, clipping,
optimizer. mobilefacenet_w2 (512-d) learns from batches of 64 with ArcFace over 85,742 classes; the
distilled steps add KL to the softmax of the teacher's own classifier, and L2E. The peers' way is
plain torch as published training scripts have it: float32, NCHW, the teacher's forward pass in
every step, normalised copies of both classifiers' weights, no clipping. All networks have random
weights, and the cache random rows: a step takes the same time with any.

The ways take turns, the student alone and the cached step several times a round; each ratio is of
steps of the same round, and the median over the rounds is told. The cached step is one and the
same under any teacher. On two quiet cores a round takes about 80 s.

    python benchmarks/kd_step.py [--rounds 3] [--batch 64] [--classes 85742] [--json FILE]
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from facekd.data.loader import Batch, make_loader
from facekd.files import write_text
from facekd.heads.classifier import Classifier
from facekd.model import FaceModel, load_model
from facekd.recipe import Recipe
from facekd.teacher.cache import EmbeddingCache
from facekd.train.build import build_training
from facekd.train.checkpoint import Training
from facekd.train.loop import Around, take_step
from facekd.train.plan import plan_recipe
from facekd.train.stage_plan import StagePlan

CPU = torch.device("cpu")
STUDENT = "mobilefacenet_w2"
TEACHERS = ("iresnet50", "iresnet100")
BATCHES = 3
Step = Callable[[Batch], object]


def save_teacher(name: str, path: Path) -> None:
    """Random weights, and batch norms that know their inputs, so that nothing overflows."""
    model = FaceModel.create(name).train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(torch.randint(0, 256, (4, 3, 112, 112), dtype=torch.uint8))
    model.save(path)


def plans(folder: Path, batch: int, classes: int) -> tuple[StagePlan, StagePlan]:
    """The stages "alone" and "distilled" of a recipe over synthetic faces."""
    for name in TEACHERS:
        save_teacher(name, folder / f"{name}.pt")
    common = {"model": {"backbone": STUDENT}, "batch_size": batch, "device": "cpu"}
    teacher = {"model": str(folder / f"{TEACHERS[-1]}.pt"), "head": "rebuild"}
    recipe = Recipe.model_validate(
        {
            "output": str(folder / "run"),
            "data": {"synthetic": {"identities": classes, "images_per_identity": 1}, "workers": 0},
            "stages": {
                "alone": common | {"loss": "arcface"},
                "distilled": common | {"teacher": teacher, "loss": ["kd", {"term": "l2e"}]},
            },
        }
    )
    alone, distilled = plan_recipe(recipe)
    return alone, distilled


def made_cache(folder: Path, images: int) -> EmbeddingCache:
    """A cache file of random rows, mapped as the real one is."""
    rows = np.random.default_rng(0).standard_normal((images, 2, 512), np.float32)
    np.save(folder / "cache.npy", rows.astype(np.float16))
    return EmbeddingCache(np.load(folder / "cache.npy", mmap_mode="r"))


def ours(
    plan: StagePlan,
    run: Training,
    teacher: FaceModel | None = None,
    cache: EmbeddingCache | None = None,
) -> Step:
    """A step of the training loop."""
    around = Around(plan, CPU, teacher, cache, lambda: None, lambda: None)
    return lambda batch: take_step(run, around, batch)


def with_stage(plan: StagePlan, **settings: Any) -> StagePlan:
    """The plan with other settings of its stage."""
    return replace(plan, stage=plan.stage.model_copy(update=settings))


def peers_way(head: torch.Tensor, classes: int) -> Callable[[FaceModel, Batch], None]:
    """The peers' step under any teacher: see the module's text."""
    student = FaceModel.create(STUDENT).train()
    weight = torch.nn.Parameter(torch.randn(classes, 512) * 0.01)
    optimizer = torch.optim.SGD(
        [*student.parameters(), weight], lr=0.1, momentum=0.9, weight_decay=5e-4
    )

    def step(teacher: FaceModel, batch: Batch) -> None:
        images = batch.images.contiguous()
        with torch.no_grad():
            taught = F.normalize(teacher(images))
            targets = F.softmax(F.linear(taught, F.normalize(head)) * 64 / 4, dim=1)
        embeddings = F.normalize(student(images))
        cosines = F.linear(embeddings, F.normalize(weight)).clamp(-1, 1)
        rows = torch.arange(len(images))
        target = cosines[rows, batch.labels]
        margin = torch.cos(torch.acos(target.clamp(-0.999, 0.999)) + 0.5)
        logits = cosines.index_put((rows, batch.labels), margin) * 64
        loss = F.cross_entropy(logits, batch.labels)
        softened = F.log_softmax(cosines * 64 / 4, dim=1)
        loss = loss + 16 * F.kl_div(softened, targets, reduction="batchmean")
        loss = loss + (embeddings - taught).square().sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def has_bf16() -> bool:
    """Whether the processor multiplies in bfloat16 (as Linux tells it)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags))


def steps(folder: Path, batch: int, classes: int) -> tuple[dict[str, Step], StagePlan, str]:
    """Every way by name, the plan, and the precision that `auto` settles on."""
    alone, distilled = plans(folder, batch, classes)
    teachers = {name: load_model(folder / f"{name}.pt") for name in TEACHERS}
    head = torch.randn(classes, 512)
    run = build_training(alone, CPU, None, None, None)
    precision = run.precision
    plain = with_stage(alone, channels_last=False)
    teachers_head = Classifier.from_weight(head)
    taught = build_training(distilled, CPU, None, teachers_head, precision)
    ways: dict[str, Step] = {
        "student_alone": ours(alone, run),
        "cached": ours(distilled, taught, cache=made_cache(folder, classes)),
        "student_float32_nchw": ours(plain, build_training(plain, CPU, None, None, "fp32")),
    }
    if has_bf16():
        ways["student_bf16"] = ours(alone, build_training(alone, CPU, None, None, "bf16"))
    peers = peers_way(head, classes)
    for name, teacher in teachers.items():
        assert isinstance(teacher, FaceModel)
        ways[f"online_{name}"] = ours(distilled, taught, teacher)
        ways[f"peers_{name}"] = partial(peers, teacher)
    return ways, distilled, precision


def turns(names: list[str]) -> list[str]:
    """The order of one round: the short steps at its beginning, in its middle and at its end."""
    short = [name for name in names if not name.startswith(("online", "peers"))]
    long = [name for name in names if name not in short]
    half = len(long) // 2
    return [*short, *long[:half], *short, *long[half:]]


def measure(batch: int, classes: int, rounds: int) -> dict[str, object]:
    """Seconds of a step, and the ratios, higher is faster."""
    with tempfile.TemporaryDirectory() as name:
        ways, plan, precision = steps(Path(name), batch, classes)
        views = [
            [(i, i % 2) for i in range(s, s + batch)] for s in range(0, BATCHES * batch, batch)
        ]
        batches = list(make_loader(plan.faces, views, plan.augment, workers=0))
        seconds: dict[str, list[list[float]]] = {way: [] for way in ways}
        for number in range(rounds + 1):
            for times in seconds.values():
                times.append([])
            order = turns(list(ways)) if number else [w for w in ways if "iresnet" not in w]
            desc = f"round {number} of {rounds}" if number else "warm-up"
            for turn, way in enumerate(tqdm(order, desc=desc, unit="step")):
                start = perf_counter()
                ways[way](batches[turn % BATCHES])
                seconds[way][-1].append(perf_counter() - start)
    rounds_of = {way: [median(times) for times in taken[1:]] for way, taken in seconds.items()}

    def faster(way: str, than: str) -> float:
        return median(b / a for a, b in zip(rounds_of[way], rounds_of[than], strict=True))

    result: dict[str, object] = {f"{way}_s": median(t) for way, t in rounds_of.items()}
    result |= {
        "cached_over_student_alone": faster("cached", "student_alone"),
        "cached_over_peer_way": faster("cached", "peers_iresnet100"),
        "cached_over_peer_way_iresnet50": faster("cached", "peers_iresnet50"),
        "online_over_peer_way": faster("online_iresnet100", "peers_iresnet100"),
        "auto_over_float32_nchw": faster("student_alone", "student_float32_nchw"),
    }
    if "student_bf16" in ways:
        result["bf16_over_float32_nchw"] = faster("student_bf16", "student_float32_nchw")
    return result | {"precision_auto": precision, "processor_has_bf16": has_bf16()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--classes", type=int, default=85_742)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    result = measure(arguments.batch, arguments.classes, arguments.rounds)
    result |= {
        "batch": arguments.batch,
        "classes": arguments.classes,
        "rounds": arguments.rounds,
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    for name, value in result.items():
        print(f"{name:32} {value:,.3f}" if isinstance(value, float) else f"{name:32} {value}")
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
