import pytest
import torch
from tiny_runs import COMMON, recipe

from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier, save_head
from facekd.train import stages
from facekd.train.check import check
from facekd.train.plan import plan_recipe
from facekd.train.stages import run_recipe

TH_KD = {"teacher": "t", "loss": "th_kd"}
OTHER = {"source": "synthetic", "synthetic": {"identities": 5, "images_per_identity": 6}}
L2E_ONLY = {"preset": "l2e", "classification": 0}
NETWORK = COMMON["model"]


def wider(**changes):
    return {"model": NETWORK | changes}


@pytest.fixture(autouse=True)
def _nothing_trains(monkeypatch):
    monkeypatch.setattr(stages, "train", lambda *_: pytest.fail("it trains"))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            {"s": {"loss": "th_kd"}},
            "needs teacher embeddings and teacher head, .*add teacher: STAGE",
        ),
        ({"t": {}, "s": {"teacher": "t"}}, "names a teacher, but its loss asks nothing of one"),
        ({"s": {"loss": "l2e"}}, "needs teacher embeddings, and the stage names no teacher"),
        ({"t": {"data": OTHER}, "s": TH_KD}, "other identities .*5 classes.*4 classes.*rebuild"),
        ({"t": {"data": OTHER}, "s": {"head": "t"}}, "head: stage 't' was trained on other ident"),
        ({"t": {}, "s": {"head": "t"} | wider(embedding_dim=6)}, "head: .* 8 wide, this stage 6"),
        (
            {"a": {}, "t": {"teacher": "a", "loss": L2E_ONLY}, "s": TH_KD},
            "teacher: stage 't' trains no classifier .*rebuild",
        ),
        (
            {"a": {}, "t": {"teacher": "a", "loss": L2E_ONLY}, "s": {"head": "t"}},
            "head: stage 't' trains no classifier",
        ),
        (
            {"t": {}, "s": {"teacher": "t", "loss": L2E_ONLY, "head": "t"}},
            "reads no student head, so `head` would do nothing",
        ),
        (
            {"t": {}, "s": {"teacher": {"model": "t", "input_range": [0, 255]}, "loss": "l2e"}},
            "knows its own input; leave input_range",
        ),
        ({"t": wider(input_size=48), "s": TH_KD}, "48-pixel images and the student 32-pixel"),
        ({"t": {}, "s": {"start_from": "t"} | wider(embedding_dim=6)}, "embedding_dim 8, but .* 6"),
        ({"s": {"head": "none.safetensors"}}, "head: there is no none.safetensors; name a"),
        ({"s": {"head": "none.pt"}}, "head: there is no none.head.safetensors; name a"),
        ({"s": {"batch_size": 25}}, "batch_size 25 is more than the 24 training images"),
        ({"s": {"loss": {"preset": "arcface", "mm": 1}}}, "no setting 'mm'; did you mean 'm'"),
        ({"s": {"loss": "arcfase"}}, "unknown preset 'arcfase'; did you mean 'arcface'"),
        ({"s": wider(backbone="tinny")}, r"unknown backbone 'tinny'; did you mean 'tiny'"),
        ({"s": wider(args={"width": 1})}, "no argument 'width'"),
        ({"s": wider(args={"embedding_dim": 1})}, "'embedding_dim' is no argument of the backbone"),
        (
            {"s": {"model": {"args": {"width": "wide"}, "input_size": 32}}},
            "mobilefacenet cannot be built with .*'wide'",
        ),
        ({"s": {"validation": {"benches": ["holdout"]}}}, "nobody is held back"),
        ({"s": {"validation": {"benches": ["nothing.bin"]}}}, r"nothing.bin is not there"),
        ({"s": {"data": OTHER | {"max_identities": 1}}}, "1 identities .* at least two are needed"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_trains(tmp_path, made, told):
    ready = recipe(tmp_path, made)
    for work in (run_recipe, check):
        with pytest.raises(FacekdError, match=told) as error:
            work(ready)
        assert "\n" not in str(error.value)


@pytest.fixture
def teacher(tmp_path):
    """A teacher's file, with a function that puts a head beside it."""
    from facekd.model import FaceModel

    path = tmp_path / "t.pt"
    FaceModel.create("tiny", embedding_dim=8, input_size=32).save(path)

    def put(classes, width, label_map):
        head = Classifier.from_weight(torch.ones(classes, width))
        save_head(tmp_path / "t.head.safetensors", head, label_map)

    return path, put


@pytest.mark.parametrize(
    ("classes", "width", "mapped", "told"),
    [
        (4, 8, False, "belongs to label map 0123 .*use the head of .* or teacher.head: rebuild"),
        (5, 8, True, "t.head.safetensors is 5 x 8, but 4 classes x 8 are needed"),
        (4, 6, True, "t.head.safetensors is 4 x 6, but 4 classes x 8 are needed"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_teachers_head_of_other_shape_or_labels(
    tmp_path, teacher, classes, width, mapped, told, named
):
    path, put = teacher
    label_map = plan_recipe(recipe(tmp_path, {"s": {}}))[0].faces.label_map.hash
    put(classes, width, label_map if mapped else "0123")
    source = {"model": str(path)}
    if named:
        source["head"] = str(tmp_path / "t.head.safetensors")
    with pytest.raises(FacekdError, match=told):
        run_recipe(recipe(tmp_path, {"s": {"teacher": source, "loss": "th_kd"}}))
    rebuilt = {"teacher": source | {"head": "rebuild"}, "loss": "th_kd"}
    assert "rebuilt from class means" in check(recipe(tmp_path, {"s": rebuilt}))


def test_a_teacher_that_states_its_own_input_is_not_told_another(tmp_path, teacher):
    for key, value, told in [
        (
            "input_range",
            [0, 255],
            "t.pt says itself that 0 and 255 become -1 and 1; leave",
        ),
        ("channels", "bgr", "t.pt says itself that it takes rgb; leave .*channels in a recipe"),
    ]:
        source = {"model": str(teacher[0]), key: value}
        with pytest.raises(FacekdError, match=told):
            check(recipe(tmp_path, {"s": {"teacher": source, "loss": "l2e"}}))
    same = {"model": str(teacher[0]), "input_range": [-1, 1], "channels": "rgb"}
    told = check(recipe(tmp_path, {"s": {"teacher": same, "loss": "l2e"}}))
    assert "t.pt, 8-d, takes rgb, 0..255 as -1..1" in told


def test_a_named_head_that_is_missing(tmp_path, teacher):
    source = {"model": str(teacher[0]), "head": "gone.head.safetensors"}
    with pytest.raises(FacekdError, match=r"teacher.head: gone.head.safetensors does not exist"):
        run_recipe(recipe(tmp_path, {"s": {"teacher": source, "loss": "th_kd"}}))


def test_a_file_that_is_no_head(tmp_path, teacher):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    source = {"model": str(teacher[0]), "head": str(tmp_path / "x.safetensors")}
    with pytest.raises(FacekdError, match="cannot read the head file"):
        run_recipe(recipe(tmp_path, {"s": {"teacher": source, "loss": "th_kd"}}))


def test_check_tells_what_a_run_would_do(tmp_path):
    made = {
        "t": wider(embedding_dim=12),
        "s": TH_KD | {"head": "t2", "model": NETWORK},
    }
    made = {"t": made["t"], "t2": {}, "s": made["s"]}
    text = check(recipe(tmp_path, made))
    assert "4 identities, 24 images" in text
    assert "tiny, 12-d, 32 px" in text
    assert "a projector 8 -> 12" in text
    assert "6 steps of 8 images (2 epochs of 3), sgd, lr 0.05, polynomial" in text
    assert "from t2, frozen" in text
    assert "1.1 KiB of teacher embeddings" in text  # 24 images x 2 views x 12 x 2 bytes
    assert not (tmp_path / "run").exists()
