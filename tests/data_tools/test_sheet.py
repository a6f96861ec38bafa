import cv2
import numpy as np
import pytest

from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.pairs import PairSet
from facekd.data_tools.sheet import contact_sheet, write_sheet
from facekd.data_tools.sheet_rows import identity_sheet, pair_sheet
from facekd.errors import FacekdError

RED = np.full((40, 40, 3), (255, 0, 0), np.uint8)


def is_white(part):
    return bool((part == 255).all())


def test_places_margins_and_captions():
    wide = np.full((10, 40, 3), (0, 0, 255), np.uint8)
    sheet = contact_sheet([RED, None, wide, RED], ["a name", "", "", ""], 2, size=40)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (24 + 40 + 18 + 8 + 40 + 24, 24 + 40 + 8 + 40 + 24, 3)
    assert (sheet[24:64, 24:64] == (255, 0, 0)).all()
    assert is_white(sheet[24:64, 64:])
    assert not is_white(sheet[64:82, 24:64])
    assert all(is_white(edge) for edge in (sheet[:24], sheet[:, :24], sheet[-24:]))
    assert is_white(sheet[90:105, 24:64])
    assert (sheet[105:115, 24:64] == (0, 0, 255)).all()
    assert (sheet[90:130, 72:112] == (255, 0, 0)).all()


def test_a_row_without_captions_takes_no_room_for_them():
    with_caption = contact_sheet([RED, RED], ["x", ""], 1, size=40)
    without = contact_sheet([RED, RED], ["", ""], 1, size=40)
    assert len(with_caption) - len(without) == 18


def test_long_captions_stay_in_their_width_and_any_letters_are_drawn():
    captions = ["a very long name indeed " * 4, "Zoë Łukasz 李", "", "\n\t\0"]
    sheet = contact_sheet([RED] * 4, captions, 4, size=60)
    below = sheet[84:102]
    assert not is_white(below[:, 24:84])
    assert is_white(below[:, 84:92])
    assert not is_white(below[:, 92:220])
    assert is_white(below[:, -24:])


def test_impossible_sheets_are_refused():
    with pytest.raises(FacekdError, match="0 images"):
        contact_sheet([], [], 3)
    with pytest.raises(FacekdError, match="ask for fewer"):
        contact_sheet([None] * 100_000, [""] * 100_000, 2)


def test_written_by_suffix(tmp_path):
    sheet = contact_sheet([RED], ["x"], 1)
    for name in ("a.png", "a.JPG"):
        write_sheet(tmp_path / name, sheet)
        read = cv2.imread(str(tmp_path / name))
        assert read.shape == sheet.shape
        assert read[60, 60, 2] > 240
    with pytest.raises(FacekdError, match=r"\.png or a \.jpg"):
        write_sheet(tmp_path / "a.gif", sheet)


class Colours:
    """Image i is of the colour (i, i, i); image 3 does not decode."""

    def __len__(self):
        return 30

    def __getitem__(self, i):
        return decode_rgb(b"x") if i == 3 else np.full((20, 20, 3), i, np.uint8)


def colours_in(sheet, rows, columns):
    caption = 18
    return [
        [int(sheet[24 + r * (120 + caption) + 56, 24 + c * 120 + 56, 0]) for c in range(columns)]
        for r in range(rows)
    ]


def test_identities_stand_in_rows_chosen_by_the_seed():
    labels = np.arange(30) // 6
    sheet = identity_sheet(Colours(), labels, "person {}".format)
    found = colours_in(sheet, 5, 6)
    assert found[0] == [0, 1, 2, 225, 4, 5]  # 3 does not decode: a grey square
    assert found[1:] == [[6 * r + c for c in range(6)] for r in range(1, 5)]
    many = np.arange(30)
    one, same, other = (identity_sheet(Colours(), many, str, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert colours_in(one, 10, 1) != colours_in(other, 10, 1)


def test_pairs_stand_side_by_side():
    left, right = np.arange(4, 10), np.arange(14, 20)
    same = np.array([True, False, True, True, False, True])
    sheet = pair_sheet(PairSet("x", Colours(), left, right, same, None))
    found = colours_in(sheet, 4, 5)
    assert found[:2] == [[4, 14, 255, 5, 15], [6, 16, 255, 8, 18]]
    assert found[2:] == [[7, 17, 255, 255, 255], [9, 19, 255, 255, 255]]
    assert encode_jpeg(sheet)
