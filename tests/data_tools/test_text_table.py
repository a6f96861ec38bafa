"""Typed text tables against Python's own reading of the same lines."""

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.data_tools.text_table import read_table
from facekd.errors import FacekdError

COLUMNS = {"name": str, "number": np.int32, "score": np.float32}
rows = st.lists(
    st.tuples(
        st.text("abcXYZ019._-/#\"'é", min_size=1, max_size=9),
        st.integers(-(2**31), 2**31 - 1),
        st.floats(width=32, allow_infinity=False),
    ),
    min_size=1,
)


@settings(deadline=None)
@given(rows, st.sampled_from([" ", "  ", "\t"]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_every_line_is_read_as_python_reads_it(tmp_path_factory, records, blank, end, last_end):
    path = tmp_path_factory.getbasetemp() / "blanks.txt"
    lines = [blank.join(map(str, record)) for record in records]
    path.write_bytes((end.join(lines) + end * last_end).encode())
    table = read_table(path, COLUMNS)
    assert [kind.dtype.kind for kind in table.values()] == ["U", "i", "f"]
    for name, number, score, record in zip(*table.values(), records, strict=True):
        assert (name, number) == record[:2]
        assert score == pytest.approx(record[2], rel=1e-6, nan_ok=True)


@settings(deadline=None)
@given(rows)
def test_the_first_fields_of_a_csv_are_read(tmp_path_factory, records):
    path = tmp_path_factory.getbasetemp() / "commas.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["NAME", "NUMBER", "SCORE", "MORE"])
        writer.writerows([*record, "a, b"] for record in records)
    table = read_table(path, COLUMNS, header=True)
    assert table["name"].tolist() == [record[0] for record in records]
    assert table["number"].tolist() == [record[1] for record in records]


@pytest.mark.parametrize("name", ["NA", "nan", "null", "None", '"x', "1.0"])
def test_names_stay_as_they_are(tmp_path, name):
    path = tmp_path / "names.txt"
    path.write_text(f"{name} 1 nan\n")
    table = read_table(path, COLUMNS)
    assert table["name"].tolist() == [name]
    assert math.isnan(table["score"][0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 1\n", "line 2: 2 fields; expected 'name number score'"),
        ("a 1 2 3\n", "line 1: 4 fields"),
        ("a 1 2\n\nb 1 2\n", "line 2: 0 fields"),
        ("a 1 2\n\n", "line 2: 0 fields"),
        ("a nan 2\n", "line 1: number is 'nan', not a whole number of 32 bits"),
        ("a 2147483648 2\n", "line 1: number is '2147483648', not a whole number of 32 bits"),
        ("a 1 2\nb 1.5 x\n", "line 2: number is '1.5'"),
        ("a 1 2\nb 1 x\n", "line 2: score is 'x'"),
        (f"a 1 2\n{'b' * 1025} 1 2\n", "line 2: name has 1025 characters, at most 1024"),
        ("", "is empty; expected lines of 'name number score'"),
    ],
)
def test_a_bad_line_is_told_with_its_number(tmp_path, text, message):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(FacekdError, match=message):
        read_table(path, COLUMNS)


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"\xff\xfe 1 2\n")
    with pytest.raises(
        FacekdError, match=r"bad.txt cannot be read as 'name number score': .*utf-8"
    ):
        read_table(path, COLUMNS)
    with pytest.raises(FacekdError, match=f"cannot read {tmp_path}: Is a directory"):
        read_table(tmp_path, COLUMNS)
