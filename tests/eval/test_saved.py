import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_reports import hostile, pairs_bench, rich, search_bench, streamed_bench

from facekd.errors import FacekdError
from facekd.eval.plain import as_json
from facekd.eval.report import write_report
from facekd.eval.results import Evaluation
from facekd.eval.saved import read_reports
from facekd.eval.saved_report import read_report
from facekd.eval.transfer import read_thresholds

FIXTURES = Path(__file__).parents[1] / "fixtures"


def plain(evaluation):
    """As JSON gives it back."""
    return json.loads(json.dumps(as_json(evaluation, {})["benches"]))


def written(folder, *benches, protocol="exact"):
    write_report(Evaluation(benches, protocol), folder, figures=False)
    return folder


@pytest.mark.parametrize("evaluation", [rich(), hostile()], ids=["plain", "hostile"])
def test_what_is_read_back_is_what_was_written(evaluation, tmp_path):
    write_report(evaluation, tmp_path, figures=False)
    again = read_report(tmp_path)
    assert plain(again) == plain(evaluation)
    for bench, other in zip(again.benches, evaluation.benches, strict=True):
        for (_, ours), (_, theirs) in zip(bench.verified(), other.verified(), strict=True):
            np.testing.assert_array_equal(ours.ranked.impostor, theirs.ranked.impostor)
            if theirs.trials is not None:
                assert ours.scores.dtype == theirs.scores.dtype
                for name in ("same", "folds", "groups", "subjects"):
                    np.testing.assert_array_equal(
                        getattr(ours.trials, name), getattr(theirs.trials, name)
                    )


def test_insightface_protocol_survives(tmp_path):
    bench = pairs_bench("lfw", ("a",), protocol="insightface")
    again = read_report(written(tmp_path, bench, protocol="insightface"))
    assert again.protocol == "insightface"
    assert again.benches[0].models[0].numbers.points[0].rule == "nearest"
    assert plain(again) == plain(Evaluation((bench,), "insightface"))


def test_a_report_of_format_1_loads_for_ever():
    evaluation = read_report(FIXTURES / "report_format1")
    (bench,) = evaluation.benches
    said = json.loads((FIXTURES / "report_format1/results.json").read_text())["benches"][0]
    assert [model.name for model in bench.models] == ["one", "two"]
    for model, old in zip(bench.models, said["models"], strict=True):
        assert model.numbers.accuracy.per_fold.tolist() == old["accuracy"]["per_fold"]
        assert model.numbers.point(0.1).tar == old["tar_at_far"][0]["tar"]
        assert model.scored == "cosine, with the mirrored image's embedding added"


def test_a_report_of_format_2_loads_for_ever():
    evaluation = read_report(FIXTURES / "report_format2")
    said = json.loads((FIXTURES / "report_format2/results.json").read_text())["benches"]
    for bench, old in zip(plain(evaluation), said, strict=True):
        for model, before in zip(bench["models"], old["models"], strict=True):
            assert list(model) == list(before)
            assert model.get("identification") == before.get("identification")
            assert model.get("groups") == before.get("groups")
            for name in ("auc", "eer"):
                assert model.get(name) == pytest.approx(before.get(name))


def test_models_of_two_reports_stand_side_by_side(tmp_path):
    first = written(tmp_path / "a", pairs_bench("lfw", ("one",)), search_bench("n", ("one",)))
    second = written(
        tmp_path / "b",
        pairs_bench("lfw", ("one", "two")),
        search_bench("n", ("two",)),
        streamed_bench("own", ("two",)),
    )
    together = read_reports([first, second])
    names = [[model.name for model in bench.models] for bench in together.benches]
    assert names == [["a/one", "b/one", "two"], ["a/one", "two"], ["two"]]
    assert [bench.baseline for bench in together.benches] == ["a/one", "a/one", "two"]
    assert [name for name, _ in together.benches[0].comparisons()] == ["b/one", "two"]
    same = together.benches[0].comparisons()[0][1]  # the same scores under another name
    assert (same.accuracy.gained, same.accuracy.lost) == (0, 0)
    write_report(together, tmp_path / "c", figures=False)
    assert plain(read_report(tmp_path / "c")) == plain(together)


def test_the_baseline_can_be_chosen(tmp_path):
    first = written(tmp_path / "a", pairs_bench("lfw", ("one", "two")))
    assert read_reports([first], "two").benches[0].comparisons()[0][0] == "one"
    with pytest.raises(FacekdError, match="--baseline three is none of the models on lfw: one, tw"):
        read_reports([first], "three")


def test_folders_of_one_name_are_told_apart_by_their_path(tmp_path):
    folders = [written(tmp_path / x / "run", pairs_bench("lfw", ("one",))) for x in "ab"]
    names = [model.name for model in read_reports(folders).benches[0].models]
    assert names == [f"{folder}/one" for folder in folders]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (pairs_bench("lfw", ("two",), 1000), "bench 'lfw' is not the same in"),
        (replace(pairs_bench("lfw", ("two",)), images=3999), "other images"),
        (streamed_bench("lfw", ("two",)), "bench 'lfw' is not the same in"),
        (search_bench("lfw", ("two",)), "bench 'lfw' is not the same in"),
    ],
)
def test_other_pairs_under_the_same_name_are_refused(tmp_path, second, words):
    folders = [written(tmp_path / "a", pairs_bench("lfw", ("one",)))]
    folders.append(written(tmp_path / "b", second))
    with pytest.raises(FacekdError, match=words):
        read_reports(folders)
    with pytest.raises(FacekdError, match=words):
        read_reports(folders[::-1])


def test_other_protocols_and_the_same_folder_twice_are_refused(tmp_path):
    first = written(tmp_path / "a", pairs_bench("lfw", ("one",)))
    bench = pairs_bench("lfw", ("one",), protocol="insightface")
    second = written(tmp_path / "b", bench, protocol="insightface")
    with pytest.raises(FacekdError, match=r"different protocols \(.*a: exact, .*b: insightface\)"):
        read_reports([first, second])
    with pytest.raises(FacekdError, match="names a folder twice"):
        read_reports([first, tmp_path / "b/../a"])


@pytest.fixture
def saved(tmp_path):
    return Path(shutil.copytree(FIXTURES / "report_format2", tmp_path / "r"))


def spoil(folder, change):
    values = json.loads((folder / "results.json").read_text())
    change(values)
    (folder / "results.json").write_text(json.dumps(values))


def test_scores_of_another_run_are_noticed(saved):
    spoil(saved, lambda v: v["benches"][0]["models"][1].update(auc=0.5))
    with pytest.raises(FacekdError, match=r"model two: results.json says AUC 0.5, the scores give"):
        read_report(saved)


def test_models_of_another_run_are_noticed(saved):
    spoil(saved, lambda v: v["benches"][0]["models"][1].update(name="three"))
    with pytest.raises(FacekdError, match=r"made.npz holds one, two, results.json one, three"):
        read_report(saved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v.update(format=3), r"has format 3 and this facekd reads 1 to 2"),
        (lambda v: v.clear(), r"has format None"),
        (lambda v: v["benches"][0].pop("kind"), r"is not as facekd-eval writes it \(KeyError"),
        (lambda v: v["benches"][1]["models"][0]["identification"].pop("galleries"), "is not as"),
        (lambda v: v["benches"][0].update(scores="scores/gone.npz"), "cannot read the scores in"),
        (lambda v: v["benches"][0].update(scores="results.json"), "cannot read the scores in"),
        (lambda v: v["benches"][0].update(scores="/etc/passwd"), "json: the path .* is absolute"),
        (lambda v: v["benches"][0].update(scores="../a.npz"), r"leads out of its folder \(\.\.\)"),
    ],
)
def test_broken_reports_are_told(saved, change, words):
    spoil(saved, change)
    with pytest.raises(FacekdError, match=words):
        read_report(saved)


def test_a_cut_score_file_is_told(saved):
    path = saved / "scores/made.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(FacekdError, match=r"cannot read the scores in .*made.npz"):
        read_report(saved)


def test_a_folder_without_a_report_is_told(tmp_path):
    with pytest.raises(FacekdError, match="give a folder that facekd-eval --out wrote"):
        read_report(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(FacekdError, match="is not JSON"):
        read_report(tmp_path)
    (tmp_path / "results.json").write_text('{"format": %s}' % ("1" * 5000))
    with pytest.raises(FacekdError, match="is not JSON"):
        read_report(tmp_path)
    with pytest.raises(FacekdError, match="is not JSON"):
        read_thresholds(tmp_path / "results.json", model="one")
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(FacekdError, match="has format None"):
        read_report(tmp_path)
