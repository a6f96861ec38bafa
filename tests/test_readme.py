"""What the README shows is what the package takes."""

import re
from pathlib import Path

import pytest

from facekd.recipe_file import load_recipe, shipped_recipes

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_readmes_recipe_is_one(tmp_path):
    (text,) = blocks(ROOT / "README.md", "yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    recipe = load_recipe(str(path))
    assert list(recipe.stages) == ["student0", "teacher", "student"]
    assert recipe.stages["teacher"].head is not None
    assert recipe.stages["teacher"].head.frozen


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_recipes_that_pages_name_are_there(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for name in re.findall(r"facekd-train (\w+)(?:\s|`)", text):
        assert name in {*shipped_recipes(), "my"}, name
    assert "@" not in re.sub(r"TAR@FAR|\S+@[0-9a-f]{6,}|tar@far", "", text), "a placeholder"
