import pytest

from facekd.errors import FacekdError
from facekd.recipe import select_stages
from facekd.recipe_file import load_recipe
from facekd.train.plan import plan_recipe


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe's text and load it, with overrides."""

    def load(text, *overrides):
        (tmp_path / "mine.yaml").write_text(text)
        return load_recipe(str(tmp_path / "mine.yaml"), overrides)

    return load


THREE = """common:
  model: {backbone: mbf, embedding_dim: 64, args: {width: 0.5}}
  optimizer:
    lr: 0.2
    momentum: 0.8
stages:
  teacher: {}
  student:
    teacher: teacher
    loss: th_kd
    optimizer:
      lr: 0.3
  other:
    model: {backbone: r18}
"""


def test_defaults(recipe):
    made = recipe("stages: {a: }")
    assert made.output == "runs/mine"
    assert made.data.source == "synthetic"
    stage = made.stages["a"]
    assert (stage.loss, stage.batch_size, stage.precision) == ("arcface", 128, "auto")
    assert stage.optimizer.weight_decay == 5e-4


def test_numbers_and_switches_as_meant(recipe):
    made = recipe(
        "data: {flip: off}\n"
        "stages:\n  a:\n    optimizer: {lr: 1e-4, nesterov: on}\n    channels_last: no\n"
        "    model: {args: {affine: off}}\n"
        "    loss: [{preset: arcface, straight_through: on}, {term: kd, weight: 1e-2}]\n"
    )
    stage = made.stages["a"]
    assert made.data.flip is False
    assert (stage.optimizer.lr, stage.optimizer.nesterov, stage.channels_last) == (
        1e-4,
        True,
        False,
    )
    assert stage.model.args == {"affine": False}
    assert stage.loss == [
        {"preset": "arcface", "straight_through": True},
        {"term": "kd", "weight": 1e-2},
    ]


def test_common_is_merged_and_whole_sections_replaced(recipe):
    stages = recipe(THREE).stages
    assert (stages["student"].optimizer.lr, stages["student"].optimizer.momentum) == (0.3, 0.8)
    assert stages["teacher"].optimizer.lr == 0.2
    assert stages["student"].model.args == {"width": 0.5}
    other = stages["other"].model
    assert (other.backbone, other.embedding_dim, other.args) == ("r18", None, {})


def test_short_forms(recipe):
    made = recipe("data: faces/x.rec\nstages: {a: {}, b: {teacher: a, head: a, start_from: a}}")
    assert made.data.source == "faces/x.rec"
    stage = made.stages["b"]
    assert stage.sources() == {"teacher": "a", "head": "a", "start_from": "a"}
    assert stage.head.frozen


def test_overrides_win_and_keep_what_stands_beside(recipe):
    made = recipe(
        "data: faces/x.rec\n" + THREE,
        "data.holdout=20",
        "common.optimizer.lr=1e-3",
        "stages.student.model.embedding_dim=32",
        "stages.student.loss.beta=3",
        "seed=7",
    )
    assert (made.data.source, made.data.holdout, made.seed) == ("faces/x.rec", 20, 7)
    assert made.stages["teacher"].optimizer.lr == 1e-3
    assert made.stages["student"].optimizer.lr == 0.3
    model = made.stages["student"].model
    assert (model.backbone, model.embedding_dim, model.args) == ("mbf", 32, {"width": 0.5})
    assert made.stages["student"].loss == {"preset": "th_kd", "beta": 3}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed", "'seed' is not key.path=value"),
        ("=3", "is not key.path=value"),
        ("stages.studnt.batch_size=4", "no stage 'studnt'; did you mean 'student'"),
        ("sed=1", r"unknown key 'sed'; did you mean 'seed'\?"),
        ("stages.student.optimizer.lrr=1", r"unknown key .*lrr'; did you mean 'lr'\?"),
        ("stages.student.optimizer.lr=abc", "command line: .*lr: .*found 'abc'"),
        ("stages.student.loss=[1, 2", "command line line 1: not valid YAML"),
    ],
)
def test_wrong_overrides_are_told(recipe, override, told):
    with pytest.raises(FacekdError, match=told):
        recipe(THREE, override)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stagse: {a: }", r"mine.yaml line 1: unknown key 'stagse'; did you mean 'stages'\?"),
        ("stages:\n  a:\n    optimiser: {}", r"line 3: unknown .*did you mean 'optimizer'\?"),
        ("stages:\n  a:\n    optimizer:\n      lrr: 1", r"line 4: unknown .* did you mean 'lr'\?"),
        ("common:\n  optimizer:\n    lrr: 1\nstages: {a: }", r"line 3: .*did you mean 'lr'\?"),
        ("common:\n  batchsize: 1\nstages: {a: }", r"line 2: .*did you mean 'batch_size'\?"),
        ("data:\n  synthetic:\n    identites: 3\nstages: {a: }", "line 3: .*'identities'"),
        ("stages:\n  data:\n    optimizer: {lrr: 1}", r"line 3: unknown .* did you mean 'lr'\?"),
        (
            "stages:\n  seed:\n    lerning: 1",
            "line 3: unknown key 'stages.seed.lerning'; known: acc",
        ),
        ("stages:\n  a: {batch_size: lots}", "line 2: stages.a.batch_size: .*found 'lots'"),
        ("stages:\n  a: {batch_size: 1}", "line 2: stages.a.batch_size: .*found 1"),
        ("stages:\n  a: {optimizer: {lr: .nan}}", "line 2: .*lr: .*finite"),
        ("stages:\n  a: {optimizer: {lr: -1}}", "line 2: .*lr: .*found -1"),
        ("stages:\n  a: {precision: fp8}", "line 2: .*'fp32'.*found 'fp8'"),
        ("stages:\n  a: {schedule: {decay: steps}}", "line 2: .*steps needs milestones"),
        (
            "stages:\n  a: {schedule: {epochs: 2, warmup_epochs: 2}}",
            "line 2: .*must be below epochs",
        ),
        ("stages:\n  a: {loss: 3}", "line 2: stages.a.loss: a loss is a preset's name"),
        ("stages:\n  a: {loss: [[x]]}", "line 2: stages.a.loss: a loss is a preset's name"),
        ("stages:\n  a: hello", "line 2: stages.a: .*found 'hello'"),
        ("stages: [a]", "line 1: stages have names and settings; the smallest recipe is `stages: "),
        ("stages: {}", "line 1: a recipe needs stages to train; the smallest recipe is `stages: "),
        ("stages:", "line 1: a recipe needs stages to train; the smallest"),
        ("seed: 1", "mine.yaml: a recipe needs stages to train; the smallest"),
        (
            "stages:\n  a:\n    start_from: r50.onnx",
            r"line 3: stages.a.start_from: r50.onnx is a graph .* learn from it: teacher: r50.onnx",
        ),
        ("stages:\n  1a: {}", "1a"),
        ("seed: 99999999999999999999\nstages: {a: }", "line 1: seed: .*found 9999"),
        ("stages: {a: {teacher: b}, b: }", "stages.a.teacher: 'b' is neither a file"),
        ("stages: {a: {head: a}}", "stages.a.head: 'a' is neither"),
        ("stages: {one: , b: {start_from: onee}}", r"stages.b.start_from: .* did you mean 'one'\?"),
        ("common: 3\nstages: {a: }", "line 1: common must be a mapping"),
        ("just words", "a recipe is a mapping"),
        ("", r"mine.yaml: a recipe needs stages to train; .* `stages: \{student: \{\}\}`\."),
    ],
)
def test_mistakes_are_told_with_line_and_near_key(recipe, text, told):
    with pytest.raises(FacekdError, match=told) as error:
        recipe(text)
    assert "\n" not in str(error.value)


def test_unknown_recipe(tmp_path):
    with pytest.raises(
        FacekdError, match=r"no recipe file 'reel_small'.*did you mean 'real_small'"
    ):
        load_recipe("reel_small")
    with pytest.raises(FacekdError, match=r"is a folder; give a recipe file, or .*quickstart"):
        load_recipe(str(tmp_path))
    (tmp_path / "mine.yaml").write_bytes("stages: {a: }\n# caf\u00e9".encode("latin-1"))
    with pytest.raises(
        FacekdError, match=r"a folder; give a recipe file, such as .*/mine.yaml, or"
    ):
        load_recipe(str(tmp_path))
    with pytest.raises(FacekdError, match=r"mine.yaml line 2 is no UTF-8 text \(byte 0xe9\); save"):
        load_recipe(str(tmp_path / "mine.yaml"))
    with pytest.raises(FacekdError, match=r"no recipe file 'real_small.yml'.*mean 'real_small'"):
        load_recipe("real_small.yml")


def test_select_stages_keeps_what_they_build_on(recipe):
    made = recipe("stages: {a: , b: {start_from: a}, c: {head: b}, d: {teacher: a}, e: }")
    assert list(select_stages(made, ["c"]).stages) == ["a", "b", "c"]
    assert list(select_stages(made, ["e", "d"]).stages) == ["a", "d", "e"]
    with pytest.raises(FacekdError, match="no stage 'f'"):
        select_stages(made, ["f"])


@pytest.mark.parametrize(
    ("key", "override", "place"),
    [
        ("mm: 0.3", None, "mine.yaml line 7: stage 's': preset 'arcface' has no setting 'mm'"),
        ("m: 0.3", "common.model.args.widht=1", "command line: stage 's': .* no argument 'widht'"),
        ("m: 0.3", "common.batchsize=4", "command line: unknown key"),
    ],
)
def test_settings_that_a_later_floor_checks_are_told_with_their_place(
    tmp_path, key, override, place
):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "data: {source: synthetic, synthetic: {identities: 4, images_per_identity: 4}}\n"
        "common:\n"
        "  batch_size: 4\n"
        "  model: {backbone: mobilefacenet, input_size: 32, embedding_dim: 8}\n"
        "stages:\n"
        "  s:\n"
        f"    loss: {{preset: arcface, {key}}}\n"
    )
    with pytest.raises(FacekdError, match=place):
        plan_recipe(load_recipe(str(path), [override] if override else []))
