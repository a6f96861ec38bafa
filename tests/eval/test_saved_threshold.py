"""Thresholds out of a saved report: of pairs of images only, at any FAR."""

import numpy as np
import pytest
from made_reports import pairs_bench, rich, streamed_bench

from facekd.errors import FacekdError
from facekd.eval.report import write_report
from facekd.eval.results import Evaluation
from facekd.eval.saved_threshold import read_saved_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rich")
    write_report(rich(), folder, figures=False)
    return folder


def test_rates_are_counts_of_the_saved_scores(folder):
    saved = read_saved_model(folder, "student", "lfw")
    assert saved.flip
    scores, same = saved.numbers.scores, saved.numbers.trials.same
    for point in (saved.at_far(0.05), saved.at(0.3)):
        accepted = scores >= point.threshold
        assert point.far == accepted[~same].mean()
        assert point.tar == accepted[same].mean()
    assert saved.at_far(0.05).far <= 0.05
    assert saved.at_far(0.05).target_far == 0.05
    assert np.isnan(saved.at(0.3).target_far)


def test_all_pairs_that_were_streamed_have_thresholds_too(folder):
    saved = read_saved_model(folder, "alone", "own")
    assert saved.flip is None  # its scores say only "cosine"
    assert saved.at_far(1e-4).false_accepts <= 8


@pytest.mark.parametrize(
    ("model", "bench", "words"),
    [
        ("student", None, "which bench of pairs is meant.*'lfw', 'rfw', 'own'"),
        ("student", "ijbc-1n", "no bench of pairs 'ijbc-1n'"),
        ("nobody", "lfw", "bench lfw: there is no model 'nobody'.*'teacher'"),
    ],
)
def test_what_is_not_there_is_named(folder, model, bench, words):
    with pytest.raises(FacekdError, match=words):
        read_saved_model(folder, model, bench)


def test_the_only_model_is_meant_whatever_its_name(tmp_path):
    write_report(Evaluation((pairs_bench("lfw", ["x"]),), "exact"), tmp_path, figures=False)
    saved = read_saved_model(tmp_path, "student")
    assert (saved.bench.name, saved.model.name) == ("lfw", "x")
    with pytest.raises(FacekdError, match=r"lfw: not enough impostors.*ask for a larger FAR"):
        saved.at_far(1e-9)


def test_a_threshold_of_templates_says_nothing_of_images(tmp_path):
    from dataclasses import replace

    bench = streamed_bench("ijbc", ["x"])
    models = (replace(bench.models[0], scored="cosine of two templates, N1 D1 F1"),)
    write_report(Evaluation((replace(bench, models=models),), "exact"), tmp_path, figures=False)
    with pytest.raises(FacekdError, match="templates, which hold several images"):
        read_saved_model(tmp_path, "x")
