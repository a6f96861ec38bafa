"""Stages that read their teacher's embeddings from a cache, and stages that cannot."""

import numpy as np
import pytest
import torch
from tiny_runs import EACH, IDENTITIES, recipe, same_weights, weights

import facekd
from facekd.data_tools.images import encode_jpeg
from facekd.errors import FacekdError
from facekd.teacher import cache as cache_module
from facekd.train import loop
from facekd.train.check import check
from facekd.train.plan import plan_recipe
from facekd.train.stages import run_recipe

IMAGES = IDENTITIES * EACH
L2E = {"teacher": "t", "loss": {"preset": "l2e", "classification": 0}}
STAGES = {"t": {"schedule": {"epochs": 1}}, "s": L2E}
DRAWN = {"crop": 0.3, "colour": 0.2}


def caches(folder):
    return sorted((folder / "run/cache").glob("*.npy"))


def test_the_size_is_told_by_check_and_before_the_start(tmp_path, capsys):
    made = recipe(tmp_path, STAGES)
    size = "768 B"  # 24 images x 2 looks x 8 x 2 bytes
    assert f"{size} of teacher embeddings in {tmp_path}/run/cache" in check(made)
    assert not (tmp_path / "run").exists()
    run_recipe(made)
    assert f"teacher embeddings: {size} in {tmp_path}/run/cache" in capsys.readouterr().out
    (path,) = caches(tmp_path)
    assert np.load(path).nbytes == 768


def test_a_crop_turns_it_off_with_a_sentence(tmp_path, capsys):
    made = recipe(tmp_path, STAGES, data={"crop": 0.3})
    sentence = "off: data.crop gives every image a new look at every step"
    text = check(made)
    assert sentence in text
    assert "cache.views=8 would keep" in text
    assert "of teacher embeddings" not in text
    run_recipe(made)
    assert f"stage 's': teacher cache {sentence}" in capsys.readouterr().out
    assert not (tmp_path / "run/cache").exists()


def test_the_size_of_views_is_told(tmp_path):
    made = recipe(tmp_path, STAGES, data=DRAWN, cache={"views": 3})
    assert "2.2 KiB of teacher embeddings" in check(made)  # 24 x 2 x 3 x 8 x 2 bytes


MAPS = {"teacher": "t", "loss": {"preset": "fitnet", "stages": [3]}}


@pytest.mark.parametrize(
    ("stage", "data", "told"),
    [
        (L2E, {"crop": 0.1}, "new look at every step; cache.views=8 would keep .*cache.mode=auto"),
        (L2E, {"colour": 0.1}, "new look at every step; cache.views=8 would keep"),
        (MAPS, {}, "its loss reads the teacher's feature maps; or use cache.mode=auto"),
    ],
)
def test_require_stops_where_nothing_can_be_kept(tmp_path, stage, data, told):
    stages = {"t": {"model": {"backbone": "mobilefacenet"}}, "s": stage | {"model": {}}}
    made = recipe(tmp_path, stages, data=data, cache="require")
    for work in (check, run_recipe):
        with pytest.raises(FacekdError, match=f"stage 's': cache.mode=require cannot be: .*{told}"):
            work(made)
    assert not (tmp_path / "run").exists()


def test_require_is_content_with_views_or_mirroring(tmp_path):
    plain = recipe(tmp_path, STAGES, cache="require")
    views = recipe(tmp_path, STAGES, data=DRAWN, cache={"mode": "require", "views": 2})
    assert all(plan_recipe(made)[1].reads_cache for made in (plain, views))


def test_views_train_on_the_teachers_embeddings_of_these_very_images(tmp_path, monkeypatch):
    real, looks = loop._forward, set()

    def forward(run, around, batch):
        if around.plan.name == "s":
            direct = facekd.load_model(tmp_path / "run/t.pt").embed(batch.images)
            looked_up = around.cache.lookup(batch.position, batch.look)
            assert torch.allclose(direct, looked_up, rtol=2e-3, atol=2e-3)
            assert (direct - direct.roll(1, 0)).abs().max() > 0.05
            looks.update(batch.look.tolist())
        return real(run, around, batch)

    monkeypatch.setattr(loop, "_forward", forward)
    run_recipe(recipe(tmp_path, STAGES, data=DRAWN, cache={"views": 3}))
    assert looks == set(range(6))
    (path,) = caches(tmp_path)
    assert np.load(path, mmap_mode="r").shape == (IMAGES, 6, 8)


def test_views_without_a_cache_are_the_same_training_to_fp16(tmp_path):
    for mode in ("auto", "never"):
        cache = {"mode": mode, "views": 3}
        run_recipe(recipe(tmp_path / mode, STAGES, data=DRAWN, cache=cache))
    assert not caches(tmp_path / "never")
    one, two = (weights(tmp_path / mode / "run/s.pt") for mode in ("auto", "never"))
    for key in one:
        assert torch.allclose(one[key].float(), two[key].float(), rtol=1e-2, atol=2e-3), key


def test_views_are_not_for_a_stage_that_keeps_nothing(tmp_path):
    stages = {"t": {"model": {"backbone": "mobilefacenet"}}, "s": L2E | {"model": {}}}
    stages |= {"maps": MAPS | {"model": {}}}
    made = plan_recipe(recipe(tmp_path, stages, data=DRAWN, cache={"views": 3}))
    teacher, student, maps = (plan.augment for plan in made)
    assert (teacher.looks, student.looks, maps.looks) == (None, 6, None)


def test_other_views_are_other_settings(tmp_path):
    run_recipe(recipe(tmp_path, STAGES, data=DRAWN, cache={"views": 2}))
    other = recipe(tmp_path, STAGES, data=DRAWN, cache={"views": 3})
    with pytest.raises(FacekdError, match=r"of stage 's': cache\.views was 2, is now 3"):
        run_recipe(other)


def test_a_teacher_trained_again_and_other_data_never_meet_an_old_cache(tmp_path):
    kept = {"dir": str(tmp_path / "run/cache")}
    for number, changes in enumerate(
        [{}, {"seed": 1}, {"data": {"max_identities": 3}}, {"data": DRAWN}], 1
    ):
        views = {"views": 2} if changes.get("data") == DRAWN else {}
        made = recipe(tmp_path / f"{number}", STAGES, cache=kept | views, **changes)
        run_recipe(made)
        assert len(caches(tmp_path)) == number
    run_recipe(recipe(tmp_path / "again", STAGES, cache=kept))  # the first, to the bit
    assert len(caches(tmp_path)) == 4
    assert same_weights(tmp_path / "again/run/s.pt", tmp_path / "1/run/s.pt")


def test_an_interrupted_cache_goes_on_with_the_same_command(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_BATCH", 4)
    monkeypatch.setattr(cache_module, "_SAVE_EVERY", 1)
    made, real, rows = recipe(tmp_path, STAGES), cache_module._embed, []

    def embed(teacher, images):
        if len(rows) == 5:  # two blocks of both views, and one more view
            rows.clear()
            raise KeyboardInterrupt
        rows.append(len(images))
        return real(teacher, images)

    monkeypatch.setattr(cache_module, "_embed", embed)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(made)
    monkeypatch.setattr(cache_module, "_embed", lambda *a: rows.append(len(a[1])) or real(*a))
    run_recipe(made)
    assert sum(rows) == 2 * (IMAGES - 8)
    monkeypatch.setattr(cache_module, "_embed", real)
    run_recipe(recipe(tmp_path / "whole", STAGES))
    assert same_weights(tmp_path / "run/s.pt", tmp_path / "whole/run/s.pt")


# --- images without labels ----------------------------------------------------------------------


@pytest.fixture
def crops(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "crops"
    folder.mkdir()
    for i in range(16):
        image = encode_jpeg(rng.integers(0, 255, (32, 32, 3), np.uint8))
        (folder / f"{i}.jpg").write_bytes(image)
    return folder


@pytest.mark.parametrize("loss", [{"preset": "l2e", "classification": 0}, [{"term": "qud"}]])
def test_unlabelled_images_alone_teach_the_embedding(tmp_path, crops, loss):
    data = {"source": "none", "unlabelled": str(crops), "workers": 0}
    run_recipe(recipe(tmp_path, STAGES | {"s": L2E | {"loss": loss, "data": data}}))
    (path,) = caches(tmp_path)
    assert np.load(path, mmap_mode="r").shape == (16, 2, 8)
    teacher, student = (facekd.load_model(tmp_path / f"run/{name}.pt") for name in "ts")
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert student.embed(images).shape == teacher.embed(images).shape
    assert not (tmp_path / "run/s.head.safetensors").exists()


def test_unlabelled_images_have_no_part_in_the_classification(tmp_path, crops, monkeypatch):
    real, seen = loop._forward, []

    def forward(run, around, batch):
        total, values = real(run, around, batch)
        if around.plan.name == "s":
            seen.append(batch.labels)
            head = run.objective.student_head
            assert head.num_classes == IDENTITIES
            assert torch.isfinite(total)
        return total, values

    monkeypatch.setattr(loop, "_forward", forward)
    loss = [{"term": "margin", "scale": 16.0}, {"term": "l2e"}]
    stages = {"t": {"schedule": {"epochs": 1}}, "s": {"teacher": "t", "loss": loss}}
    data = {"unlabelled": str(crops)}
    run_recipe(recipe(tmp_path, stages, data=data))
    labels = torch.cat(seen)
    assert len(labels) == 80  # two epochs of 24 labelled and 16 unlabelled images
    assert (labels < 0).sum() == 32
    (path,) = caches(tmp_path)
    assert np.load(path, mmap_mode="r").shape == (IMAGES + 16, 2, 8)


def test_a_loss_with_labels_needs_some(tmp_path, crops):
    data = {"source": "none", "unlabelled": str(crops)}
    made = recipe(tmp_path, {"s": {"data": data}})
    with pytest.raises(FacekdError, match=r"needs labels and student head, .*classification: 0"):
        check(made)
