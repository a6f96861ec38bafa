import csv
import io
from types import SimpleNamespace

import numpy as np
import pytest

from facekd.data_tools import nearest_match
from facekd.data_tools.clean import Identities
from facekd.data_tools.review_sheets import ROWS, duplicate_sheets, outlier_sheets
from facekd.data_tools.review_tables import duplicates_csv, exclude_csv, outliers_csv
from facekd.errors import FacekdError

PEOPLE, EACH, DIM = 200, 12, 64


def made(rng, people=PEOPLE, each=EACH, noise=1.0):
    """Embeddings around random directions; a genuine pair's cosine is about 1 / (1 + noise^2)."""
    centres = rng.normal(size=(people, DIM)) / DIM**0.5
    labels = np.repeat(np.arange(people), each)
    spread = rng.normal(size=(len(labels), DIM)) / DIM**0.5
    sizes = rng.uniform(1, 30, (len(labels), 1))
    return ((centres[labels] + noise * spread) * sizes).astype(np.float32), labels


def planted(seed=0, share=0.05):
    """Embeddings with a share of labels changed: embeddings, labels, true labels, changed rows."""
    rng = np.random.default_rng(seed)
    embeddings, truth = made(rng)
    changed = rng.choice(len(truth), int(share * len(truth)), replace=False)
    labels = truth.copy()
    labels[changed] = (truth[changed] + rng.integers(1, PEOPLE, len(changed))) % PEOPLE
    return embeddings, labels, truth, changed


def fake_set(labels):
    """What tables and sheets ask of a set of images."""
    names = [f"p{k}" for k in range(labels.max() + 1)]
    return SimpleNamespace(
        ids=[f"i{k}" for k in range(len(labels))],
        names=names,
        identity=lambda i: names[labels[i]],
        images=[np.full((20, 20, 3), k % 250, np.uint8) for k in range(len(labels))],
    )


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25])
def test_changed_labels_are_found(share):
    embeddings, labels, truth, changed = planted(share=share)
    found = Identities(embeddings, labels).outliers()
    right = np.isin(found.images, changed)
    assert right.mean() > 0.9  # precision
    assert right.sum() / len(changed) > 0.95  # recall
    assert (np.diff(found.cosines) >= 0).all()
    assert found.judged == len(labels)
    really = found.others[right] == truth[found.images[right]]
    assert really.mean() > 0.99
    assert (found.others != labels[found.images]).all()


def test_sound_labels_are_left_alone():
    embeddings, labels = made(np.random.default_rng(4))
    assert len(Identities(embeddings, labels).outliers().images) < 0.005 * len(labels)


def test_few_identities_one_of_them_twice_are_enough():
    rng = np.random.default_rng(5)
    embeddings, truth = made(rng, people=8, each=6, noise=0.5)
    labels = truth.copy()
    labels[42:45] = 8  # half of the last
    labels[[3, 20]] = 5, 1
    people = Identities(embeddings, labels)
    found = people.outliers()
    assert set(found.images.tolist()) == {3, 20}
    assert (found.other_cosines >= found.like).all()
    assert [7, 8] in np.sort(people.duplicates().pairs, axis=1).tolist()


def test_a_given_threshold_is_kept_to():
    embeddings, labels, _, _ = planted()
    people = Identities(embeddings, labels)
    found = people.outliers(0.5)
    assert found.threshold == 0.5
    assert sorted(found.images) == np.flatnonzero(people.cosines < 0.5).tolist()


def test_split_identities_are_found():
    rng = np.random.default_rng(1)
    embeddings, truth = made(rng)
    labels = truth.copy()
    for k in range(30):  # a third of the images under a name of their own
        labels[np.flatnonzero(truth == k)[::3]] = PEOPLE + k
    people = Identities(embeddings, labels)
    found = people.duplicates()
    got, planted_pairs = set(map(tuple, found.pairs.tolist())), {(PEOPLE + k, k) for k in range(30)}
    assert len(got & planted_pairs) >= 0.9 * 30  # recall; that with fewer images stands first
    assert len(got & planted_pairs) >= 0.95 * len(got)  # precision
    assert (np.diff(found.cosines) <= 0).all()
    assert not len(people.duplicates(0.999).pairs)


def test_the_centre_is_the_majoritys():
    rng = np.random.default_rng(3)
    embeddings, labels = made(rng, people=40, each=9)
    for k in range(0, 40, 2):  # three images of nine are of one other person
        rows = np.flatnonzero(labels == k)
        embeddings[rows[:3]] = 2 * embeddings[labels == k + 1][:3]
    found = Identities(embeddings, labels).outliers()
    expected = {row for k in range(0, 40, 2) for row in np.flatnonzero(labels == k)[:3].tolist()}
    got = set(found.images.tolist())
    assert len(got & expected) > 0.95 * len(expected)
    assert len(got & expected) > 0.95 * len(got)


def test_cosines_are_those_to_the_better_half_of_the_others(monkeypatch):
    monkeypatch.setattr(nearest_match, "_ROWS", 7)
    rng = np.random.default_rng(8)
    embeddings, labels = made(rng, people=6, each=5, noise=2.0)
    order = rng.permutation(30)
    embeddings, labels = embeddings[order], labels[order]
    people = Identities(embeddings, labels)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    def cosine(i, rows):
        mean = np.sum([unit[j] for j in rows if j != i], axis=0)
        return mean @ unit[i] / np.linalg.norm(mean)

    for identity in range(6):
        rows = people.members(identity).tolist()
        assert rows == np.flatnonzero(labels == identity).tolist()
        first = {i: cosine(i, rows) for i in rows}
        better = [i for i in rows if first[i] >= sorted(first.values())[2]]
        for i in rows:
            assert people.cosines[i] == pytest.approx(cosine(i, better), abs=1e-5)


def test_only_images_are_not_judged():
    embeddings, labels = made(np.random.default_rng(0), people=20, each=3)
    keep = (labels % 2 == 0) | (np.arange(60) % 3 == 0)
    people = Identities(embeddings[keep], labels[keep])
    alone = people.counts[labels[keep]] == 1
    assert (np.isnan(people.cosines) == alone).all()
    assert people.outliers(1.0).judged == int((~alone).sum())
    assert np.isfinite(people.centres).all()


def test_of_two_that_disagree_both_are_told():
    embeddings, labels = made(np.random.default_rng(0), people=30, each=2, noise=0.3)
    embeddings[0] = embeddings[10]
    found = Identities(embeddings, labels).outliers()
    assert set(found.images.tolist()) == {0, 1}


def test_bad_input():
    with pytest.raises(FacekdError, match="5 images of 1 identities"):
        Identities(np.ones((5, 4), np.float32), np.zeros(5, np.int64))
    with pytest.raises(FacekdError, match="one of two images"):
        Identities(np.ones((5, 4), np.float32), np.arange(5))
    broken = np.ones((4, 4), np.float32)
    broken[2] = 0
    with pytest.raises(FacekdError, match="image 2 has norm 0"):
        Identities(broken, np.array([0, 0, 1, 1]))


def test_tables_tell_what_was_found():
    embeddings, labels, _, changed = planted()
    labels[np.flatnonzero(labels == 3)[::3]] = PEOPLE
    people, images = Identities(embeddings, labels), fake_set(labels)
    outliers, duplicates = people.outliers(), people.duplicates()
    table = list(csv.DictReader(io.StringIO(outliers_csv(images, outliers))))
    assert [row["image"] for row in table] == [f"i{k}" for k in outliers.images]
    assert sum(row["why"].startswith("like identity p") for row in table) > 0.8 * len(changed)
    pairs = list(csv.DictReader(io.StringIO(duplicates_csv(images, people, duplicates))))
    assert (pairs[0]["identity"], pairs[0]["other"]) == (f"p{PEOPLE}", "p3")
    assert int(pairs[0]["images"]) < int(pairs[0]["other_images"])
    fewer = duplicates.pairs[:, 0].tolist()
    listed = list(csv.DictReader(io.StringIO(exclude_csv(images, outliers.images, fewer))))
    assert listed[: len(table)] == [
        {"image": row["image"], "identity": row["identity"]} for row in table
    ]
    assert {"image": "", "identity": f"p{PEOPLE}"} in listed[len(table) :]
    assert len(exclude_csv(images, outliers.images).splitlines()) == len(table) + 1


def test_sheets_hold_a_row_each():
    embeddings, labels, _, _ = planted()
    people, images = Identities(embeddings, labels), fake_set(labels)
    outliers = people.outliers()
    sheets = list(outlier_sheets(images, people, outliers))
    assert len(sheets) == -(-len(outliers.images) // ROWS)
    assert sheets[0].shape[0] > sheets[-1].shape[0] > 112
    duplicates = people.duplicates(-1.0)
    assert next(duplicate_sheets(images, people, duplicates)).shape[1] > 9 * 112
