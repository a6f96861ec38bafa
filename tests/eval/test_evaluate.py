"""The steps from embeddings to numbers, without the command."""

import numpy as np
import pytest
from eval_command import clustered

from facekd.data_tools.ijb import TemplatePairs, TemplateSearch
from facekd.data_tools.labelled import LabelledImages
from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError
from facekd.eval.embeddings import Embeddings
from facekd.eval.evaluate import (
    Judge,
    default_fars,
    faces_of,
    kind_of,
    list_all_pairs,
    trials_of,
)
from facekd.eval.operating import FARS
from facekd.eval.templates import TemplateProtocol
from facekd.eval.transfer import SetThreshold
from facekd.eval.verification import Questions, Verification

LABELS = np.repeat(np.arange(6), 4)
IMAGES = np.zeros((24, 2, 2, 3), np.uint8)


def labelled(labels=LABELS):
    return LabelledImages(
        "made", "made", IMAGES, labels, None, list("abcdefghijklmnopqrstuvwx"), "f"
    )


def pairs(**more):
    left = np.arange(0, 24, 2)
    right = np.where(np.arange(12) % 2, left + 1, (left + 5) % 24)
    same = LABELS[left] == LABELS[right]
    return PairSet("pairs", IMAGES, left, right, same, np.arange(12) % 3, **more)


def test_all_pairs_one_by_one_are_the_streamed_ones():
    bench = labelled()
    made = list_all_pairs(bench)
    assert len(made) == 24 * 23 // 2
    assert (made.left < made.right).all()
    assert len({*zip(made.left.tolist(), made.right.tolist(), strict=True)}) == len(made)
    np.testing.assert_array_equal(made.same, LABELS[made.left] == LABELS[made.right])
    embeddings = Embeddings(clustered(LABELS))
    asked = Questions(fars=(0.1, 0.01))
    streamed, listed = (
        Judge(one, trials_of(one), asked).from_embeddings(embeddings) for one in (bench, made)
    )
    assert [p.tar for p in streamed.points] == [p.tar for p in listed.points]
    assert (streamed.trials, streamed.scores) == (None, None)
    assert streamed.auc == pytest.approx(listed.auc, abs=1e-5)


def test_people_come_from_the_source_else_they_are_inferred():
    assert trials_of(pairs()).subjects is None
    inferred = trials_of(pairs(), people=True)
    assert inferred.subjects_from.startswith("inferred")
    bench = pairs(subjects=LABELS.astype(np.int32), subjects_from="names")
    known = trials_of(bench, people=True)
    assert known.subjects_from == "names"
    np.testing.assert_array_equal(known.subjects[:, 0], LABELS[bench.left])


def test_what_needs_no_embeddings_is_checked_before():
    with pytest.raises(FacekdError, match="all 24 images are of one identity"):
        trials_of(labelled(np.zeros(24, np.int64)))
    left, right = np.array([[0, 1], [1, 2], [0, 2], [3, 4]]).T
    same = np.array([True, True, False, True])
    bench = PairSet("contradictory", IMAGES, left, right, same, None)
    trials = trials_of(bench, people=True)
    assert trials.subjects is None
    assert "pair 2 is an impostor pair, but genuine pairs join" in trials.subjects_from


def test_a_missing_face_is_rejected_at_every_threshold():
    found = np.ones(24, bool)
    found[[1, 7]] = False
    bench = pairs(found=found)
    array = clustered(LABELS)
    array[~found] = 0
    embeddings = Embeddings(array, missing=~found)
    numbers = Judge(bench, trials_of(bench), Questions(fars=(0.5,))).from_embeddings(embeddings)
    touched = ~(found[bench.left] & found[bench.right])
    assert touched.sum() >= 2
    np.testing.assert_array_equal(numbers.scores == -1, touched)
    assert faces_of(bench).not_found == 2


def test_scores_are_as_many_as_pairs():
    bench = pairs()
    judge = Judge(bench, trials_of(bench), Questions())
    with pytest.raises(FacekdError, match=r"mine\.npy: 11 scores for the 12 pairs of pairs"):
        judge.from_scores(np.zeros(11), source="mine.npy")
    streaming = Judge(labelled(), trials_of(labelled()), Questions())
    with pytest.raises(FacekdError, match="made lists no pairs"):
        streaming.from_scores(np.zeros(276))


def test_scores_and_embeddings_give_the_same_numbers():
    bench = pairs()
    groups = np.where(np.arange(12) < 6, "a", "b")
    threshold = (SetThreshold(0.1, 0.3, "elsewhere"),)
    judge = Judge(bench, trials_of(bench, groups), Questions(fars=(0.5, 0.2)))
    one = judge.from_embeddings(Embeddings(clustered(LABELS)), threshold)
    two = judge.from_scores(one.scores, threshold)
    assert isinstance(one, Verification)
    assert one.points == two.points
    assert one.groups == two.groups
    assert one.groups[0].threshold == 0.3
    assert one.transferred == two.transferred
    assert one.quality is not None
    assert two.quality is None  # scores alone do not tell norms


def test_flip_is_left_out_where_it_is_switched_off():
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(24, 8)).astype(np.float32)
    bench = pairs()
    scores = {}
    for flip in (True, False):
        judge = Judge(bench, trials_of(bench), Questions(fars=(0.5,)), TemplateProtocol(flip=flip))
        scores[flip] = judge.from_embeddings(Embeddings(halves, halves=True)).scores
    plain = Judge(bench, trials_of(bench), Questions(fars=(0.5,)))
    summed = plain.from_embeddings(Embeddings(halves[:, :4] + halves[:, 4:])).scores
    np.testing.assert_allclose(scores[True], summed, atol=1e-7)
    np.testing.assert_array_equal(
        scores[False], plain.from_embeddings(Embeddings(halves[:, :4].copy())).scores
    )


def test_kinds_and_their_fars():
    assert kind_of(pairs()) == "pairs"
    assert kind_of(labelled()) == "all pairs"
    assert default_fars(pairs()) == FARS
    assert min(default_fars(labelled())) == 1e-8
    names = {TemplatePairs: "template pairs (1:1)", TemplateSearch: "1:N"}
    for kind, name in names.items():
        assert kind_of(object.__new__(kind)) == name
