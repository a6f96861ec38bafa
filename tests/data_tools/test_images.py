import os

import cv2
import numpy as np
import pytest

from facekd.data_tools.images import MAX_ENCODED, decode_rgb, encode_jpeg, read_encoded, resize
from facekd.errors import FacekdError


def reddish(height: int = 40, width: int = 30) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 200
    image[..., 2] = np.linspace(0, 60, width)
    return image


def test_jpeg_round_trip_keeps_the_channel_order():
    decoded = decode_rgb(encode_jpeg(reddish()))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (40, 30, 3)
    assert np.abs(decoded.astype(int) - reddish()).max() < 12


def test_png_is_exact_from_a_view_and_grey_becomes_three_channels():
    png = cv2.imencode(".png", reddish()[..., ::-1])[1].tobytes()
    assert np.array_equal(decode_rgb(memoryview(png)), reddish())
    grey = cv2.imencode(".png", reddish()[..., 0])[1].tobytes()
    assert decode_rgb(grey).shape == (40, 30, 3)


@pytest.mark.parametrize("bad", [b"", b"no image", b"\xff\xd8\xff\xe0 broken \xff\xd9"])
def test_bytes_that_do_not_decode(bad):
    with pytest.raises(FacekdError, match=f"{len(bad)} bytes do not decode"):
        decode_rgb(bad)


def test_jpeg_cut_short_is_not_filled_with_grey():
    jpeg = encode_jpeg(reddish(112, 112))
    with pytest.raises(FacekdError, match="cut short"):
        decode_rgb(jpeg[: len(jpeg) * 3 // 4])
    assert decode_rgb(jpeg + b"trailing").shape == (112, 112, 3)


def test_resize():
    board = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((2, 2)))[..., None] * [255, 0, 255]
    assert (resize(board.astype(np.uint8), 4)[..., 0] == 128).all()  # averages, no aliasing
    assert resize(reddish(), 64).shape == (64, 64, 3)
    same = reddish(30, 30)
    assert resize(same, 30) is same


def test_files_that_are_no_image_files_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(MAX_ENCODED + 1)
    reasons = {"pipe.jpg": "no regular file", "huge.jpg": "too many", "absent.jpg": "No such file"}
    for name, reason in reasons.items():
        with pytest.raises(FacekdError, match=reason):
            read_encoded(tmp_path / name)
