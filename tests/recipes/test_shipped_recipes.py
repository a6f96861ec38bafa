"""Every shipped recipe is sound, and each of its stages takes a step, through the command itself.

The files a recipe asks for are generated: drawn faces in a .rec and in .bin files, an ONNX graph
and weights of random numbers. Stages that several recipes share word for word are trained once:
the finished files go into the next recipe's run folder, where facekd compares the settings itself.
"""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from tiny_classes import write_classes
from tiny_sets import SETS, write_cifar
from torchvision import datasets

from facekd.cli.train import main
from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.distill import expand
from facekd.model import FaceModel
from facekd.preprocess import STATISTICS
from facekd.recipe import Recipe, is_file
from facekd.recipe_file import load_recipe, shipped_recipes
from facekd.train.build import build_training

SMALL = 32  # pixels, where every network of a recipe is its own
SMALL_BATCH = [
    f"stages.{stage}.batch_size=4" for stage in ("teacher", "alone", "kd", "kdth", "crdth")
]
PAPER_SCALE = [name for name in shipped_recipes() if name.startswith("ms1mv")]


def face_rec(path, people, each):
    """Drawn faces in insightface's layout: header record, images, one range record a person."""
    faces = SyntheticFaces(people, each, size=SMALL)
    path.parent.mkdir(exist_ok=True)
    end = len(faces) + 1
    with RecordWriter(path) as writer:
        header = np.array([end, end + people], np.float32)
        writer.write(0, pack(IRHeader(header, 0), b""))
        for i, label in enumerate(faces.labels):
            writer.write(i + 1, pack(IRHeader(float(label), i + 1), encode_jpeg(faces.image(i))))
        for k in range(people):
            bounds = np.array([1 + k * each, 1 + (k + 1) * each], np.float32)
            writer.write(end + k, pack(IRHeader(bounds, end + k), b""))


def bench_files(folder):
    """Twelve genuine and twelve impostor pairs of the same few images."""
    faces = SyntheticFaces(4, 3, size=SMALL, split="eval")
    encoded = [encode_jpeg(faces.image(i)) for i in range(len(faces))]
    genuine = [(i, i + 1 - 3 * (i % 3 == 2)) for i in range(12)]
    pairs = [*genuine, *((i, (i + 3) % 12) for i in range(12))]
    images = [encoded[i] for pair in pairs for i in pair]
    for name in ("lfw", "cfp_fp", "agedb_30"):
        write_bin(folder / f"{name}.bin", images, [k < 12 for k in range(24)])


def teacher_graph(path, size=112, width=128):
    """A convolution over the whole image, as the ONNX teacher."""
    weight = np.random.default_rng(0).standard_normal((width, 3, size, size)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["data", "weight"], ["map"]),
            helper.make_node("Flatten", ["map"], ["out"]),
        ],
        "teacher",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, size, size])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", width])],
        [numpy_helper.from_array(weight * 1e-4, "weight")],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """FACEKD_DATA with everything that shipped recipes name, small."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("ms1mv2", "ms1mv3"):
        face_rec(folder / name / "train.rec", people=4, each=3)
        bench_files(folder / name)
    face_rec(folder / "cfp_train" / "train.rec", people=44, each=3)
    (folder / "weights").mkdir()
    teacher_graph(folder / "weights" / "mobilefacenet_arcface128.onnx")
    FaceModel.create("mobilefacenet", embedding_dim=128).save(folder / "weights" / "start.pt")
    mean, std = STATISTICS["imagenet"]
    for name in ("resnet18", "resnet50"):
        model = FaceModel.create(f"torchvision/{name}", input_size=64, mean=mean, std=std)
        model.save(folder / "weights" / f"{name}.pt")
    write_classes(folder / "cifar10_12k", each=4, judged="test")
    for write in SETS.values():
        write(folder)
    with pytest.MonkeyPatch.context() as patch:
        write_cifar(folder, datasets.CIFAR100, patch, each=100, judged=8)
        yield folder


@pytest.fixture(autouse=True)
def _one_step_world(data, monkeypatch):
    """Batch norms take over their first batch's statistics whole.

    With a tenth of them, as usual, the embeddings of a hundred layers overflow after one step.
    """

    def build(*args):
        run = build_training(*args)
        for module in run.model.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.momentum = 1.0
        return run

    monkeypatch.setattr("facekd.train.stages.build_training", build)
    monkeypatch.setenv("FACEKD_DATA", str(data))
    threads = torch.get_num_threads()
    torch.set_num_threads(min(2, threads))
    yield
    torch.set_num_threads(threads)


def one_step(recipe: Recipe) -> list[str]:
    """Overrides under which each stage takes a single step, and which change nothing else."""
    overrides = ["data.workers=0"]
    if recipe.data.source == "synthetic":
        people = 6 + recipe.data.holdout
        overrides += [f"data.synthetic.identities={people}"]
        overrides += ["data.synthetic.images_per_identity=3"]
    faces = all(stage.task == "face" for stage in recipe.stages.values())
    any_file = any(is_file(s) for stage in recipe.stages.values() for s in stage.sources().values())
    for name, stage in recipe.stages.items():
        at = f"stages.{name}"
        overrides += [f"{at}.batch_size=4", f"{at}.schedule.epochs=0.001"]
        overrides += [f"{at}.schedule.warmup_epochs=0", f"{at}.device=cpu", f"{at}.precision=fp32"]
        if faces and not any_file:
            overrides.append(f"{at}.model.input_size={SMALL}")
        if "holdout" in stage.validation.benches:
            overrides.append(f"{at}.validation.pairs=20")
        if "synthetic" in stage.validation.benches:  # thousands of images to draw
            overrides.append(f"{at}.validation.benches=[]")
    return overrides


def stand_ins(recipe: Recipe, data: Path) -> list[str]:
    """A .params file cannot be written here; our own weights of the same network stand for it."""
    return [
        f"stages.{name}.start_from={data / 'weights' / 'start.pt'}"
        for name, stage in recipe.stages.items()
        if (stage.start_from or "").endswith(".params")
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Where finished stages wait for other recipes that share them."""
    folder = tmp_path_factory.mktemp("finished")
    yield folder
    shutil.rmtree(folder)


def shared_key(recipe: Recipe, stage: str) -> str:
    """Equal for stages that are word for word the same, and so are all stages they build on."""
    settings = recipe.stages[stage]
    below = [shared_key(recipe, s) for s in settings.sources().values() if not is_file(s)]
    return json.dumps([stage, recipe.data.model_dump(), settings.model_dump(), below], default=str)


@pytest.mark.parametrize("name", SETS)
def test_fine_grained_sets(name, data, tmp_path, capsys):
    """The recipe is sound for each of the sets that its head names."""
    recipe, source = "finegrained_resnet50_resnet18", f"data.source={name}:{data}"
    assert main([recipe, source, f"output={tmp_path}", "--check", *SMALL_BATCH]) == 0
    told = capsys.readouterr().out
    assert f"{name}:{data}: 3 classes, 6 images; 6 validation images" in told
    assert "; a projector 512 -> 2048" in told
    text = shipped_recipes()[recipe].read_text()
    assert f"{name}:${{FACEKD_DATA}}" in text


def test_cifar_100_has_the_authors_settings(data):
    """Tables of arXiv 2201.06945's code: README, train_student.py, run_cifar_distill.sh."""
    recipe = load_recipe("cifar100_resnet32x4_resnet8x4")
    weights = {
        "teacher": [("margin", 1.0)],
        "alone": [("margin", 1.0)],
        "kd": [("margin", 0.1), ("kd", 0.9)],
        "crd": [("margin", 1.0), ("crd", 0.8)],
        "kdth": [("margin", 1.0), ("kd", 1.5), ("kd", 0.02)],
        "crdth": [("margin", 0.9), ("kd", 1.0), ("crd", 0.8), ("kd", 0.02)],
        "sh_teacher": [("margin", 1.0)],
        "sh_kd": [("margin", 1.0), ("kd", 1.0), ("crd", 0.8)],
    }
    assert list(recipe.stages) == list(weights)
    for name, stage in recipe.stages.items():
        specs = expand(stage.loss, stage.margin)
        assert [(spec["term"], spec["weight"]) for spec in specs] == weights[name]
        assert all(spec.get("temperature", 4.0) == 4.0 for spec in specs)
        assert all(spec.get("negatives", 16384) == 16384 for spec in specs)
        assert stage.schedule.milestones == (150, 180, 210)
        assert (stage.schedule.epochs, stage.schedule.gamma) == (240, 0.1)
        settings = stage.optimizer
        assert (settings.lr, settings.momentum, settings.weight_decay) == (0.05, 0.9, 5e-4)
        assert settings.decay_all
        assert settings.clip_norm == 0
        assert stage.batch_size == 64
        network = "resnet32x4" if "teacher" in name else "resnet8x4"
        assert stage.model.backbone == network
    assert recipe.data.pad == 4
    assert recipe.stages["sh_teacher"].head.frozen


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_stage_takes_a_step(name, data, finished, tmp_path, capsys):
    recipe = load_recipe(name)
    overrides = [f"output={tmp_path}", f"cache.dir={finished}", *one_step(recipe)]
    overrides += stand_ins(recipe, data)
    recipe = load_recipe(name, overrides)

    assert main([name, *overrides, "--check"]) == 0
    told = capsys.readouterr().out
    for stage in recipe.stages:
        assert f"stage {stage}\n" in told
    assert not any(tmp_path.iterdir()), "--check trains and writes nothing"

    keep = {stage: finished / f"{abs(hash(shared_key(recipe, stage)))}" for stage in recipe.stages}
    reused = [stage for stage in recipe.stages if keep[stage].exists()]
    for stage in reused:
        shutil.copytree(keep[stage], tmp_path, copy_function=os.link, dirs_exist_ok=True)
    assert main([name, *overrides]) == 0
    told = capsys.readouterr().out
    for stage in recipe.stages:
        summary = json.loads((tmp_path / stage / "summary.json").read_text())
        assert summary["steps"] == 1
        assert (f"stage {stage!r} is finished: " in told) == (stage in reused)
        assert (tmp_path / f"{stage}.pt").is_file()
        benches = {Path(b).stem for b in recipe.stages[stage].validation.benches}
        assert summary["validation"].keys() == benches
        with (tmp_path / stage / "metrics.csv").open() as rows:
            assert np.isfinite(
                [float(value) for value in next(csv.DictReader(rows)).values()]
            ).all()
        if stage not in reused and name in PAPER_SCALE:
            keep[stage].mkdir()
            for file in tmp_path.glob(f"{stage}.*"):
                os.link(file, keep[stage] / file.name)
            shutil.copytree(tmp_path / stage, keep[stage] / stage, copy_function=os.link)
    shutil.rmtree(tmp_path)


def test_all_pairs_of_the_paper_are_there():
    wanted = {
        f"{data}_{teacher}_{student}"
        for data in ("ms1mv2", "ms1mv3")
        for teacher in ("r50", "r100")
        for student in ("mobilefacenet", "mobilefacenet_w2")
    }
    assert set(PAPER_SCALE) == wanted


@pytest.mark.parametrize("name", PAPER_SCALE)
def test_a_recipe_does_what_its_name_says(name, data):
    recipe = load_recipe(name)
    dataset, teacher, student = name.split("_", 2)
    assert recipe.data.source == f"{data}/{dataset}/train.rec"
    assert recipe.output == f"runs/{name}"
    assert list(recipe.stages) == ["teacher", "alone", "l2e", "th_kd", "sh_teacher", "sh_kd"]
    for stage, settings in recipe.stages.items():
        backbone = f"i{teacher.replace('r', 'resnet')}" if "teacher" in stage else student
        assert settings.model.backbone == backbone
        assert settings.model.embedding_dim == 512
        assert all(b.startswith(f"{data}/{dataset}/") for b in settings.validation.benches)


@pytest.mark.parametrize("name", PAPER_SCALE)
def test_methods_differ_in_nothing_but_the_method(name):
    """Same network, data, schedule and optimizer for every student, and for both teachers."""
    stages = load_recipe(name).stages
    method = {"loss", "teacher", "head"}
    for first, others in {"alone": ("l2e", "th_kd", "sh_kd"), "teacher": ("sh_teacher",)}.items():
        for other in others:
            assert stages[other].model_dump(exclude=method) == stages[first].model_dump(
                exclude=method
            )
    assert stages["sh_teacher"].loss == stages["teacher"].loss
    assert stages["sh_kd"].loss == stages["l2e"].loss


def test_one_stage_and_what_it_builds_on(capsys, tmp_path):
    name = "ms1mv3_r50_mobilefacenet"
    overrides = [f"output={tmp_path}", *one_step(load_recipe(name))]
    assert main([name, *overrides, "--stage", "th_kd", "--check"]) == 0
    told = capsys.readouterr().out
    assert [line for line in told.splitlines() if line.startswith("stage ")] == [
        "stage teacher",
        "stage th_kd",
    ]
