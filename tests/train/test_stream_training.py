"""Training on tar shards that are read from front to back."""

import os
import random
import signal

import pytest
from tiny_runs import recipe, rows, same_weights

from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.items import Item
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.data_tools.writers import write_set
from facekd.train import loop
from facekd.train.loop import Interrupted
from facekd.train.stages import run_recipe

pytest.importorskip("webdataset")

STAGES = {
    "teacher": {"model": {"backbone": "tiny", "embedding_dim": 8, "input_size": 32}},
    "student": {
        "teacher": "teacher",
        "loss": [{"preset": "arcface", "scale": 16.0}, {"term": "l2e"}],  # from the cache
        "schedule": {"epochs": 3},
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    faces = SyntheticFaces(4, 12, 32, 0, split="train")
    items = [
        Item(str(label), f"{i}.jpg", int(label), encode_jpeg(faces.image(i)), None, None)
        for i, label in enumerate(faces.labels)
    ]
    random.Random(0).shuffle(items)
    write_set(items, folder / "shards", "tar", shard_images=7)
    drop = folder / "drop.csv"
    drop.write_text(f"image\n{items[3].identity}/{items[3].name}\n")
    settings = {"source": str(folder / "shards"), "reading": "stream", "buffer": 10}
    return settings | {"exclude": str(drop)}


def test_a_run_stopped_within_an_epoch_goes_on_to_the_same_bits(data, tmp_path, monkeypatch):
    run_recipe(recipe(tmp_path / "whole", STAGES, data=data))
    stopped = recipe(tmp_path / "stopped", STAGES, data=data | {"workers": 2})
    real = loop._forward
    for step in (2, 8):

        def forward(run, around, batch, step=step):
            if around.plan.name == "student" and run.step == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return real(run, around, batch)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "_forward", forward)
            with pytest.raises(Interrupted):
                run_recipe(stopped)
    run_recipe(stopped)
    ours, whole = tmp_path / "stopped/run", tmp_path / "whole/run"
    assert same_weights(ours / "student.pt", whole / "student.pt")
    assert rows(ours / "student/metrics.csv") == rows(whole / "student/metrics.csv")
    assert int(rows(whole / "student/metrics.csv")[-1]["step"]) == 15  # of 47 images in eights


def test_the_order_is_not_that_of_reading_by_index(data, tmp_path):
    one = {"teacher": STAGES["teacher"] | {"schedule": {"epochs": 1}}}
    run_recipe(recipe(tmp_path / "stream", one, data=data))
    run_recipe(recipe(tmp_path / "index", one, data=data | {"reading": "index"}))
    assert not same_weights(tmp_path / "stream/run/teacher.pt", tmp_path / "index/run/teacher.pt")
