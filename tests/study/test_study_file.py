import re

import numpy as np
import pytest
from tiny_studies import write_study

from facekd.cli.train import main
from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError
from facekd.study import bench as study_bench
from facekd.study.file import StudyBench, load_study
from facekd.study.grid import make_grid
from facekd.study.judged import pack, unpack


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, r"grid.yaml line \d+: unknown key 'seed'; did you mean 'seeds'"),
        ({"seeds": [1, 1]}, "a seed is given twice"),
        ({"seeds": []}, r"grid.yaml line \d+: seeds: .*at least 1"),
        ({"baseline": "aline"}, "baseline: no method 'aline'; did you mean 'alone'"),
        ({"methods": {}}, "methods: .*at least 1"),
        ({"bench": {}}, "bench: .*at least 1"),
        ({"bench": {"held": {"source": "holdout", "flop": "off"}}}, "did you mean 'flip'"),
        ({"format": 2}, "format: Input should be 1, found 2"),
        ({"methods": {"x": {"like": "alon"}}}, r"grid.yaml line \d+: no stage 'alon' to start"),
        (
            {"methods": {"x": {"like": "alone", "optimiser": {}}}},
            r"grid.yaml line \d+: unknown key 'stages.x.optimiser'; did you mean 'optimizer'",
        ),
        (
            {"methods": {"x": {"like": "taught", "loss": {"preset": "l2e", "betta": 1}}}},
            r"grid.yaml line \d+: stage 'x': .*'betta'",
        ),
        ({"set": {"common.model.inputsize": 32}}, r"grid.yaml `set`: unknown key"),
        ({"shared": ["teecher"]}, "no method builds on a stage 'teecher'; did you mean 'teacher'"),
        (
            {"methods": {"x": {"like": "alone", "seed": 3}}, "shared": []},
            r"grid.yaml line \d+: .*own; the study's `seeds`",
        ),
        ({"recipe": "nowhere.yaml"}, "no recipe file 'nowhere.yaml'"),
        ({"bench": {"nowhere": None}}, "bench 'nowhere'"),
        (
            {"bench": {"held": {"source": "holdout", "draw": 40, "pairs": [30, 41]}}},
            r"pairs: \[30, 41\] is no range of its 40 pairs",
        ),
        (
            {"bench": {"held": {"source": "holdout", "draw": 40, "pairs": [1, 4]}}},
            "1 folds, 4 fold numbers",
        ),
    ],
)
def test_mistakes_are_told_before_anything_runs(tmp_path, capsys, changes, told):
    path = write_study(tmp_path, **changes)
    assert main(["--study", path]) == 2
    error = capsys.readouterr().err
    assert re.search(told, error), error
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "grid.csv").exists()


def test_held_back_people_must_be(tmp_path):
    path = write_study(tmp_path)
    with pytest.raises(FacekdError, match=r"nobody is; set data\.holdout"):
        make_grid(path, ["data.holdout=0"])


def test_a_range_of_pairs_keeps_their_images_and_folds():
    images = [np.full((4, 4, 3), i, np.uint8) for i in range(12)]
    whole = PairSet(
        "made",
        images,
        left=np.array([0, 2, 4, 6, 8, 10, 5, 1]),
        right=np.array([1, 3, 5, 7, 9, 11, 0, 2]),
        same=np.array([True, False] * 4),
        folds=np.repeat(np.arange(4), 2),
    )
    part = study_bench._cut(whole, StudyBench(pairs=(3, 6)))
    assert len(part.images) == 8
    assert part.folds.tolist() == [1, 1, 2, 2]
    for i, pair in enumerate(range(2, 6)):
        assert part.images[part.left[i]][0, 0, 0] == whole.left[pair]
        assert part.images[part.right[i]][0, 0, 0] == whole.right[pair]
        assert part.same[i] == whole.same[pair]


@pytest.mark.parametrize("count", [1, 8, 13, 6000])
def test_packed_decisions_come_back(count):
    bits = np.random.default_rng(count).random(count) < 0.5
    text = pack(bits)
    assert (unpack(text) == bits).all()
    assert len(text) < count / 6 + 12
    with pytest.raises(ValueError, match=r"bits for|padd"):
        unpack(text[:-4])


def test_a_study_knows_its_places(tmp_path):
    study, rest = load_study(write_study(tmp_path), ["study.seeds=[5]", "data.holdout=3"])
    assert (study.seeds, rest) == ((5,), ["data.holdout=3"])
    assert study.results_path == tmp_path / "grid.csv"
    assert study.against == "alone"
