"""A study small enough to run inside a test."""

import json

from tiny_runs import write_recipe

HELD = {"synthetic": {"identities": 24, "images_per_identity": 6}, "holdout": 20}
STAGES = {
    "alone": {},
    "teacher": {"head": "alone", "model": {"backbone": "tiny", "embedding_dim": 8}},
    "taught": {"teacher": "teacher", "loss": {"preset": "l2e", "scale": 16.0, "beta": 4.0}},
}
STUDY = {
    "recipe": "mine.yaml",
    "set": {"common.model.input_size": 32, "stages.teacher.model.input_size": 32},
    "seeds": [0, 1],
    "shared": ["alone", "teacher"],
    "bench": {"held": {"source": "holdout", "draw": 40, "flip": "off"}},
    "methods": {"alone": None, "taught": None},
}


def write_study(folder, **changes):
    """Write `<folder>/grid.yaml` over a recipe beside it; gives its path."""
    write_recipe(folder, STAGES, data=HELD)
    path = folder / "grid.yaml"
    path.write_text(json.dumps({**STUDY, "runs": str(folder / "runs"), **changes}, indent=1))
    return str(path)
