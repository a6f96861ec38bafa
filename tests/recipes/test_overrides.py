"""`key.path=value` on the command line changes that key and nothing beside it."""

import pytest

from facekd.errors import FacekdError
from facekd.recipe_file import load_recipe

RECIPE = """
data: faces.rec
common:
  model: {backbone: mobilefacenet_w2, embedding_dim: 64}
  optimizer: {lr: 0.2}
stages:
  teacher: {model: {backbone: iresnet18}}
  student:
    teacher: teacher
    loss: l2e
"""


@pytest.fixture
def load(tmp_path):
    (tmp_path / "a.yaml").write_text(RECIPE)
    return lambda *overrides: load_recipe(str(tmp_path / "a.yaml"), overrides)


def test_a_key_of_a_shared_section(load):
    model = load("stages.student.model.input_size=64").stages["student"].model
    assert (model.backbone, model.embedding_dim, model.input_size) == ("mobilefacenet_w2", 64, 64)


def test_common_reaches_the_stages_that_do_not_say_otherwise(load):
    stages = load("stages.teacher.optimizer.lr=0.3", "common.optimizer.lr=0.1").stages
    assert stages["student"].optimizer.lr == 0.1
    assert stages["teacher"].optimizer.lr == 0.3


def test_a_section_in_its_short_form_keeps_its_word(load):
    recipe = load("data.holdout=5", "cache.mode=never", "stages.student.loss.beta=3")
    assert (recipe.data.source, recipe.data.holdout) == ("faces.rec", 5)
    teacher = recipe.stages["student"].teacher
    assert (teacher.model, recipe.cache.mode) == ("teacher", "never")
    assert recipe.stages["student"].loss == {"preset": "l2e", "beta": 3}


def test_a_stage_that_is_not_there(load):
    with pytest.raises(FacekdError, match=r"no stage 'studnt'; did you mean 'student'\?"):
        load("stages.studnt.optimizer.lr=0.1")
