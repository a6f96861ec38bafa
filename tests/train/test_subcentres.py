"""Sub-centre ArcFace, end to end: several centres, the list of far images, and again without."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import recipe, same_weights

from facekd.data_tools.images import encode_jpeg
from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier, load_head, save_head
from facekd.recipe_file import load_recipe
from facekd.train import loop
from facekd.train.check import check
from facekd.train.plan import plan_recipe
from facekd.train.stages import run_recipe
from facekd.train.subcentres import dominant_centres

PEOPLE, EACH, WRONG = 8, 24, 2
NETWORK = {"backbone": "tiny", "embedding_dim": 16, "input_size": 32}
LOSS = {"preset": "subcenter_arcface", "scale": 16.0}
HEAD = {"centres": 3, "drop_degrees": 50}  # so few dimensions and people hold no 75 degrees


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory):
    """A folder of PEOPLE x EACH pictures, and the names of those that show somebody else."""
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    looks = rng.integers(0, 256, (PEOPLE, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
    wrong = set()
    for person in range(PEOPLE):
        (folder / f"p{person}").mkdir()
        for k in range(EACH):
            shown = person if k >= WRONG else (person + 1 + k) % PEOPLE
            name = f"p{person}/{k:02}.jpg"
            wrong |= {name} if shown != person else set()
            image = looks[shown] + rng.normal(0, 20, (32, 32, 3))
            (folder / name).write_bytes(encode_jpeg(image.clip(0, 255).astype(np.uint8)))
    return folder, wrong


def stage(pictures, **changes):
    data = {"source": str(pictures), "workers": 0, **changes.pop("data", {})}
    common = {
        "model": NETWORK,
        "batch_size": 24,
        "schedule": {"epochs": 6},
        "optimizer": {"lr": 0.1},
    }
    return {"data": data, **common, "head": HEAD, "loss": LOSS, **changes}


@pytest.fixture(scope="module")
def trained(mislabelled, tmp_path_factory):
    """A finished run with three centres a class."""
    folder = tmp_path_factory.mktemp("first")
    run_recipe(recipe(folder, {"noisy": stage(mislabelled[0])}))
    return folder


def far_rows(folder):
    with (folder / "run/noisy.far.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_wrong_images_are_the_ones_listed(mislabelled, trained):
    rows = far_rows(trained)
    assert {row["image"] for row in rows} == mislabelled[1]
    assert all(row["image"].startswith(row["identity"] + "/") for row in rows)
    assert all(50 <= float(row["degrees"]) <= 180 for row in rows)


def test_the_angles_are_those_to_the_head_that_was_saved(mislabelled, trained):
    """The list by hand: image by image, from the saved network and the saved centres."""
    from facekd import load_model

    model = load_model(trained / "run/noisy.pt")
    head, _ = load_head(trained / "run/noisy.head.safetensors")
    assert (head.centres, head.weight.shape) == (3, (3 * PEOPLE, 16))
    (plan,) = plan_recipe(recipe(trained, {"noisy": stage(mislabelled[0])}))
    ids, _ = plan.faces.source.called()
    votes = [[0, 0, 0] for _ in range(PEOPLE)]
    embeddings = []
    for i, label in enumerate(plan.faces.labels.tolist()):
        z = model.embed(plan.faces[i][None].transpose(0, 3, 1, 2).copy())[0]
        embeddings.append(z)
        rows = head.weight[3 * label : 3 * label + 3].numpy()
        cosines = [float(w @ z / np.linalg.norm(w) / np.linalg.norm(z)) for w in rows]
        votes[label][cosines.index(max(cosines))] += 1
    assert head.dominant.tolist() == [v.index(max(v)) for v in votes]
    listed = {row["image"]: float(row["degrees"]) for row in far_rows(trained)}
    for i, (z, label) in enumerate(zip(embeddings, plan.faces.labels.tolist(), strict=True)):
        w = head.weight[3 * label + int(head.dominant[label])].numpy()
        angle = np.degrees(np.arccos(w @ z / np.linalg.norm(w) / np.linalg.norm(z)))
        assert (ids[i] in listed) == (angle >= 50)
        if ids[i] in listed:
            assert listed[ids[i]] == pytest.approx(angle, abs=0.02)


def test_the_second_recipe_trains_without_them(mislabelled, trained, tmp_path, capsys):
    pictures, wrong = mislabelled
    exclude = {"exclude": str(trained / "run/noisy.far.csv")}
    again = stage(pictures, data=exclude, head=None, loss={"preset": "arcface", "scale": 16.0})
    made = recipe(tmp_path, {"clean": again})
    run_recipe(made)
    (plan,) = plan_recipe(made)
    ids, _ = plan.faces.source.called()
    assert {ids[row] for row in plan.faces.rows} == {
        f"p{p}/{k:02}.jpg" for p in range(PEOPLE) for k in range(EACH)
    } - wrong
    assert f"{len(wrong)} of {PEOPLE * EACH} images" in capsys.readouterr().out
    head, _ = load_head(tmp_path / "run/clean.head.safetensors")
    assert (head.centres, head.num_classes) == (1, PEOPLE)


def test_as_a_teachers_or_a_shared_head_the_dominant_centres_are_taken(
    mislabelled, trained, tmp_path
):
    noisy = str(trained / "run/noisy.pt")
    stages = {
        "student": stage(mislabelled[0], teacher=noisy, loss="th_kd", head=None),
        "shared": stage(mislabelled[0], head=noisy, loss="arcface"),
    }
    for made in stages.values():
        made["schedule"] = {"epochs": 1}
    run_recipe(recipe(tmp_path, stages))
    several, _ = load_head(trained / "run/noisy.head.safetensors")
    shared, _ = load_head(tmp_path / "run/shared.head.safetensors")
    assert torch.equal(shared.weight, several.with_dominant_centres().weight)
    assert load_head(tmp_path / "run/student.head.safetensors")[0].centres == 1


def test_the_written_recipe_says_it_again_and_a_stopped_stage_goes_on(
    mislabelled, trained, tmp_path, monkeypatch, capsys
):
    again = load_recipe(str(trained / "run/recipe.yaml"), [f"output={tmp_path / 'run'}"])
    real = loop._forward

    def crash(run, *rest):
        if run.step == 30:
            raise KeyboardInterrupt
        return real(run, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_forward", crash)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(again)
    run_recipe(again)
    told = capsys.readouterr().out
    assert "goes on at step 24" in told
    listed = PEOPLE * WRONG
    assert (
        f"{listed} of {PEOPLE * EACH} images ({listed / PEOPLE / EACH:.2%}) are 50 degrees" in told
    )
    assert far_rows(tmp_path) == far_rows(trained)
    ours, whole = (load_head(f / "run/noisy.head.safetensors")[0] for f in (tmp_path, trained))
    assert torch.equal(ours.weight, whole.weight)
    assert torch.equal(ours.dominant, whole.dominant)
    assert same_weights(tmp_path / "run/noisy.pt", trained / "run/noisy.pt")


def test_check_tells_of_the_centres(mislabelled, tmp_path):
    told = check(recipe(tmp_path, {"noisy": stage(mislabelled[0])}))
    assert "3 centres a class; " in told
    assert "noisy.far.csv will list the images 50 degrees or more from" in told


def test_dominant_centres_of_ties_and_of_a_class_without_images():
    cosines = np.array([[0.1, 0.9], [0.8, 0.2], [0.0, 0.3], [0.1, 0.2]])
    chosen = dominant_centres(np.array([0, 0, 2, 2]), cosines, 3)
    assert chosen.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"head": None}, r"several centres a class; add head: \{centres: 3\}"),
        ({"head": {}}, "a head says its `source`, or `centres: 3`"),
        ({"head": {"frozen": True}}, "a head says its `source`"),
        ({"head": {"source": "x.pt", "centres": 2}}, "leave centres: 2 out"),
        ({"head": {"centres": 0}}, "greater than 0"),
        ({"head": {"centres": 3, "drop_degrees": 0}}, "greater than 0"),
        ({"loss": "softmax"}, "head.centres=3 gives cosines, and 'margin' reads linear logits"),
    ],
)
def test_centres_that_cannot_be_are_told(mislabelled, tmp_path, changes, told):
    with pytest.raises(FacekdError, match=told):
        plan_recipe(recipe(tmp_path, {"noisy": stage(mislabelled[0], **changes)}))


def test_a_head_whose_images_were_not_counted_is_no_teachers(mislabelled, tmp_path):
    (plan,) = plan_recipe(recipe(tmp_path, {"noisy": stage(mislabelled[0])}))
    path = tmp_path / "x.head.safetensors"
    save_head(path, Classifier(PEOPLE, 16, centres=2), plan.faces.label_map.hash)
    shared = stage(mislabelled[0], head=str(path), loss="arcface")
    with pytest.raises(FacekdError, match=r"head: .*x\.head\.saf.*: .* which is the domin"):
        plan_recipe(recipe(tmp_path, {"shared": shared}))


def test_the_recipes_of_the_page_are_a_pair(tmp_path):
    page = Path(__file__).parents[2] / "docs/noisy-labels.md"
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    recipes = []
    for k, text in enumerate(blocks):
        (tmp_path / f"{k}.yaml").write_text(text)
        recipes.append(load_recipe(str(tmp_path / f"{k}.yaml")))
    first, second = recipes
    assert first.stages["noisy"].head.centres == 3
    assert second.data.exclude == f"{first.output}/noisy.far.csv"
    assert second.data.source == first.data.source
    assert second.stages["clean"].head is None
