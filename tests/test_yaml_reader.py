import pytest

from facekd.errors import FacekdError
from facekd.yaml_reader import Document, parse_value


def read(text):
    return Document(text, "r.yaml").data


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1e-4", 1e-4),
        ("5E3", 5000.0),
        ("1.e2", 100.0),
        (".5", 0.5),
        ("-2e-1", -0.2),
        ("3", 3),
        ("1_000", 1000),
        ("2.0.1", "2.0.1"),
        ("e5", "e5"),
        ("'1e-4'", "1e-4"),
        ("true", True),
        ("off", "off"),
        ("on", "on"),
        ("no", "no"),
        ("2026-01-02", "2026-01-02"),
        ("~", None),
    ],
)
def test_scalars_are_read_as_people_mean_them(text, meant):
    value = read(f"a: {text}")["a"]
    assert value == meant
    assert type(value) is type(meant)


def test_every_key_and_item_remembers_its_line():
    document = Document("a:\n  b: 1\n  c:\n    - x\n    - y\n\nd: 2\n", "r.yaml")
    assert document.where(("a", "c", 1)) == "r.yaml line 5"
    assert document.where(("d",)) == "r.yaml line 7"
    assert document.where(("a", "b", "not there")) == "r.yaml line 2"
    assert document.where(("nowhere",)) == "r.yaml"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", r"line 3: the key 'a' is given twice \(first on line 1\)"),
        ("x:\n  a: 1\n  'a': 3\n", r"line 3: the key 'a' is given twice \(first on line 2\)"),
        ("a: !!python/object/apply:os.system [ls]\n", "line 1: the tag .*python.* is not allowed"),
        ("b: 1\na: !mine 3\n", "line 2: the tag '!mine' is not allowed"),
        ("a: &x 1\nb: *x\n", "line 2: not valid YAML .*aliases"),
        ("a: &x [1]\nb:\n  <<: *x\n", "line 3: not valid YAML .*aliases"),
        ("a: [1\nb: 2\n", "line 2: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("a: \x07\n", "not valid YAML"),
        ("a: !!int abc\n", "line 1: 'abc' is no int"),
        ("a: 0x_\n", "line 1: '0x_' is no int"),
        ("a: !!bool maybe\n", "line 1: 'maybe' is no bool"),
        ("a: " + "[" * 5000, "nested too deep"),
    ],
)
def test_what_is_not_plain_is_told_with_its_line(text, told):
    with pytest.raises(FacekdError, match=told) as error:
        read(text)
    assert "\n" not in str(error.value)


def test_environment_variables(monkeypatch):
    monkeypatch.setenv("FACES", "/some/where")
    monkeypatch.delenv("NO_FACES", raising=False)
    assert read("a: ${FACES}/x.rec")["a"] == "/some/where/x.rec"
    assert read("a: $FACES")["a"] == "$FACES"
    with pytest.raises(FacekdError, match="line 2: the environment variable NO_FACES is not set"):
        read("b: 1\na: ${NO_FACES}/x.rec")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("off", "off"), ("", ""), ("[1, 2]", [1, 2]), ("a", "a")]
)
def test_values_of_the_command_line_are_read_alike(text, value):
    assert parse_value(text) == value
