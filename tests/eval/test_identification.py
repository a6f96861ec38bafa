"""1:N search against insightface's own code (fixtures/make_ijb_authors.py) and a slow double."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.data_tools.ijb import Gallery, TemplateFaces, TemplateSearch
from facekd.errors import FacekdError
from facekd.eval import identification
from facekd.eval.identification import FPIRS, RANKS, identify
from facekd.eval.templates import Pooled

FIXTURES = Path(__file__).parents[1] / "fixtures"
MAKE = runpy.run_path(str(FIXTURES / "make_ijb_authors.py"), run_name="make_ijb_authors")


def search_of(galleries, probes, probe_subjects, templates):
    """A search over `templates` templates; galleries: (templates, subjects) each."""
    faces = TemplateFaces(
        images=None,
        template=np.arange(templates, dtype=np.int32),
        media=np.arange(templates),
        detector=np.ones(templates, np.float32),
        found=np.ones(templates, bool),
        template_ids=np.arange(templates),
        fingerprint="made",
    )
    return TemplateSearch(
        name="made",
        source="made.csv",
        faces=faces,
        galleries=tuple(
            Gallery(f"G{i + 1}", np.asarray(rows, np.int32), np.asarray(subjects, np.int64))
            for i, (rows, subjects) in enumerate(galleries)
        ),
        probes=np.asarray(probes, np.int32),
        probe_subjects=np.asarray(probe_subjects, np.int64),
    )


def pooled_of(embeddings, empty=(), unit=True):
    units = np.array(embeddings, np.float32)
    if unit:
        units /= np.linalg.norm(units, axis=1, keepdims=True)
    blank = np.isin(np.arange(len(units)), list(empty))
    units[blank] = 0
    return Pooled(units, np.where(blank, 0, 1).astype(np.float32), blank)


def drawn(seed, subjects=14, probes=60, dim=4):
    """Two galleries of half the subjects each, and probes of all of them.

    Embeddings are sixteenths and not of unit length: their products are exact, and many are tied.
    """
    rng = np.random.default_rng(seed)
    people = rng.standard_normal((subjects, dim))
    half = subjects // 2
    shown = np.concatenate([np.arange(subjects), rng.integers(0, subjects, probes)])
    embeddings = people[shown] + 0.7 * rng.standard_normal((len(shown), dim))
    embeddings = (embeddings * 4).round().clip(-8, 8) / 16
    names = rng.permutation(1000)[:subjects]
    first = [(np.arange(half), names[:half]), (np.arange(half, subjects), names[half:])]
    search = search_of(first, np.arange(subjects, len(shown)), names[shown[subjects:]], len(shown))
    return pooled_of(embeddings, unit=False), search


def slow_search(pooled, search, gallery):
    """Rank rates and TPIR at each FPIR, probe by probe and threshold by threshold."""
    places, right, best_strangers = [], [], []
    for probe, subject in zip(search.probes, search.probe_subjects, strict=True):
        scores = {}
        for row, name in zip(gallery.templates, gallery.subjects, strict=True):
            no_face = pooled.empty[row] or pooled.empty[probe]
            cosine = np.dot(pooled.embeddings[probe].astype(float), pooled.embeddings[row])
            scores[int(name)] = -1.0 if no_face else cosine
        own = scores.pop(int(subject), None)
        if own is None:
            best_strangers.append(max(scores.values()))
            continue
        lost = pooled.empty[probe] or pooled.empty[gallery.templates[gallery.subjects == subject]]
        places.append(10**9 if lost else sum(score >= own for score in scores.values()))
        right.append(own if places[-1] == 0 else -2.0)
    tpirs = []
    for target in FPIRS:
        rates = []
        for threshold in [*right, 1.1]:
            wrong = sum(score >= threshold for score in best_strangers) / len(best_strangers)
            found = sum(score >= threshold > -2 for score in right) / len(right)
            rates.append(found if wrong <= target else 0.0)
        tpirs.append(max(rates))
    return [np.mean([place < k for place in places]) for k in RANKS], tpirs


def test_joined_galleries_equal_insightfaces_code():
    data = MAKE["made"]()
    faces = MAKE["weighted"](data, 1, 1, 1)
    sums = np.zeros((len(data.ids), faces.shape[1]))
    for row, wanted in enumerate(data.ids):
        mine = data.template == wanted
        for medium in np.unique(data.media[mine]):
            sums[row] += faces[mine & (data.media == medium)].mean(axis=0)
    rows = {wanted: row for row, wanted in enumerate(data.ids)}
    galleries = [
        ([rows[i] for i in ids], subjects)
        for ids, subjects in zip(data.galleries, data.gallery_subjects, strict=True)
    ]
    probes = [rows[i] for i in data.probes]
    search = search_of(galleries, probes, data.probe_subjects, len(sums))
    found = identify(pooled_of(sums), search, protocol="insightface")
    assert [one.name for one in found.galleries] == ["G1+G2"]
    with np.load(FIXTURES / "ijb_authors.npz") as theirs:
        assert [rank.rate for rank in found.mean_ranks] == theirs["ranks"].tolist()
        points = {point.target_fpir: point for point in found.galleries[0].points}
        for far, recall, threshold in theirs["points"]:
            assert points[far].tpir == pytest.approx(recall, abs=1e-9)
            assert points[far].threshold == pytest.approx(threshold, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), subjects=st.integers(8, 30), probes=st.integers(40, 90))
def test_exact_protocol_equals_a_slow_double(seed, subjects, probes):
    pooled, search = drawn(seed, subjects, probes)
    found = identify(pooled, search)
    for result, gallery in zip(found.galleries, search.galleries, strict=True):
        ranks, tpirs = slow_search(pooled, search, gallery)
        assert [rank.rate for rank in result.ranks] == ranks
        assert result.mated + result.non_mated == probes
        for point, tpir in zip(result.points, tpirs, strict=True):
            if point.allowed:
                assert point.tpir == tpir
                assert point.fpir <= point.target_fpir
            else:
                assert point.tpir is None
    for i in range(len(RANKS)):
        mean = np.mean([result.ranks[i].rate for result in found.galleries])
        assert found.mean_ranks[i].rate == pytest.approx(mean)
    for i, (fpir, mean) in enumerate(found.mean_tpir):
        values = [result.points[i].tpir for result in found.galleries]
        assert fpir == FPIRS[i]
        assert mean == (None if None in values else pytest.approx(np.mean(values)))


def test_blocks_do_not_change_a_search(monkeypatch):
    pooled, search = drawn(3)
    whole = [identify(pooled, search), identify(pooled, search, protocol="insightface")]
    monkeypatch.setattr(identification, "PRODUCTS", 7 * 4)
    blocks = [identify(pooled, search), identify(pooled, search, protocol="insightface")]
    for one, other in zip(whole, blocks, strict=True):
        assert one.mean_ranks == other.mean_ranks
        assert one.mean_tpir == other.mean_tpir


def test_order_of_gallery_and_probes_does_not_matter():
    pooled, search = drawn(4)
    rng = np.random.default_rng(0)
    mixed = []
    for gallery in search.galleries:
        order = rng.permutation(len(gallery.templates))
        mixed.append((gallery.templates[order], gallery.subjects[order]))
    order = rng.permutation(len(search.probes))
    other = search_of(
        mixed, search.probes[order], search.probe_subjects[order], len(pooled.embeddings)
    )
    assert identify(pooled, other) == identify(pooled, search)


def test_a_tie_counts_against_the_probe():
    axes = np.eye(3)
    galleries = [([0, 1, 2], [10, 11, 12])]
    search = search_of(galleries, [3, 4], [10, 12], 5)
    found = identify(pooled_of([axes[0], axes[0], axes[1], axes[0], axes[1]]), search)
    assert [rank.rate for rank in found.mean_ranks] == [0.5, 1.0, 1.0]


def test_templates_without_a_face_are_never_found():
    pooled, search = drawn(5, subjects=20, probes=80)
    mine = search.galleries[0]
    blank = pooled_of(pooled.embeddings, [mine.templates[2], *search.probes[::5]], unit=False)
    found = identify(blank, search)
    ranks, tpirs = slow_search(blank, search, mine)
    assert [rank.rate for rank in found.galleries[0].ranks] == ranks
    assert found.galleries[0].ranks[-1].rate < 1  # ten of ten, but for those without a face
    assert found.galleries[0].points[0].tpir == tpirs[0]


def test_too_few_strangers_give_a_reason_and_no_number():
    pooled, search = drawn(6, probes=40)
    point = identify(pooled, search).galleries[0].points[1]
    assert (point.target_fpir, point.tpir, point.allowed) == (0.01, None, 0)
    assert "FPIR 0.01 needs at least 100" in point.reason
    alone = search_of([([0, 1], [7, 8])], [2], [8], 3)
    point = identify(pooled_of(np.eye(3)), alone).galleries[0].points[0]
    assert point.reason == "not enough non-mated probes: 0, FPIR 0.1 needs at least 10"


def test_probes_that_nobody_enrolled_are_strangers_or_refused():
    pooled, search = drawn(7, probes=60)
    subjects = np.where(np.arange(60) < 30, 5000, search.probe_subjects)
    other = search_of(
        [(g.templates, g.subjects) for g in search.galleries],
        search.probes,
        subjects,
        len(pooled.embeddings),
    )
    assert identify(pooled, other).galleries[0].non_mated >= 30
    with pytest.raises(FacekdError, match="subject 5000 is enrolled 0 times over all galleries"):
        identify(pooled, other, protocol="insightface")


@pytest.mark.parametrize(
    ("galleries", "protocol", "message"),
    [
        ([([0], [7])], "exact", "none of the 2 probes shows a subject of gallery G1"),
        ([([0], [3]), ([1], [3])], "insightface", "subject 3 is enrolled 2 times"),
        ([([0], [3])], "insightface", "hold one subject in all"),
        ([([0], [3])], "exakt", "did you mean 'exact'"),
    ],
)
def test_searches_without_a_meaning_are_refused(galleries, protocol, message):
    search = search_of(galleries, [2, 3], [3, 3], 4)
    with pytest.raises(FacekdError, match=message):
        identify(pooled_of(np.eye(4)), search, protocol=protocol)
