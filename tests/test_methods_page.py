"""docs/methods.md names all that there is, and shows what recipes take."""

import re
from pathlib import Path

import pytest
import yaml

from facekd.cli.train import main
from facekd.distill import build_terms, expand
from facekd.recipe import Stage

PAGE = (Path(__file__).parents[1] / "docs" / "methods.md").read_text(encoding="utf-8")
FIXTURES = Path(__file__).parent / "fixtures"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_every_name_that_the_command_lists_is_on_the_page(capsys):
    assert main(["--list"]) == 0
    listed: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line and not line.startswith(" "):
            names = listed.setdefault(line.split()[0].rstrip(":"), [])
        elif line.strip():
            names.append(line.split()[0])
    assert {"arcface", "th_kd"} <= set(listed["losses"])
    assert {"margin", "kd"} <= set(listed["terms"])
    for section in ("losses", "terms", "margins"):
        missing = [name for name in listed[section] if f"`{name}`" not in PAGE]
        assert not missing, f"docs/methods.md leaves out the {section} {missing}"


@pytest.mark.parametrize("name", re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", PAGE, re.MULTILINE))
def test_names_in_the_tables_exist(name, capsys):
    assert main(["--list"]) == 0
    names = capsys.readouterr().out.split()
    for one in re.findall(r"`(\w+)`", name):
        assert one in names


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_what_a_stage_takes(text):
    stage = Stage.model_validate(yaml.safe_load(text))
    assert build_terms(expand(stage.loss))


def test_commits_are_those_of_the_scripts():
    told = set(re.findall(r"\b([\w.-]+/[\w.-]+)@([0-9a-f]{7})\b", PAGE))
    assert len(told) > 10
    made = set()
    for script in FIXTURES.glob("make_*.py"):
        text = script.read_text()
        found = re.search(r'REPOSITORY = "github.com/(.*)"\nCOMMIT = "([0-9a-f]{7})', text)
        if found:
            made.add(found.groups())
    assert told <= made
    unnamed = {repository for repository, _ in made} - {repository for repository, _ in told}
    assert not unnamed
