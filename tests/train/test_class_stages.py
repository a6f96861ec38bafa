"""Stages with `task: classification`: the same loop, other data, head and numbers."""

import json

import pytest
import torch
from tiny_classes import CLASSES, NAMES, write_classes
from tiny_runs import recipe, rows, same_weights, write_recipe

from facekd.cli.train import main
from facekd.errors import FacekdError
from facekd.heads.classifier import load_head
from facekd.train.check import check
from facekd.train.plan import plan_recipe
from facekd.train.stages import run_recipe

VAL = {"benches": ["val"]}
KDTH = {"preset": "kdth", "alpha": 1.0, "beta": 1.0}


def made(folder, stages, data=None, **common):
    """A recipe over six classes of drawn images, and its text for `--check`."""
    source = folder / "set"
    if not source.exists():
        write_classes(source)
    settings = {**CLASSES, "validation": VAL, "schedule": {"epochs": 10}, **common}
    return recipe(
        folder,
        stages,
        data={"source": str(source), **(data or {})},
        common={"loss": "softmax", **settings},
    )


def test_teacher_and_student(tmp_path):
    """TH-KD by the authors' loss, embeddings from the cache, both heads at the end."""
    stages = {
        "teacher": {},
        "student": {"teacher": "teacher", "loss": KDTH, "validation": {**VAL, "teacher_head": 0.5}},
        "copy": {"teacher": "teacher", "loss": KDTH, "head": {"source": "teacher"}},
    }
    mine = made(tmp_path, stages)
    run_recipe(mine)
    folder = tmp_path / "run"
    for name in stages:
        numbers = json.loads((folder / name / "summary.json").read_text())["validation"]["val"]
        assert numbers["accuracy"] > 0.8
        assert numbers["top5"] == 1.0
    head, _ = load_head(folder / "student.head.safetensors")
    assert head.bias is not None
    assert (head.num_classes, head.embedding_dim) == (6, 8)
    teacher, _ = load_head(folder / "teacher.head.safetensors")
    copied, _ = load_head(folder / "copy.head.safetensors")
    assert torch.equal(copied.weight, teacher.weight)
    assert torch.equal(copied.bias, teacher.bias)
    names = json.loads((folder / "student.label_map.json").read_text())["names"]
    assert tuple(names) == NAMES
    described = torch.load(folder / "student.pt", weights_only=True)["description"]
    assert described["recipe"]["task"] == "classification"
    looks = rows(folder / "student" / "validation.csv")
    assert [row["bench"] for row in looks] == ["val"] * 10
    assert (folder / "cache").is_dir()


def test_weights_of_a_new_head_are_drawn_as_torch_draws_a_linear_layer(tmp_path):
    from facekd.train.build import build_training

    (plan,) = plan_recipe(made(tmp_path, {"student": {}}))
    head = build_training(plan, torch.device("cpu"), None, None, "fp32").objective.student_head
    reach = 8**-0.5
    assert 0.8 * reach < head.weight.abs().max() <= reach
    assert 0 < head.bias.abs().max() <= reach


@pytest.mark.parametrize(
    "loss", [{"preset": "cosface", "m": 0.1, "scale": 16.0}, {"preset": "kd", "margin": "softmax"}]
)
def test_cosine_head_or_linear(loss, tmp_path):
    taught = loss["preset"] == "kd"
    stages = {
        "teacher": {},
        "student": {"loss": loss, **({"teacher": "teacher"} if taught else {})},
    }
    run_recipe(made(tmp_path, stages))
    head, _ = load_head(tmp_path / "run" / "student.head.safetensors")
    assert (head.bias is None) == (not taught)
    summary = json.loads((tmp_path / "run" / "student" / "summary.json").read_text())
    assert summary["validation"]["val"]["accuracy"] > 0.8


def test_presets_take_linear_logits_by_themselves(tmp_path):
    stages = {"teacher": {}, "student": {"teacher": "teacher", "loss": {"preset": "crdth"}}}
    _, plan = plan_recipe(made(tmp_path, stages))
    assert [spec.get("margin", spec.get("logits")) for spec in plan.specs] == [
        "softmax",
        "linear",
        None,
        "linear",
    ]
    assert all(term.linear for name, _, term in plan.terms() if name != "crd")


def test_sh_kd(tmp_path):
    """The teacher is trained under the student's frozen head, bias and all."""
    stages = {
        "alone": {},
        "sh_teacher": {"head": {"source": "alone", "frozen": True}},
        "sh_kd": {
            "teacher": "sh_teacher",
            "loss": {"preset": "crd", "alpha": 1.0, "negatives": 8},
        },
    }
    run_recipe(made(tmp_path, stages))
    heads = {name: load_head(tmp_path / "run" / f"{name}.head.safetensors")[0] for name in stages}
    assert torch.equal(heads["alone"].weight, heads["sh_teacher"].weight)
    assert torch.equal(heads["alone"].bias, heads["sh_teacher"].bias)
    assert not torch.equal(heads["alone"].weight, heads["sh_kd"].weight)


def test_stopped_and_gone_on(tmp_path):
    """Half the run, then the rest, gives the bits of one run."""
    data = {"pad": 2, "randaugment": "on"}
    whole = made(tmp_path / "a", {"student": {"schedule": {"epochs": 4}}}, data=data)
    run_recipe(whole)
    stages = {"student": {"schedule": {"epochs": 4}, "checkpoint_minutes": 0}}
    halved = made(tmp_path / "b", stages, data=data)
    from unittest.mock import patch

    from facekd.train.log import Log

    step, done = Log.step, []

    def stop(self, *args):
        step(self, *args)
        done.append(args)
        if len(done) == 13:
            raise KeyboardInterrupt

    with patch.object(Log, "step", stop), pytest.raises(KeyboardInterrupt):
        run_recipe(halved)
    run_recipe(halved)
    assert same_weights(
        tmp_path / "a" / "run" / "student.pt", tmp_path / "b" / "run" / "student.pt"
    )


def test_crops_and_randaugment_turn_the_cache_off(tmp_path):
    stages = {"teacher": {}, "student": {"teacher": "teacher", "loss": KDTH}}
    plans = plan_recipe(made(tmp_path, stages, data={"randaugment": {"operations": 1}}))
    assert not plans[1].uses_cache
    told = "off: data.randaugment gives every image a new look at every step"
    assert plans[1].cache_is_off.startswith(told)
    plans = plan_recipe(made(tmp_path, stages, data={"pad": 2}))
    assert "data.pad" in plans[1].cache_is_off


def test_kept_drawings_are_what_the_teacher_gives(tmp_path):
    """With views, training from the cache has the losses of a teacher asked at every step."""
    stages = {
        "teacher": {},
        "student": {
            "teacher": "teacher",
            "loss": {"preset": "kde", "beta": 1.0},
            "schedule": {"epochs": 4},
        },
    }
    found = {}
    for mode in ("auto", "never"):
        folder = tmp_path / mode
        source = write_classes(folder / "set")
        mine = recipe(
            folder,
            stages,
            data={"source": str(source), "pad": 2},
            common={**CLASSES, "loss": "softmax", "schedule": {"epochs": 4}},
            cache={"mode": mode, "views": 2},
        )
        run_recipe(mine)
        found[mode] = rows(folder / "run" / "student" / "metrics.csv")
    for kept, asked in zip(found["auto"], found["never"], strict=True):
        assert float(kept["loss"]) == pytest.approx(float(asked["loss"]), rel=2e-3)


def test_check_tells_of_classes(tmp_path):
    told = check(made(tmp_path, {"student": {}}))
    assert "6 classes, 48 images; 24 validation images" in told


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"loss": {"preset": "l2e", "classification": 0.0}, "teacher": "a"}, "no classifier"),
        ({"partial_fc": 1.0}, "leave partial_fc out"),
        ({"validation": {"teacher_head": 0.5}}, "which its loss does not read"),
        ({"loss": {"preset": "arcface", "margin": "softmax"}}, "no setting 'margin'"),
    ],
)
def test_stages_that_make_no_sense(stage, words, tmp_path):
    with pytest.raises(FacekdError, match=words):
        plan_recipe(made(tmp_path, {"a": {}, "student": stage}))


def test_other_benches_are_refused(tmp_path):
    with pytest.raises(FacekdError, match="knows only val"):
        run_recipe(made(tmp_path, {"student": {"validation": {"benches": ["lfw"]}}}))


def test_a_share_of_a_head_means_nothing_for_faces(tmp_path):
    with pytest.raises(FacekdError, match="faces are told apart by their embeddings"):
        plan_recipe(recipe(tmp_path, {"s": {"validation": {"teacher_head": 0.5}}}))


def test_the_network_is_named(tmp_path, capsys):
    source = write_classes(tmp_path / "set")
    path = write_recipe(
        tmp_path,
        {"student": {"task": "classification", "model": {}}},
        data={"source": str(source)},
    )
    assert main([str(path), "--check"]) == 2
    told = capsys.readouterr().err
    assert "name model.backbone" in told
    assert "Traceback" not in told
