import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from facekd.errors import FacekdError
from facekd.eval.scores import SortedScores, sort_scores
from facekd.eval.transfer import SetThreshold, apply_thresholds, read_thresholds

FORMAT_1 = Path(__file__).parents[1] / "fixtures" / "report_format1" / "results.json"


def points(*thresholds):
    return [{"target_far": 10.0 ** -(k + 1), "threshold": t} for k, t in enumerate(thresholds)]


def write(path, benches, file_format=2):
    path.write_text(json.dumps({"format": file_format, "benches": benches}))
    return path


@pytest.fixture
def results(tmp_path):
    """Two benches of two models; the second model has no threshold on the second bench."""
    return write(
        tmp_path / "results.json",
        [
            {
                "name": "lfw",
                "models": [
                    {"name": "student", "tar_at_far": points(0.25, 0.5, None)},
                    {"name": "teacher", "tar_at_far": points(0.125)},
                ],
            },
            {
                "name": "cfp_fp",
                "models": [
                    {"name": "student", "tar_at_far": points(0.375)},
                    {"name": "teacher", "tar_at_far": points(None)},
                ],
            },
        ],
    )


def test_thresholds_are_those_of_the_model_and_the_bench(results):
    got = read_thresholds(results, model="student", bench="lfw")
    source = f"bench lfw, model student, {results}"
    assert got == (SetThreshold(0.1, 0.25, source), SetThreshold(0.01, 0.5, source))
    (got,) = read_thresholds(results, model="student", bench="cfp_fp")
    assert got.threshold == 0.375


def test_a_file_of_format_1_is_read():
    values = json.loads(FORMAT_1.read_text())
    (bench,) = values["benches"]
    for model in bench["models"]:
        got = read_thresholds(FORMAT_1, model=model["name"])
        expected = [p for p in model["tar_at_far"] if p["threshold"] is not None]
        assert [(t.target_far, t.threshold) for t in got] == [
            (p["target_far"], p["threshold"]) for p in expected
        ]
        assert got
        assert f"bench {bench['name']}, model {model['name']}" in got[0].source


def test_the_only_model_is_taken_whatever_its_name(tmp_path):
    one = {"name": "lfw", "models": [{"name": "run7", "tar_at_far": points(0.25)}]}
    (got,) = read_thresholds(write(tmp_path / "r.json", [one]), model="student")
    assert got.threshold == 0.25
    assert "model run7" in got.source


@pytest.mark.parametrize(
    ("model", "bench", "words"),
    [
        ("student", None, "which bench is meant; name one of those it has: 'lfw', 'cfp_fp'"),
        ("student", "ijbc", "there is no bench 'ijbc'; name one of those it has: 'lfw', 'cfp_fp'"),
        ("other", "lfw", "bench lfw: there is no model 'other'; .*'student', 'teacher'"),
        ("teacher", "cfp_fp", "the model 'teacher' has no threshold at any FAR"),
    ],
)
def test_a_choice_that_is_not_there_lists_what_is(results, model, bench, words):
    with pytest.raises(FacekdError, match=words.replace("?", r"\?")):
        read_thresholds(results, model=model, bench=bench)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "has no benches"),
        ('{"format": 2, "benches": 3}', "has no benches"),
        ('{"format": 99, "benches": []}', "has format 99 and this facekd reads 1 and 2"),
        ('{"format": 2, "benches": []}', "which bench is meant.* none at all"),
        ('{"format": 2, "benches": [{"name": "x"}]}', "no thresholds where"),
        ('{"format": 2, "benches": [{"name": "x", "models": [{"name": "y"}]}]}', "no thresholds"),
        ('{"format": 2, "benches": [7]}', "no thresholds where"),
    ],
)
def test_a_file_that_is_no_results_json_is_an_error(tmp_path, text, words):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(FacekdError, match=words) as caught:
        read_thresholds(path, model="student")
    assert str(path) in str(caught.value)


def test_a_missing_file_or_bytes_that_are_no_text_are_an_error(tmp_path):
    with pytest.raises(FacekdError, match=r"cannot read .*none\.json: No such file"):
        read_thresholds(tmp_path / "none.json", model="student")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FacekdError, match=r"cannot read .*x\.json"):
        read_thresholds(tmp_path / "x.json", model="student")


def test_a_threshold_has_the_rates_it_really_has_here():
    rng = np.random.default_rng(1)
    same = rng.random(500) < 0.4
    scores = (rng.normal(size=500) + same).round(1)
    known = [SetThreshold(0.01, 1.0, "there"), SetThreshold(0.1, -50.0, "there")]
    first, second = apply_thresholds(sort_scores(scores, same), known)
    assert (first.source, first.target_far, first.threshold) == ("there", 0.01, 1.0)
    genuine, impostor = scores[same], scores[~same]
    assert first.false_accepts == np.count_nonzero(impostor >= 1.0)
    assert (first.far, first.tar) == (np.mean(impostor >= 1.0), np.mean(genuine >= 1.0))
    for rate, interval, trials in (
        (first.far, first.far_interval, len(impostor)),
        (first.tar, first.tar_interval, len(genuine)),
    ):
        exact = binomtest(round(rate * trials), trials).proportion_ci(method="exact")
        assert interval == pytest.approx((exact.low, exact.high))
    assert (second.far, second.tar) == (1.0, 1.0)


def test_impostors_that_stand_for_many_pairs_count_as_many():
    ranked = SortedScores(np.array([0.5, 0.9]), np.array([0.1, 0.6]), np.array([97, 3]))
    (got,) = apply_thresholds(ranked, [SetThreshold(0.01, 0.6, "there")])
    assert (got.false_accepts, got.far, got.tar) == (3, 0.03, 0.5)
