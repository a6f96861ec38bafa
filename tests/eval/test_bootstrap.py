from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.errors import FacekdError
from facekd.eval.bootstrap import CHUNK, bootstrap
from facekd.eval.intervals import clopper_pearson
from facekd.eval.operating import tar_at_far
from facekd.eval.scores import sort_scores
from facekd.eval.trials import Trials

FARS = (1.0, 0.5, 0.2, 0.05)


@st.composite
def small_sets(draw):
    """Few people, few pairs, few different scores: ties and empty corners all the time."""
    people = draw(st.integers(2, 5))
    pairs = draw(st.integers(2, 25))
    person = st.integers(0, people - 1)
    subjects = [[0, 0], [0, 1]]
    subjects += [draw(st.tuples(person, person)) for _ in range(pairs - 2)]
    subjects = np.array(subjects, dtype=np.int32)
    scores = np.array(draw(st.lists(st.integers(-4, 4), min_size=pairs, max_size=pairs))) / 8
    correct = np.array(draw(st.lists(st.booleans(), min_size=pairs, max_size=pairs)))
    trials = Trials(subjects[:, 0] == subjects[:, 1], subjects=subjects, subjects_from="a test")
    return scores, trials, correct


def slow_bootstrap(scores, trials, correct, replicates, seed):
    """Every drawn person's pairs, repeated one by one in plain Python, and counted."""
    present = sorted(set(trials.subjects.ravel().tolist()))
    rng = np.random.default_rng(seed)
    rows = []
    while len(rows) < replicates:
        drawn = [present[k] for k in rng.integers(len(present), size=len(present))]
        genuine, impostor, judged = [], [], []
        for score, (s, t), right in zip(scores, trials.subjects, correct, strict=True):
            for first, one in enumerate(drawn):
                for second, other in enumerate(drawn):
                    if (one, other) == (s, t) and (s != t or first == second):
                        (genuine if s == t else impostor).append(score)
                        judged.append(right)
        if genuine and impostor:
            rows.append(slow_numbers(genuine, impostor, judged))
    return np.percentile(rows, [2.5, 97.5], axis=0)


def slow_numbers(genuine, impostor, judged):
    levels = sorted({*genuine, *impostor})
    curve = []  # (FAR, TAR) by falling threshold
    for threshold in [max(levels) + 1, *reversed(levels)]:
        far = sum(score >= threshold for score in impostor) / len(impostor)
        tar = sum(score >= threshold for score in genuine) / len(genuine)
        curve.append((far, tar))
    area = sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(curve))
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x1 + y1 >= 1:
            equal = x0 + (1 - x0 - y0) / (x1 + y1 - x0 - y0) * (x1 - x0)
            break
    tars = [max(tar for far, tar in curve if far <= target) for target in FARS]
    return [sum(judged) / len(judged), area, equal, *tars]


@given(small_sets(), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_weights_do_what_repeating_the_people_does(case, seed):
    scores, trials, correct = case
    low, high = slow_bootstrap(scores, trials, correct, 5, seed)
    got = bootstrap(scores, trials, FARS, correct=correct, replicates=5, seed=seed)
    assert got.accuracy == pytest.approx((low[0], high[0]))
    assert got.auc == pytest.approx((low[1], high[1]))
    assert got.eer == pytest.approx((low[2], high[2]))
    enough = [k for k, far in enumerate(FARS) if far * trials.impostors >= 1]
    assert [far for far, _ in got.tar] == [FARS[k] for k in enough]
    for k, (_, interval) in zip(enough, got.tar, strict=True):
        assert interval == pytest.approx((low[3 + k], high[3 + k]))


def made(seed, pairs, people):
    """Pairs of people, half of them genuine, whose scores lean on who is in them."""
    rng = np.random.default_rng(seed)
    subjects = rng.integers(0, people, (pairs, 2), dtype=np.int32)
    subjects[::2, 1] = subjects[::2, 0]
    same = subjects[:, 0] == subjects[:, 1]
    lean = rng.normal(size=people)[subjects].sum(axis=1)
    scores = rng.normal(size=pairs) + lean + 3 * same
    return scores, Trials(same, subjects=subjects, subjects_from="a test")


def test_the_order_of_the_pairs_their_sides_and_numbering_gaps_play_no_part():
    scores, trials = made(1, pairs=2000, people=60)
    correct = (scores > 1.5) == trials.same
    order = np.random.default_rng(2).permutation(len(scores))
    turned = 7 * trials.subjects[order][:, ::-1] + 3
    other = Trials(trials.same[order], subjects=turned, subjects_from="a test")
    a = bootstrap(scores, trials, FARS, correct=correct, replicates=20, seed=3)
    b = bootstrap(scores[order], other, FARS, correct=correct[order], replicates=20, seed=3)
    assert a == b
    assert a.subjects == 60
    assert a != bootstrap(scores, trials, FARS, correct=correct, replicates=20, seed=4)


def test_only_the_order_of_the_scores_counts():
    scores, trials = made(2, pairs=2000, people=60)
    mapped = np.exp(scores / 3)
    a = bootstrap(scores, trials, FARS, replicates=10)
    assert a == bootstrap(mapped, trials, FARS, replicates=10)


def test_sets_of_several_chunks_are_summed_over_all_of_them(monkeypatch):
    scores, trials = made(3, pairs=3000, people=80)
    whole = bootstrap(scores, trials, FARS, replicates=10)
    assert len(scores) < CHUNK
    monkeypatch.setattr("facekd.eval.bootstrap.CHUNK", 128)
    assert bootstrap(scores, trials, FARS, replicates=10) == whole


def test_people_with_one_pair_each_give_about_the_binomial_interval():
    """Impostors of one score hold the threshold still, so TAR is a mean of independent trials."""
    people, accepted = 400, 360
    genuine = np.repeat(np.arange(people, dtype=np.int32)[:, None], 2, axis=1)
    impostor = np.stack([np.arange(people), np.roll(np.arange(people), 1)], axis=1)
    subjects = np.concatenate([genuine, impostor]).astype(np.int32)
    scores = np.concatenate([np.ones(accepted), np.full(people - accepted, -1), np.zeros(people)])
    trials = Trials(np.arange(2 * people) < people, subjects=subjects, subjects_from="a test")
    (_, (low, high)), *_ = bootstrap(scores, trials, [0.1], replicates=2000).tar
    exact_low, exact_high = clopper_pearson(accepted, people)
    assert low == pytest.approx(exact_low, abs=0.006)
    assert high == pytest.approx(exact_high, abs=0.006)


def test_people_who_fail_with_all_their_pairs_make_the_interval_wider():
    """Ten pairs a person, all accepted or none: a tenth of the trials, so sqrt(10) the width."""
    people, each = 200, 10
    genuine = np.repeat(np.arange(people), each)
    impostor = np.arange(people)
    left = np.concatenate([genuine, impostor])
    right = np.concatenate([genuine, np.roll(impostor, 1)])
    scores = np.concatenate([np.where(genuine % 10 == 0, -1.0, 1.0), np.zeros(people)])
    subjects = np.stack([left, right], axis=1).astype(np.int32)
    trials = Trials(left == right, subjects=subjects, subjects_from="a test")
    (_, (low, high)), *_ = bootstrap(scores, trials, [0.1], replicates=1000).tar
    exact_low, exact_high = clopper_pearson(1800, 2000)
    assert (high - low) / (exact_high - exact_low) == pytest.approx(10**0.5, rel=0.15)


def all_pairs(rng, people, images=3, dim=8):
    """Every pair of people's images; some people vary much more than others."""
    spread = np.repeat(rng.gamma(2, 0.35, people), images)[:, None]
    centres = np.repeat(rng.normal(size=(people, dim)), images, axis=0)
    faces = centres + spread * rng.normal(size=(people * images, dim))
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    i, j = np.triu_indices(len(faces), 1)
    subjects = np.stack([i // images, j // images], axis=1).astype(np.int32)
    trials = Trials(subjects[:, 0] == subjects[:, 1], subjects=subjects, subjects_from="a test")
    return (faces @ faces.T)[i, j], trials


def test_it_covers_about_what_it_promises_and_the_interval_of_pairs_does_not():
    """100 sets of 80 people against the TAR of the population they are drawn from."""
    rng = np.random.default_rng(0)

    def read(scores, trials):
        return tar_at_far(sort_scores(scores, trials.same), 0.1)

    truth = np.mean([read(*all_pairs(rng, 600)).tar for _ in range(5)])
    held, held_by_pairs = [], []
    for _ in range(100):
        scores, trials = all_pairs(rng, 80)
        low, high = bootstrap(scores, trials, [0.1], replicates=150).tar[0][1]
        held.append(low <= truth <= high)
        low, high = read(scores, trials).interval
        held_by_pairs.append(low <= truth <= high)
    assert np.mean(held) >= 0.88
    assert np.mean(held_by_pairs) < 0.88


def test_intervals_hold_what_all_pairs_say():
    scores, trials = made(5, pairs=20_000, people=500)
    correct = (scores > 1.5) == trials.same
    got = bootstrap(scores, trials, [0.1], correct=correct, replicates=200, seed=1)
    genuine, impostor = scores[trials.same], scores[~trials.same]
    low, high = got.accuracy
    assert low < correct.mean() < high
    low, high = got.auc
    assert low < (genuine[:, None] > impostor[None, ::10]).mean() < high
    low, high = got.tar[0][1]
    assert low < np.mean(genuine > np.quantile(impostor, 0.9)) < high


def test_without_subjects_there_is_a_reason_and_no_interval():
    trials = Trials(np.array([True, False]), subjects_from="a .bin does not say who its people are")
    got = bootstrap([0.5, 0.1], trials, [0.5])
    assert (got.subjects, got.auc, got.tar, got.accuracy) == (0, None, (), None)
    assert got.reason == "a .bin does not say who its people are"
    assert bootstrap([0.5, 0.1], Trials(trials.same), [0.5]).reason


def test_without_judgements_there_is_no_interval_of_accuracy():
    scores, trials = made(6, pairs=50, people=10)
    assert bootstrap(scores, trials, FARS, replicates=3).accuracy is None


@pytest.mark.parametrize(
    ("subjects", "words"),
    [
        ([[0, 0], [1, 1], [1, 2]], "pair 1 is an impostor pair of subjects 1 and 1 \\(1 pairs"),
        ([[0, 3], [0, 1], [1, 2]], "pair 0 is a genuine pair of subjects 0 and 3"),
        ([[0, 0], [0, -1], [1, 2]], "from -1 on"),
        ([[0, 0], [0, 1]], "shape \\(2, 2\\), from 0 on, for 3 pairs"),
    ],
)
def test_subjects_that_contradict_the_pairs_are_an_error(subjects, words):
    trials = Trials(np.array([True, False, False]), subjects=np.array(subjects, dtype=np.int32))
    with pytest.raises(FacekdError, match=words):
        bootstrap([0.5, 0.2, 0.1], trials, [0.5])


@pytest.mark.parametrize("wrong", [{"replicates": 0}, {"seed": -1}])
def test_no_replicates_or_a_negative_seed_are_an_error(wrong):
    scores, trials = made(6, pairs=50, people=10)
    with pytest.raises(FacekdError, match="at least 1, and a seed"):
        bootstrap(scores, trials, FARS, **wrong)


def test_judgements_of_other_pairs_are_an_error():
    scores, trials = made(6, pairs=50, people=10)
    with pytest.raises(FacekdError, match="judgements"):
        bootstrap(scores, trials, FARS, correct=np.ones(49, dtype=np.bool_))
