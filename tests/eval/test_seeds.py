import math

import numpy as np
import pytest

from facekd.errors import FacekdError
from facekd.eval.compare import paired
from facekd.eval.seeds import difference_over_seeds


def slow(first, second):
    """Scalar loops: the mean, and z = 1.959964 standard errors around the adjusted mean."""
    seeds, pairs = len(first), len(first[0])
    gains = [sum(int(second[s][i]) - int(first[s][i]) for s in range(seeds)) for i in range(pairs)]
    gains = [gain / seeds for gain in gains] + [1.0, -1.0]
    middle = sum(gains) / len(gains)
    variance = sum((gain - middle) ** 2 for gain in gains) / len(gains)
    half = 1.959963984540054 * math.sqrt(variance / len(gains))
    return sum(gains) / pairs, (middle - half, middle + half)


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_against_loops(seeds):
    rng = np.random.default_rng(seeds)
    first, second = rng.random((seeds, 300)) < 0.8, rng.random((seeds, 300)) < 0.85
    found = difference_over_seeds(first, second)
    mean, interval = slow(first, second)
    assert found.mean == pytest.approx(mean, rel=1e-12)
    assert found.interval == pytest.approx(interval, rel=1e-9)
    alone = [paired(a, b) for a, b in zip(first, second, strict=True)]
    assert found.per_seed.tolist() == pytest.approx([one.difference for one in alone])
    assert found.p_values == tuple(one.p_value for one in alone)
    if seeds == 1:
        assert found.interval == pytest.approx(alone[0].interval, rel=1e-12)


def test_seeds_that_agree_are_no_further_trials():
    rng = np.random.default_rng(0)
    first, second = rng.random((1, 400)) < 0.7, rng.random((1, 400)) < 0.75
    once = difference_over_seeds(first, second)
    thrice = difference_over_seeds(first.repeat(3, axis=0), second.repeat(3, axis=0))
    assert thrice.interval == pytest.approx(once.interval, rel=1e-12)


def test_the_interval_covers_what_other_pairs_give():
    rng = np.random.default_rng(7)
    chance = rng.random((2, 3, 100_000))  # of each pair to be judged rightly, by method and seed
    chance[1] = np.clip(0.5 * chance[0] + 0.5 * rng.random((3, 100_000)) + 0.1, 0, 1)
    outcomes = rng.random(chance.shape) < chance
    truth = outcomes[1].mean() - outcomes[0].mean()
    hits = 0
    for _ in range(400):
        drawn = rng.integers(0, 100_000, 300)
        low, high = difference_over_seeds(outcomes[0][:, drawn], outcomes[1][:, drawn]).interval
        hits += low <= truth <= high
    assert 0.92 <= hits / 400 <= 0.985


def test_unequal_shapes_are_refused():
    with pytest.raises(FacekdError, match="same seeds on the same pairs"):
        difference_over_seeds(np.ones((2, 5), bool), np.ones((3, 5), bool))
