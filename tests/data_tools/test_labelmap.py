import json

import pytest

from facekd.data_tools.labelmap import LabelMap
from facekd.errors import FacekdError


def test_hash_is_stable_and_tells_maps_apart():
    assert LabelMap(("ann", "bob")).hash == "b2157010f4346e4d"  # must not change: heads carry it
    maps = [
        LabelMap(("ann", "bob")),
        LabelMap(("bob", "ann")),
        LabelMap(("ann", "bob"), source="x"),
        LabelMap(("annbob",)),
        LabelMap(("bob",), source="ann"),
        LabelMap(("ann", "böb")),
        LabelMap(('ann","bob',)),
        LabelMap(()),
    ]
    assert len({m.hash for m in maps}) == len(maps)
    assert len(maps[0]) == 2


def test_saved_and_loaded(tmp_path):
    labels = LabelMap(("ann", "böb", "3"), source="f00")
    labels.save(tmp_path / "labels.json")
    assert json.loads((tmp_path / "labels.json").read_text("utf-8"))["format"] == 1
    assert LabelMap.load(tmp_path / "labels.json") == labels


def test_format_1_loads_for_ever():
    text = '{"format": 1, "hash": "b2157010f4346e4d", "source": "", "names": ["ann", "bob"]}'
    assert LabelMap.from_json(text) == LabelMap(("ann", "bob"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2; this facekd reads 1"),
        ({"names": ["bob", "ann"]}, "changed by hand"),
        ({"names": "ann"}, "must be a list"),
        ({"names": ["ann", 3]}, "must all be text"),
        ({"names": ["ann", "ann"]}, "'ann' twice"),
    ],
)
def test_bad_maps(tmp_path, change, message):
    content = json.loads(LabelMap(("ann", "bob")).to_json()) | change
    (tmp_path / "l.json").write_text(json.dumps(content))
    with pytest.raises(FacekdError, match=rf"l\.json: .*{message}"):
        LabelMap.load(tmp_path / "l.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '"x"', "null"])
def test_no_map_at_all(text):
    with pytest.raises(FacekdError, match="no label map"):
        LabelMap.from_json(text)


def test_missing_file(tmp_path):
    with pytest.raises(FacekdError, match="cannot read the label map"):
        LabelMap.load(tmp_path / "nothing.json")
