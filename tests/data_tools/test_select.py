import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.data_tools.select import Wanted, find_labels, join, split, subset
from facekd.errors import FacekdError

labels_of_images = st.lists(st.integers(0, 12), min_size=1, max_size=60).map(
    lambda values: np.asarray(values, dtype=np.int64) * 3
)
seeds = st.integers(0, 2**32)
quick = settings(max_examples=80, deadline=None)


@quick
@given(labels_of_images, st.integers(1, 6), st.integers(1, 6), seeds)
def test_split_deals_every_image_once_and_no_identity_twice(labels, val, test, seed):
    total = len(np.unique(labels))
    parts = {"train": None, "val": val, "test": test}
    if val + test >= total:
        with pytest.raises(FacekdError, match=r"identities are asked for|would get no identity"):
            split(labels, parts, seed)
        return
    made = split(labels, parts, seed)
    assert sorted(np.concatenate(list(made.values())).tolist()) == list(range(len(labels)))
    people = {name: set(labels[rows].tolist()) for name, rows in made.items()}
    assert [len(people[name]) for name in made] == [total - val - test, val, test]
    assert len(set.union(*people.values())) == total
    again = split(labels, parts, seed)
    assert all((made[name] == again[name]).all() for name in parts)


@quick
@given(st.integers(50, 400), st.integers(5, 60), st.integers(5, 30), seeds)
def test_shares_are_met_to_one_identity(total, train, val, seed):
    shares = {"train": train / 100, "val": val / 100, "test": (100 - train - val) / 100}
    made = split(np.arange(total), shares, seed)
    assert sum(map(len, made.values())) == total
    for name, rows in made.items():
        assert abs(len(rows) - shares[name] * total) < 1


def test_other_seeds_split_and_choose_differently():
    labels = np.repeat(np.arange(50), 2)
    one, other = (split(labels, {"train": None, "val": 0.2}, seed)["val"] for seed in (0, 1))
    assert one.tolist() != other.tolist()
    one, other = (subset(labels, Wanted(per_identity=1), seed) for seed in (0, 1))
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"train": 0.8, "val": 0.1}, "train 8, val 1 of 10 identities would leave 1 in no part"),
        ({"train": None, "val": 10}, "train would get no identity of 10"),
        ({"train": None, "val": 11}, "val 11 identities are asked for, and there are 10"),
        ({"train": None, "val": 1.5}, "val is 1.5; give a share"),
        ({"train": None, "val": 0.0}, "val is 0; give a share"),
        ({"train": None, "val": float("nan")}, "val is nan; give a share"),
        ({"train": None, "val": 0.01}, "val would get no identity of 10"),
        ({"train": 0.9, "val": 0.2}, "train 9, val 2 identities are asked for"),
    ],
)
def test_impossible_splits_are_told(parts, words):
    with pytest.raises(FacekdError, match=words):
        split(np.arange(10), parts)


@quick
@given(
    labels_of_images,
    st.integers(1, 4),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(1, 4),
    st.none() | st.integers(1, 10),
    st.none() | st.integers(1, 60),
    seeds,
)
def test_a_subset_is_what_was_asked_for(labels, least, most, each, people, images, seed):
    wanted = Wanted(
        min_images=least, max_images=most, per_identity=each, identities=people, images=images
    )
    counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    fit = {k: n for k, n in counts.items() if least <= n and (most is None or n <= most)}
    try:
        rows = subset(labels, wanted, seed)
    except FacekdError:
        assert not fit or (people or 0) > len(fit) or images is not None
        return
    assert (np.diff(rows) > 0).all()
    kept = dict(zip(*np.unique(labels[rows], return_counts=True), strict=True))
    assert kept.keys() <= fit.keys()
    for identity, count in kept.items():  # whole, or as many as asked for
        assert count == (fit[identity] if each is None else min(fit[identity], each))
    if images is not None:
        assert len(rows) <= images
    elif people is not None:
        assert len(kept) == people
    else:
        assert kept.keys() == fit.keys()
    assert subset(labels, wanted, seed).tolist() == rows.tolist()


def test_fewer_images_of_each_identity_are_some_of_the_more():
    labels = np.random.default_rng(0).integers(0, 9, 200)
    few, more = (set(subset(labels, Wanted(per_identity=k, identities=5))) for k in (3, 8))
    assert few < more


def test_named_identities_only():
    labels = np.array([4, 4, 7, 9, 9])
    assert subset(labels, Wanted(labels=[9, 4], min_images=2)).tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted(min_images=9), "no identity is left of 3 with 1 to 3 images each"),
        (Wanted(labels=[]), "no identity is left of 3"),
        (Wanted(min_images=2, identities=3), "3 identities are asked for, and 2 are left"),
        (Wanted(min_images=2, images=1), "1 images are asked for, and the first .* has [23]"),
    ],
)
def test_impossible_subsets_are_told(wanted, words):
    with pytest.raises(FacekdError, match=words):
        subset(np.array([0, 0, 0, 1, 1, 2]), wanted)


names_by_label = st.dictionaries(st.integers(0, 9), st.sampled_from("pqrstuvw"), max_size=8).filter(
    lambda names: len(set(names.values())) == len(names)
)


@quick
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), names_by_label), st.booleans())
def test_joint_labels_are_dense_and_names_are_fused_only_when_asked(sources, same_names):
    joined = join(sources, same_names)
    assert len(joined) == sum(map(len, sources.values()))
    assert all(one.old_name == sources[one.source][one.old_label] for one in joined)
    by_name = {one.name: one.label for one in joined}
    assert sorted(by_name.values()) == list(range(len(by_name)))
    assert all(by_name[one.name] == one.label for one in joined)
    different = {name for names in sources.values() for name in names.values()}
    assert len(by_name) == (len(different) if same_names else len(joined))


def test_joint_names_that_run_together_are_told():
    with pytest.raises(FacekdError, match=r"label 0 of a and label 5 of a__b .* 'a__b__c'; give"):
        join({"a": {0: "b__c"}, "a__b": {5: "c"}})


def test_unknown_names_are_told_with_their_line():
    assert find_labels(["x", "y"], ["y", "x"], ["1", "2"]) == [1, 0]
    with pytest.raises(FacekdError, match=r"line 2: there is no identity 'z' among the 2 \(1 of"):
        find_labels(["x", "y"], ["y", "z"], ["l, line 1", "l, line 2"])
