"""facekd.distill: a stage trained in one call is the one that facekd-train would train."""

import numpy as np
import pytest
import torch
from tiny_runs import COMMON, DATA, recipe, same_weights, tiny_network  # noqa: F401

import facekd
from facekd import FacekdError, FaceModel
from facekd.train.stages import run_recipe

STUDENT = COMMON["model"]
SETTINGS = {k: v for k, v in COMMON.items() if k not in ("model", "loss")}
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.fixture
def teacher(tmp_path, tiny_network):  # noqa: F811
    path = tmp_path / "teacher.pt"
    torch.manual_seed(1)
    FaceModel.create("tiny", 8, 32).save(path)
    return path


def distill(teacher, output, **other):
    asked = {"data": DATA, "student": STUDENT, "loss": "l2e", **SETTINGS, **other}
    return facekd.distill(teacher, output=output, **asked)


def test_it_is_facekd_train(tmp_path, teacher, capsys):
    student = distill(teacher, tmp_path / "call", seed=3)
    stages = {"student": {"teacher": str(teacher), "loss": "l2e"}}
    (path,) = run_recipe(recipe(tmp_path, stages, seed=3))
    assert same_weights(tmp_path / "call" / "student.pt", path)
    assert np.array_equal(student.embed(IMAGES), facekd.load_model(path).embed(IMAGES))
    assert not student.training
    capsys.readouterr()
    again = distill(teacher, tmp_path / "call", seed=3)
    assert "is finished" in capsys.readouterr().out
    assert np.array_equal(student.embed(IMAGES), again.embed(IMAGES))


def test_sections_may_be_given_in_their_short_forms(tmp_path, teacher):
    loss = ["l2e", {"term": "rkd", "weight": 1.0}]
    given = {"model": teacher, "head": "rebuild"}
    student = distill(given, tmp_path / "run", loss=loss, schedule={"epochs": 1})
    assert student.description["backbone"]["name"] == "tiny"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"bach_size": 8}, "unknown key 'stages.student.bach_size'; did you mean 'batch_size'"),
        ({"loss": "l2f"}, "'l2f'.*did you mean 'l2e'"),
        ({"data": "no/such/folder"}, "no/such/folder"),
        ({"student": "mobilfacenet"}, "did you mean 'mobilefacenet'"),
        ({"batch_size": "many"}, "batch_size"),
        ({"schedule": {"epoch": 1}}, "did you mean 'epochs'"),
    ],
)
def test_a_mistake_is_named_before_anything_is_trained(tmp_path, teacher, other, words):
    with pytest.raises(FacekdError, match=words) as told:
        distill(teacher, tmp_path / "run", **other)
    assert " line " not in str(told.value)
    assert not (tmp_path / "run").exists()


def test_other_settings_in_the_same_folder_are_refused(tmp_path, teacher):
    distill(teacher, tmp_path / "run", schedule={"epochs": 1})
    with pytest.raises(FacekdError, match="epochs"):
        distill(teacher, tmp_path / "run", schedule={"epochs": 2})


def test_a_teacher_is_a_file(tmp_path, teacher):
    with pytest.raises(FacekdError, match="the teacher is a FaceModel; give its file"):
        distill(facekd.load_model(teacher), tmp_path / "run")
    with pytest.raises(FacekdError, match=r"gone\.onnx"):
        distill("gone.onnx", tmp_path / "run")


def test_the_package_of_the_losses_is_still_one():
    import facekd.distill as package
    from facekd.distill.term import TERMS

    assert package.TERMS is TERMS
    assert facekd.distill is package
