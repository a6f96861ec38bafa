import csv
import json

import numpy as np
import pytest
import torch
from tiny_runs import EACH, IDENTITIES, recipe, same_weights, weights
from torch import nn

import facekd
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.labelmap import LabelMap
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.distill.term import TERMS, Term
from facekd.errors import FacekdError
from facekd.heads.classifier import load_head
from facekd.model import FaceModel
from facekd.recipe import Cache
from facekd.recipe_file import load_recipe
from facekd.train import loop, stages
from facekd.train.plan import plan_recipe
from facekd.train.stages import run_recipe

WIDE = {"backbone": "tiny", "embedding_dim": 12, "input_size": 32}
ONE_EPOCH = {"schedule": {"epochs": 1}}


@pytest.fixture
def runs(monkeypatch):
    """The `Training` and `Around` of every stage that is run, by name."""
    seen, real = {}, stages.train

    def train(run, around, log):
        seen[around.plan.name] = (run, around)
        real(run, around, log)

    monkeypatch.setattr(stages, "train", train)
    return seen


def head_of(folder, stage):
    return load_head(folder / f"run/{stage}.head.safetensors")


def test_results_on_disk(tmp_path):
    made = recipe(tmp_path, {"student": {}}, description="a test")
    (path,) = run_recipe(made)
    assert path == tmp_path / "run/student.pt"
    model = facekd.load_model(path)
    assert isinstance(model, FaceModel)
    assert (model.embedding_dim, model.preprocess.input_size) == (8, 32)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert model.embed(images).shape == (2, 8)
    head, label_map_hash = head_of(tmp_path, "student")
    names = LabelMap.load(tmp_path / "run/student.label_map.json")
    assert head.weight.shape == (IDENTITIES, 8)
    assert label_map_hash == names.hash == model.description["label_map_hash"]
    assert model.description["recipe"]["loss"][0]["term"] == "margin"
    run = json.loads((tmp_path / "run/run.json").read_text())
    assert run["versions"]["torch"] == torch.__version__
    assert run["seed"] == 0
    summary = json.loads((tmp_path / "run/student/summary.json").read_text())
    assert (summary["steps"], summary["images_seen"]) == (6, 48)
    assert summary["skipped_records"] == []
    assert not list((tmp_path / "run/student").glob("state*"))


def test_the_written_recipe_is_resolved_and_gives_the_same_weights(tmp_path):
    made = recipe(
        tmp_path,
        {
            "a": {"model": WIDE},
            "b": {"start_from": "a", "model": {}},
            "c": {"model": WIDE, "teacher": "a", "loss": {"preset": "th_kd", "beta": 0}},
        },
    )
    run_recipe(made)
    again = load_recipe(str(tmp_path / "run/recipe.yaml"), [f"output={tmp_path / 'again'}"])
    assert [spec["term"] for spec in again.stages["c"].loss] == ["margin", "margin", "kd", "kd"]
    run_recipe(again)
    for name in "abc":
        assert same_weights(tmp_path / f"run/{name}.pt", tmp_path / f"again/{name}.pt")
    run_recipe(load_recipe(str(tmp_path / "run/recipe.yaml")))  # and it is the same run


def test_the_seed_of_a_stage_and_of_the_recipe(tmp_path):
    run_recipe(recipe(tmp_path, {"a": ONE_EPOCH, "b": ONE_EPOCH, "c": ONE_EPOCH | {"seed": 5}}))
    assert same_weights(tmp_path / "run/a.pt", tmp_path / "run/b.pt")
    assert not same_weights(tmp_path / "run/a.pt", tmp_path / "run/c.pt")


@pytest.mark.parametrize("precision", ["bf16", "fp32", "auto"])
def test_precisions_run(tmp_path, runs, precision):
    run_recipe(recipe(tmp_path, {"a": ONE_EPOCH}, common={"precision": precision}))
    run, _ = runs["a"]
    assert run.precision == precision or precision == "auto"
    assert all(p.dtype == torch.float32 for p in run.parameters.values())
    assert all(torch.isfinite(v).all() for v in weights(tmp_path / "run/a.pt").values())


def test_metrics_tell_every_term(tmp_path):
    loss = [{"term": "margin", "scale": 16.0}, {"term": "l2e", "weight": 2.0}]
    run_recipe(recipe(tmp_path, {"t": ONE_EPOCH, "s": {"teacher": "t", "loss": loss}}))
    with (tmp_path / "run/s/metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    total = float(row["margin"]) + 2 * float(row["l2e"])
    assert float(row["loss"]) == pytest.approx(total, rel=1e-4)
    assert int(row["step"]) == 6


# --- teachers -----------------------------------------------------------------------------------


def test_the_batch_meets_its_own_teacher_embeddings(tmp_path, monkeypatch):
    """What the loss gets of the cache is what the teacher gives for that very batch."""
    real, checked = loop._forward, []

    def forward(run, around, batch):
        if around.cache is not None:
            teacher = facekd.load_model(tmp_path / "run/t.pt")
            direct = teacher.embed(batch.images)
            looked_up = around.cache.lookup(batch.position, batch.look)
            assert torch.allclose(direct, looked_up, rtol=2e-3, atol=2e-3)
            assert (direct - direct.roll(1, 0)).abs().max() > 0.05
            checked.append(bool((batch.look == 1).any()))
        return real(run, around, batch)

    monkeypatch.setattr(loop, "_forward", forward)
    run_recipe(recipe(tmp_path, {"t": {}, "s": {"teacher": "t", "loss": "l2e"}}))
    assert len(checked) == 6
    assert any(checked)


def test_without_a_cache_the_training_is_the_same_to_fp16(tmp_path, runs):
    distilled = {"loss": {"preset": "l2e", "classification": 0}, **ONE_EPOCH}
    made = recipe(tmp_path, {"t": {}, "cached": distilled | {"teacher": "t"}})
    run_recipe(made)
    never = made.model_copy(update={"cache": Cache(mode="never")})
    direct = {"t": made.stages["t"], "direct": made.stages["cached"]}
    run_recipe(never.model_copy(update={"stages": direct}), ["direct"])
    assert runs["cached"][1].cache is not None
    assert runs["direct"][1].cache is None
    assert runs["direct"][1].teacher is not None
    one, two = weights(tmp_path / "run/cached.pt"), weights(tmp_path / "run/direct.pt")
    for key in one:
        assert torch.allclose(one[key].float(), two[key].float(), rtol=1e-2, atol=2e-3), key
    assert not runs["direct"][1].teacher.training  # batch norm and dropout as in evaluation
    assert same_buffers(runs["direct"][1].teacher, facekd.load_model(tmp_path / "run/t.pt"))


def same_buffers(a, b):
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_l2e_without_classification_trains_no_head(tmp_path, runs):
    loss = {"preset": "l2e", "classification": 0}
    run_recipe(recipe(tmp_path, {"t": ONE_EPOCH, "s": {"teacher": "t", "loss": loss}}))
    assert runs["s"][0].objective.student_head is None
    assert not (tmp_path / "run/s.head.safetensors").exists()


def test_th_kd_with_unequal_widths_learns_a_projector(tmp_path, runs):
    loss = {"preset": "th_kd", "scale": 16.0}
    made = {"t": ONE_EPOCH | {"model": WIDE}, "s": {"teacher": "t", "loss": loss}}
    run_recipe(recipe(tmp_path, made))
    run, _ = runs["s"]
    projector = run.objective.projector
    assert projector[0].weight.shape == (12, 8)
    assert any("projector" in name for name in run.parameters)
    assert not any("teacher_head" in name for name in run.parameters)
    teacher_head, _ = head_of(tmp_path, "t")
    assert torch.equal(run.objective.teacher_head.weight, teacher_head.weight)
    assert head_of(tmp_path, "s")[0].weight.shape == (IDENTITIES, 8)
    assert weights(tmp_path / "run/s.pt").keys() == weights(tmp_path / "run/t.pt").keys()


def test_equal_widths_have_no_projector(tmp_path, runs):
    run_recipe(recipe(tmp_path, {"t": ONE_EPOCH, "s": {"teacher": "t", "loss": "th_kd"}}))
    assert runs["s"][0].objective.projector is None


def test_proxyless_learns_under_the_teachers_head_alone(tmp_path, runs):
    run_recipe(recipe(tmp_path, {"t": ONE_EPOCH, "s": {"teacher": "t", "loss": "proxyless"}}))
    run, around = runs["s"]
    assert run.objective.student_head is None
    assert around.cache is None  # its own classifier is there, and no embedding is asked for
    assert around.teacher is None
    assert torch.equal(head_of(tmp_path, "s")[0].weight, head_of(tmp_path, "t")[0].weight)


@pytest.mark.parametrize("frozen", [True, False])
def test_sh_kd_in_three_stages(tmp_path, runs, frozen):
    made = {
        "first": {},
        "teacher": {"head": "first"},
        "student": {
            "teacher": "teacher",
            "head": {"source": "first", "frozen": frozen},
            "loss": {"preset": "th_kd", "scale": 16.0},
        },
    }
    run_recipe(recipe(tmp_path, made, common={"loss": {"preset": "arcface", "scale": 16.0}}))
    first, teacher, student = (head_of(tmp_path, n)[0].weight for n in made)
    assert torch.equal(first, teacher)
    assert torch.equal(first, student) is frozen
    assert torch.equal(runs["student"][0].objective.teacher_head.weight, first)
    assert not same_weights(tmp_path / "run/first.pt", tmp_path / "run/teacher.pt")


def test_start_from_takes_the_weights(tmp_path, monkeypatch):
    still = {"optimizer": {"lr": 0.0}, "schedule": {"epochs": 0.3}}
    run_recipe(
        recipe(tmp_path, {"a": {"model": WIDE}, "b": still | {"start_from": "a", "model": {}}})
    )
    one, two = weights(tmp_path / "run/a.pt"), weights(tmp_path / "run/b.pt")
    learnt = [key for key in one if "running" not in key and "tracked" not in key]
    assert all(torch.equal(one[key], two[key]) for key in learnt)


def export(model, path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model.backbone.eval()

        def forward(self, x):
            return self.inner(x)

    torch.onnx.export(
        Net(),
        (torch.zeros(1, 3, 32, 32),),
        str(path),
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        dynamo=False,
    )


def test_a_teacher_from_a_stage_a_pt_or_an_onnx_file_is_the_same(tmp_path, runs):
    pytest.importorskip("onnxruntime")
    run_recipe(recipe(tmp_path, {"t": {}}))
    (tmp_path / "files").mkdir()
    (tmp_path / "run/t.pt").rename(tmp_path / "files/t.pt")
    export(facekd.load_model(tmp_path / "files/t.pt"), tmp_path / "files/t.onnx")
    loss = {"preset": "th_kd", "scale": 16.0}
    files = {
        "pt": {"model": str(tmp_path / "files/t.pt"), "head": "rebuild"},
        "onnx": {"model": str(tmp_path / "files/t.onnx")},
        "own": {
            "model": str(tmp_path / "files/t.pt"),
            "head": str(tmp_path / "run/t.head.safetensors"),
        },
    }
    made = {n: {"teacher": t, "loss": loss} | ONE_EPOCH for n, t in files.items()}
    run_recipe(recipe(tmp_path, made, output=str(tmp_path / "out")))
    heads = {n: runs[n][0].objective.teacher_head.weight for n in files}
    assert torch.allclose(heads["pt"], heads["onnx"], atol=2e-3)
    assert torch.allclose(heads["pt"].norm(dim=1), torch.ones(IDENTITIES), atol=1e-5)
    assert torch.equal(heads["own"], head_of(tmp_path, "t")[0].weight)
    caches = [runs[n][1].cache.array for n in files]
    assert np.allclose(caches[0], caches[1], rtol=2e-3, atol=2e-3)


# --- what stops a run ---------------------------------------------------------------------------


class Planted(Term):
    """A term that grows without bound, for this test."""

    needs = frozenset({"labels"})

    def __init__(self, factor: float = 1.0, value: float = 1.0) -> None:
        super().__init__()
        self.factor, self.value = factor, value

    def forward(self, step):
        return self.value * (step.embeddings * self.factor).sum()


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setitem(TERMS._entries, "planted", Planted)


def test_a_loss_that_is_not_finite_names_the_term(tmp_path, planted):
    loss = [{"term": "margin"}, {"term": "planted", "factor": 1e30, "value": 1e30}]
    with pytest.raises(FacekdError, match=r"step 0: the loss is .*not finite: planted\.") as error:
        run_recipe(recipe(tmp_path, {"a": {"loss": loss, "stop_after_nonfinite": 1}}))
    assert "record ids" in str(error.value)
    assert not (tmp_path / "run/a.pt").exists()


def test_a_rate_far_too_high_stops_the_run(tmp_path):
    with pytest.raises(FacekdError, match=r"step [1-9]\d*: the (loss|gradient)"):
        run_recipe(recipe(tmp_path, {"a": {}}, common={"optimizer": {"lr": 1e30, "clip_norm": 0}}))


@pytest.mark.parametrize("factor", [1e25, 3e38])
def test_a_gradient_that_is_not_finite_is_told(tmp_path, planted, factor):
    """A norm can overflow although each gradient is finite."""
    loss = [{"term": "margin"}, {"term": "planted", "factor": factor, "weight": 1e-3}]
    common = {"optimizer": {"clip_norm": 1}, "stop_after_nonfinite": 1}
    with pytest.raises(FacekdError, match=r"step 0: the (gradient|loss)"):
        run_recipe(recipe(tmp_path, {"a": {"loss": loss}}, common=common))


def write_rec(path, bad=()):
    rng = np.random.default_rng(0)
    with RecordWriter(path) as writer:
        for i in range(IDENTITIES * EACH):
            image = encode_jpeg(rng.integers(0, 255, (32, 32, 3), np.uint8))
            writer.write(i + 1, pack(IRHeader(float(i % IDENTITIES), i + 1), image))
    data = bytearray(path.read_bytes())
    offsets = [
        int(line.split("\t")[1]) for line in path.with_suffix(".idx").read_text().split("\n")[:-1]
    ]
    for i in bad:
        data[offsets[i] + 32 : offsets[i] + 40] = bytes(8)  # where the JPEG begins
    path.write_bytes(data)
    return offsets


def test_a_bad_record_stops_the_run_or_is_counted(tmp_path, runs):
    offsets = write_rec(tmp_path / "f.rec", bad=[5, 11])
    data = {"source": str(tmp_path / "f.rec")}
    with pytest.raises(FacekdError, match=r"f.rec record (6|12) at byte (\d+): .* decode") as error:
        run_recipe(recipe(tmp_path, {"a": {}}, data=data))
    assert any(f"at byte {offsets[i]}:" in str(error.value) for i in (5, 11))
    made = {"t": {}, "s": {"teacher": {"model": "t", "head": "rebuild"}, "loss": "th_kd"}}
    with pytest.raises(FacekdError, match=r"2 of 24 images .*max_bad=0.05 allows"):
        run_recipe(recipe(tmp_path, made, data=data | {"on_bad_record": "skip", "max_bad": 0.05}))
    skip = data | {"on_bad_record": "skip", "max_bad": 0.1}
    run_recipe(recipe(tmp_path / "b", made, data=skip))
    for name in made:
        summary = json.loads((tmp_path / f"b/run/{name}/summary.json").read_text())
        assert len(summary["skipped_records"]) == 2
        assert all(" at byte " in reason for reason in summary["skipped_records"])
    assert runs["s"][1].cache.array[[5, 11]].max() == 0
    assert np.abs(runs["s"][1].cache.array[np.r_[0:5, 6:11, 12:24]]).max(axis=(1, 2)).min() > 0


def test_a_damaged_frame_is_counted_too(tmp_path, capsys):
    offsets = write_rec(tmp_path / "f.rec")
    data = bytearray((tmp_path / "f.rec").read_bytes())
    data[offsets[7]] ^= 0xFF
    (tmp_path / "f.rec").write_bytes(data)
    settings = {"source": str(tmp_path / "f.rec"), "on_bad_record": "skip", "max_bad": 0.1}
    run_recipe(recipe(tmp_path, {"a": ONE_EPOCH}, data=settings))
    summary = json.loads((tmp_path / "run/a/summary.json").read_text())
    assert len(summary["skipped_records"]) == 1
    assert f"f.rec record 8 at byte {offsets[7]}" in summary["skipped_records"][0]
    assert "stage 'a': 1 bad records skipped; the last: f.rec record 8" in capsys.readouterr().out


def test_a_batch_with_one_image_left_is_told(tmp_path):
    write_rec(tmp_path / "f.rec", bad=range(0, 24, 2))
    settings = {"source": str(tmp_path / "f.rec"), "on_bad_record": "skip", "max_bad": 1.0}
    made = recipe(tmp_path, {"a": {}}, data=settings, common={"batch_size": 2})
    with pytest.raises(FacekdError, match=r"(0|1) of the batch's images decode, and at least 2"):
        run_recipe(made)


def test_validation_of_two_benches_keeps_its_columns(tmp_path):
    data = {"synthetic": {"identities": 24, "images_per_identity": 6}, "holdout": 20}
    look = {"benches": ["holdout"], "pairs": 20, "every": 1}
    run_recipe(recipe(tmp_path, {"a": {"validation": look}}, data=data))
    with (tmp_path / "run/a/validation.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [(row["step"], row["bench"]) for row in found] == [("3", "holdout"), ("6", "holdout")]
    assert all(set(row) >= {"accuracy", "tar@far=0.01", "tar@far=0.001"} for row in found)
    assert plan_recipe(recipe(tmp_path, {"a": {}}, data=data))[0].faces.num_classes == 4
