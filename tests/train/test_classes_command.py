"""`facekd-eval --classes`: the report of finished classification stages."""

import csv
import json

import numpy as np
import pytest
import torch
from tiny_classes import CLASSES, NAMES, write_classes
from tiny_runs import recipe

from facekd.cli.eval import main
from facekd.data.classes import load_judged
from facekd.heads.classifier import load_head
from facekd.train.class_model import load_class_model
from facekd.train.stages import run_recipe

STAGES = {
    "teacher": {},
    "wide": {"model": {**CLASSES["model"], "embedding_dim": 12}},
    "taught": {"teacher": "teacher", "loss": {"preset": "kdth", "beta": 1.0}},
    "narrow": {  # through a projector
        "teacher": "wide",
        "loss": {"preset": "kdth", "beta": 1.0},
        "validation": {"benches": ["val"], "teacher_head": 1.0},
    },
    "faces": {"task": "face", "data": {"source": "synthetic", "synthetic": {"identities": 4}}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    write_classes(folder / "set")
    common = {**CLASSES, "loss": "softmax", "schedule": {"epochs": 4}}
    data = {"source": str(folder / "set")}
    run_recipe(recipe(folder, STAGES, data=data, common=common))
    return folder


def report(folder, *arguments):
    source = f"{folder}/set"
    assert main(["--classes", source, "--out", f"{folder}/report", *arguments]) == 0
    return json.loads((folder / "report" / "results.json").read_text())


def slow(folder, name, share):
    """Image by image, head by head, from the files themselves."""
    model = load_class_model(folder / "run" / f"{name}.pt")
    images = load_judged(f"{folder}/set", model.label_map, 32)
    own, _ = load_head(folder / "run" / f"{name}.head.safetensors")
    heads = [(1 - share, own)]
    if share:
        theirs, _ = load_head(folder / "run" / f"{name}.teacher.head.safetensors")
        heads.append((share, theirs))
    right = 0
    for i in range(len(images)):
        z = torch.from_numpy(model.network.embed(images[i][None]))[0].double()
        p = torch.zeros(len(NAMES), dtype=torch.float64)
        for part, head in heads:
            p += part * torch.softmax(head.weight.double() @ z + head.bias.double(), 0)
        right += int(p.argmax()) == images.labels[i]
    return right / len(images)


def test_report(trained, capsys):
    run = trained / "run"
    found = report(trained, "--model", f"{run}/teacher.pt", "--model", f"mine={run}/taught.pt")
    told = capsys.readouterr().out
    assert "24 images of 6 classes" in told
    first, second = found["models"]
    assert (first["name"], second["name"]) == ("teacher", "mine")
    assert found["classes"] == list(NAMES)
    assert first["top1"]["value"] == pytest.approx(slow(trained, "teacher", 0))
    assert second["top1"]["value"] == pytest.approx(slow(trained, "taught", 0))
    assert second["difference"]["to"] == "teacher"
    gain = second["top1"]["value"] - first["top1"]["value"]
    assert second["difference"]["value"] == pytest.approx(gain)
    assert first["heads"] is None
    own, theirs = (
        load_head(run / f"taught.{which}safetensors")[0] for which in ("head.", "teacher.head.")
    )
    cosines = torch.cosine_similarity(own.weight, theirs.weight)
    assert second["heads"]["cosine_mean"] == pytest.approx(float(cosines.mean()), abs=1e-5)
    distance = torch.linalg.vector_norm(own.bias - theirs.bias)
    assert second["heads"]["bias_l2"] == pytest.approx(float(distance), abs=1e-5)
    summary = json.loads((run / "taught" / "summary.json").read_text())
    assert summary["heads"] == second["heads"]
    assert np.sum(second["confusion"]) == 24
    with (trained / "report" / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [*NAMES, *NAMES]
    hits = sum(int(row["hits"]) for row in rows if row["model"] == "mine")
    assert hits == second["top1"]["hits"]
    for name in ("teacher", "mine"):
        for suffix in ("png", "svg"):
            assert (trained / "report" / f"confusion-{name}.{suffix}").stat().st_size > 1000


@pytest.mark.parametrize("share", ["0.5", "1"])
def test_the_heads_mixed(trained, share):
    arguments = ("--model", f"{trained}/run/taught.pt", "--no-figures", "--teacher-head", share)
    (found,) = report(trained, *arguments)["models"]
    assert found["top1"]["value"] == pytest.approx(slow(trained, "taught", float(share)))
    assert ("0.5" in found["read_by"]) == (share == "0.5")


def test_the_teachers_head_through_a_projector_is_one_head(trained):
    """What the stage itself said by projector and teacher's head, the saved head says again."""
    head, _ = load_head(trained / "run" / "narrow.teacher.head.safetensors")
    assert (head.num_classes, head.embedding_dim) == (6, 8)
    summary = json.loads((trained / "run" / "narrow" / "summary.json").read_text())
    (found,) = report(
        trained, "--model", f"{trained}/run/narrow.pt", "--no-figures", "--teacher-head", "1"
    )["models"]
    assert found["top1"]["value"] == pytest.approx(summary["validation"]["val"]["accuracy"])
    assert found["heads"]["cosine_mean"] < 1


def test_another_baseline(trained):
    run = trained / "run"
    models = ("--model", f"{run}/teacher.pt", "--model", f"{run}/taught.pt", "--no-figures")
    found = report(trained, *models, "--baseline", "taught")["models"]
    assert [model["name"] for model in found] == ["taught", "teacher"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "{run}/faces.pt"], "was not trained with task: classification"),
        (["--model", "{run}/none.pt"], "does not exist"),
        ([], "give --model FILE"),
        (["--model", "{run}/taught.pt", "--bench", "lfw"], "leave out --bench"),
        (["--model", "{run}/taught.pt", "--no-flip"], "leave out --no-flip"),
        (["--model", "{run}/teacher.pt", "--teacher-head", "0.5"], "reads no teacher's head"),
        (["--model", "{run}/taught.pt", "--model", "{run}/taught.pt"], "both named 'taught'"),
        (["--model", "{run}/taught.pt", "--baseline", "x"], "no model of that name"),
    ],
)
def test_mistakes(trained, arguments, words, capsys):
    arguments = [text.format(run=trained / "run") for text in arguments]
    assert main(["--classes", f"{trained}/set", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_images_of_other_classes(trained, tmp_path, capsys):
    write_classes(tmp_path, each=2, names=("ant", "yak"))
    assert main(["--classes", str(tmp_path), "--model", f"{trained}/run/taught.pt"]) == 2
    assert "a class 'yak' that the training images have not" in capsys.readouterr().err
    assert main(["--classes", "nowhere", "--model", f"{trained}/run/taught.pt"]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err


def test_a_share_without_classes_is_refused(capsys):
    assert main(["--bench", "synthetic", "--teacher-head", "0.5"]) == 2
    assert "give --classes DATA" in capsys.readouterr().err


def test_files_of_two_stages_are_not_mixed(trained, tmp_path, capsys):
    run = trained / "run"
    for name in ("narrow.pt", "narrow.label_map.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    wide = (run / "wide.head.safetensors").read_bytes()
    (tmp_path / "narrow.head.safetensors").write_bytes(wide)
    assert main(["--classes", f"{trained}/set", "--model", f"{tmp_path}/narrow.pt"]) == 2
    assert "copy the files of one stage together" in capsys.readouterr().err
