import numpy as np
import pytest

from facekd.errors import FacekdError
from facekd.eval.benchmarks import data_folder, find_bench, list_benches, synthetic_pairs


@pytest.fixture
def data(tmp_path):
    for name in (
        "lfw.bin",
        "faces/cfp_fp.bin",
        "faces/twice.bin",
        "more/twice.bin",
        "more/lfw.bin",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_benches_are_found_by_stem_at_two_depths_and_by_path(data):
    assert find_bench("lfw", data).path == data / "lfw.bin"
    assert find_bench("cfp_fp", data).path == data / "faces/cfp_fp.bin"
    by_path = find_bench(str(data / "more/twice.bin"), None)
    assert (by_path.name, by_path.path) == ("twice", data / "more/twice.bin")
    assert find_bench("synthetic", None).path is None
    assert [bench.name for bench in list_benches(None)] == ["synthetic"]
    assert len(list_benches(data)) == 6


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ijbc", r"looked for .*/ijbc\.bin and .*/\*/ijbc\.bin.*cfp_fp, lfw, synthetic, twice"),
        ("twice", r"faces/twice\.bin and .*more/twice\.bin; give the path"),
        ("nowhere/x.bin", "is not there"),
    ],
)
def test_a_bench_that_is_not_there_or_there_twice(data, name, words):
    with pytest.raises(FacekdError, match=words):
        find_bench(name, data)


def test_without_a_data_folder_the_error_says_how_to_name_one(monkeypatch, tmp_path):
    monkeypatch.delenv("FACEKD_DATA", raising=False)
    assert data_folder() is None
    with pytest.raises(FacekdError, match="set FACEKD_DATA, or give facekd-eval --data DIR"):
        find_bench("lfw", data_folder())
    monkeypatch.setenv("FACEKD_DATA", str(tmp_path / "gone"))
    with pytest.raises(FacekdError, match=r"FACEKD_DATA names .*gone, which"):
        data_folder()
    assert data_folder(tmp_path) == tmp_path


def test_synthetic_pairs_are_the_same_at_every_size_and_say_so():
    small, large = (synthetic_pairs(s, identities=40, images_each=4, pairs=200) for s in (32, 48))
    assert small.name == "synthetic"
    assert (small.left == large.left).all()
    assert small.images[0] is small.images[0]  # drawn once, however many models look at it
    assert (small.images[0].shape, large.images[0].shape) == ((32, 32, 3), (48, 48, 3))
    assert "synthetic" in find_bench("synthetic", None).source


def test_the_synthetic_bench_has_twenty_thousand_pairs():
    pairs = find_bench("synthetic", None).load(32)
    assert len(pairs) == 20_000
    assert pairs.same.sum() == 10_000
    assert len(np.unique(pairs.folds)) == 10


def test_a_path_that_is_no_bin_file_is_said_to_be_none(data):
    with pytest.raises(FacekdError, match=r"is no .bin file; give one, or its folder as --data"):
        find_bench(str(data), None)
