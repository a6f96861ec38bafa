"""docs/scale.md says of every term what it does in several processes, and of every recipe key."""

from pathlib import Path

from facekd.distill.term import TERMS
from facekd.recipe import Stage

PAGE = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")


def test_every_term_is_in_the_table_with_its_own_words():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for name in TERMS:
        (row,) = [row for row in rows if f"`{name}`" in row.split(" | ")[0]]
        assert TERMS[name].ranks in row, name


def test_defaults_are_the_recipes():
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| `")]
    told = {row[0].removeprefix("| "): row[1] for row in rows}
    fields = Stage.model_fields
    for key in ("accumulate", "stop_after_nonfinite", "precision"):
        assert told[f"`{key}`"] == str(fields[key].default)
    pair = (fields["checkpoint_minutes"].default, fields["keep_checkpoints"].default)
    assert told["`checkpoint_minutes`, `keep_checkpoints`"] == "{:g}, {}".format(*pair)
