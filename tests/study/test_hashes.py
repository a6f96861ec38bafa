"""What counts in the hash of a stage's settings."""

import pytest
from tiny_runs import recipe

from facekd.study.jobs import _settings
from facekd.train.plan import plan_recipe
from facekd.train.results import settings_of

# the hashes are those of the first version
QUARTER = {"args": {"width": 0.25}}
USUAL = {"embedding_dim": 512, "input_size": 112}
MODELS = [
    (QUARTER, "0e5f19c92b1b4154", 512, 112),
    (USUAL | QUARTER, "0e5f19c92b1b4154", 512, 112),
    ({}, "2d8f381da3526ad1", 512, 112),
    ({"backbone": "tiny", "embedding_dim": 8, "input_size": 32}, "7074cf336da754c5", 8, 32),
]


@pytest.mark.parametrize(("model", "expected", "width", "size"), MODELS)
def test_a_width_that_would_be_taken_unsaid_does_not_count(model, expected, width, size, tmp_path):
    (plan,) = plan_recipe(recipe(tmp_path, {"student": {}}, common={"model": model}))
    assert _settings(plan, {})[1] == expected
    told = {"backbone": "mobilefacenet", "args": {}} | model
    assert settings_of(plan)["model"] == told | {"embedding_dim": width, "input_size": size}


def test_a_width_of_its_own_does_not_count_and_another_normalisation_does(tmp_path):
    hashes = []
    for k, more in enumerate(
        ({}, {"embedding_dim": 64, "input_size": 32}, {"normalize": "cifar10"})
    ):
        common = {"model": {"backbone": "resnet8", **more}}
        (plan,) = plan_recipe(recipe(tmp_path / str(k), {"student": {}}, common=common))
        hashes.append(_settings(plan, {})[1])
    assert hashes[0] == hashes[1] != hashes[2]
    assert settings_of(plan)["model"]["normalize"]["std"] == [0.247, 0.2435, 0.2616]
