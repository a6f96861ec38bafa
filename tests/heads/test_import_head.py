"""insightface's classifier, put together out of the files of its training's processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from facekd.cli.model import main
from facekd.data.faces import load_faces
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.labelmap import LabelMap
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.errors import FacekdError
from facekd.heads.classifier import load_head
from facekd.heads.import_head import import_head
from facekd.model import FaceModel
from facekd.recipe import Data
from facekd.recipe_file import load_recipe
from facekd.train.stages import run_recipe

THEIRS = json.loads((Path(__file__).parents[1] / "fixtures/partial_fc_shards.json").read_text())
TRAININGS = sorted({(classes, ranks) for classes, ranks, _, _ in THEIRS["results"]})
WIDTH = THEIRS["inputs"]["width"]


def numbered(classes):
    return LabelMap(tuple(map(str, range(classes))), "data")


def whole(classes):
    """Row c holds c and fractions: no two are equal."""
    return torch.arange(classes).float()[:, None] + torch.rand(classes, WIDTH) / 2


def write_shards(folder, weight, ranks, module=""):
    """The files that their training leaves, by what their own head says of itself."""
    paths = []
    for classes, processes, rank, found in THEIRS["results"]:
        if (classes, processes) != (len(weight), ranks):
            continue
        assert list(found["shapes"]) == ["weight"]
        rows, _ = found["shapes"]["weight"]
        content = {
            "epoch": 20,
            "global_step": 1000,
            "state_dict_backbone": {"conv1.weight": torch.zeros(1)},
            "state_dict_softmax_fc": {"weight": weight[found["start"] : found["start"] + rows]},
            "state_optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
            "state_lr_scheduler": {"base_lrs": [0.1], "_step_count": 3},
        }
        paths.append(folder / f"checkpoint_gpu_{rank}.pt")
        torch.save(content, paths[-1])
    return paths


@pytest.mark.parametrize(("classes", "ranks"), TRAININGS)
def test_every_row_finds_its_place(tmp_path, classes, ranks):
    weight = whole(classes)
    shards = write_shards(tmp_path, weight, ranks)
    head = import_head(shards[::-1], numbered(classes))  # the order of the arguments plays no part
    assert torch.equal(head.weight, weight)
    assert head.frozen


def test_one_file_under_any_name(tmp_path):
    weight = whole(10)
    (shard,) = write_shards(tmp_path, weight, 1)
    shard = shard.rename(tmp_path / "all.pt")
    assert torch.equal(import_head([shard], numbered(10)).weight, weight)


def test_more_than_ten_processes_stand_in_the_order_of_their_numbers(tmp_path):
    weight = whole(24)
    for rank in range(12):
        content = {"state_dict_softmax_fc": {"weight": weight[2 * rank : 2 * rank + 2]}}
        torch.save(content, tmp_path / f"checkpoint_gpu_{rank}.pt")
    shards = sorted(tmp_path.glob("*.pt"))  # 0, 1, 10, 11, 2 ...
    assert torch.equal(import_head(shards, numbered(24)).weight, weight)


def copied(paths):
    again = paths[1].parent / "again"
    again.mkdir()
    return [*paths, paths[1].rename(again / paths[1].name)]


def without_head(paths):
    torch.save({"state_dict_backbone": {}, "epoch": 1}, paths[1])
    return paths


def other(shape):
    def change(paths):
        torch.save({"state_dict_softmax_fc": {"weight": torch.ones(shape)}}, paths[1])
        return paths

    return change


def renamed(paths):
    return [paths[0], paths[1].rename(paths[1].with_name("second.pt")), paths[2]]


def truncated(paths):
    paths[2].write_bytes(paths[2].read_bytes()[:700])
    return paths


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p[:2], r"hold 7 classes and the data has 10 identities; give the files of all"),
        (lambda p: [p[0], p[2]], r"the file of process 1 is missing among .*checkpoint_gpu_0\.pt"),
        (lambda p: p[1:], "the file of process 0 is missing"),
        (lambda p: [*p, p[1]], r"gpu_1\.pt are both of process 1; give each once"),
        (renamed, r"second\.pt does not say which process wrote it"),
        (
            without_head,
            r"gpu_1\.pt has no \"state_dict_softmax_fc\" with a weight, only state_dict",
        ),
        (other((3, WIDTH + 1)), r"gpu_1\.pt is \(3, 4\), and process 1 of 3 .* has \(3, 3\)"),
        (other((4, WIDTH)), "hold 11 classes and the data has 10"),
        (truncated, r"gpu_2\.pt \(700 bytes\) is damaged"),
        (lambda p: [*p, p[0].with_name("checkpoint_gpu_3.pt")], r"gpu_3\.pt is not a file"),
    ],
)
def test_shards_that_make_no_head(tmp_path, change, told):
    with pytest.raises(FacekdError, match=told):
        import_head(change(write_shards(tmp_path, whole(10), 3)), numbered(10))


def test_shards_of_trainings_with_different_numbers_of_processes(tmp_path):
    for rank, rows in enumerate((5, 2, 3)):  # of 2, and of 5 and 3: ten in all
        content = {"state_dict_softmax_fc": {"weight": torch.ones(rows, WIDTH)}}
        torch.save(content, tmp_path / f"checkpoint_gpu_{rank}.pt")
    with pytest.raises(FacekdError, match=r"process 0 of 3 with 10 classes has \(4, 3\); they are"):
        import_head(sorted(tmp_path.glob("*.pt")), numbered(10))


@pytest.mark.parametrize(
    ("label_map", "told"),
    [
        (LabelMap(("0", "2"), "data"), "class 1 of the data is '2', and label 1 .* for '1'"),
        (LabelMap(("b", "a")), "class 0 of the data is 'b', and label 0 .* for 'a'"),
    ],
)
def test_data_whose_classes_are_numbered_otherwise(tmp_path, label_map, told):
    with pytest.raises(FacekdError, match=told):
        import_head([tmp_path / "none.pt"], label_map)


def write_rec(path):
    rng = np.random.default_rng(0)
    with RecordWriter(path) as writer:
        for i in range(30):
            image = encode_jpeg(rng.integers(0, 255, (32, 32, 3), np.uint8))
            writer.write(i + 1, pack(IRHeader(float(i % 10), i + 1), image))
    return path


def test_a_recipe_distils_through_an_imported_head(tmp_path, capsys):
    data = write_rec(tmp_path / "train.rec")
    weight = whole(10)
    shards = write_shards(tmp_path, weight, 3)
    teacher = FaceModel.create("mobilefacenet", WIDTH, 32, width=0.125)
    torch.save(teacher.backbone.state_dict(), tmp_path / "model.pt")
    head = tmp_path / "r50.head.safetensors"
    command = ["import-head", *map(str, shards), str(head), "--data", str(data)]
    assert main(command) == 0
    found, label_map = load_head(head)
    assert torch.equal(found.weight, weight)
    assert label_map == load_faces(Data(source=str(data)), 32)[0].label_map.hash
    assert f"10 identities x 3, label map {label_map}" in capsys.readouterr().out
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"""
data: {data}
output: {tmp_path / "run"}
stages:
  student:
    model: {{embedding_dim: {WIDTH}, input_size: 32, args: {{width: 0.25}}}}
    teacher: {{model: {tmp_path / "model.pt"}, head: {head}}}
    loss: th_kd
    batch_size: 8
    schedule: {{epochs: 1}}
    device: cpu
""")
    (student,) = run_recipe(load_recipe(recipe))
    assert FaceModel.load(student).embedding_dim == WIDTH
    assert main(command) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*command[:-3], str(tmp_path / "x.pt"), *command[-2:]]) == 2
    assert "x.pt does not end in .head.safetensors" in capsys.readouterr().err
