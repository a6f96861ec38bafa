import cv2
import numpy as np
import pytest

from facekd.data_tools.jpeg_quality import read_jpeg_header
from facekd.errors import FacekdError

PICTURE = np.random.default_rng(0).integers(0, 255, (33, 47, 3), dtype=np.uint8)


def jpeg(picture, *settings):
    return cv2.imencode(".jpg", picture, settings)[1].tobytes()


@pytest.mark.parametrize("kind", ["colours", "grey", "progressive", "with restarts"])
def test_every_quality_is_read_exactly(kind):
    more = {
        "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        "with restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
    }.get(kind, [])
    picture = PICTURE[..., 0] if kind == "grey" else PICTURE
    for quality in range(1, 101):
        header = read_jpeg_header(jpeg(picture, cv2.IMWRITE_JPEG_QUALITY, quality, *more))
        assert header.quality == quality
        assert (header.height, header.width) == (33, 47)
        assert header.colours == ("JPEG grey" if kind == "grey" else "JPEG YCbCr")


def test_unlike_qualities_of_brightness_and_colour_are_no_quality():
    tables = [cv2.IMWRITE_JPEG_LUMA_QUALITY, 90, cv2.IMWRITE_JPEG_CHROMA_QUALITY, 70]
    assert read_jpeg_header(jpeg(PICTURE, *tables)).quality is None


def test_tables_of_ones_own_are_no_quality():
    encoded = bytearray(jpeg(PICTURE, cv2.IMWRITE_JPEG_QUALITY, 90))
    encoded[encoded.index(b"\xff\xdb") + 5] += 1
    assert read_jpeg_header(encoded).quality is None


def test_segments_before_the_tables_are_passed_over():
    encoded = jpeg(PICTURE, cv2.IMWRITE_JPEG_QUALITY, 83)
    with_exif = encoded[:2] + b"\xff\xff\xe1\x00\x08\xff\xd8\xff\xdb\x00\x00" + encoded[2:]
    assert read_jpeg_header(memoryview(with_exif)).quality == 83
    adobe_rgb = encoded[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + encoded[2:]
    assert read_jpeg_header(adobe_rgb).colours == "JPEG RGB"


def test_no_cut_ends_in_anything_but_our_error():
    encoded = jpeg(PICTURE, cv2.IMWRITE_JPEG_QUALITY, 95)
    scan = encoded.index(b"\xff\xda")
    for end in range(scan + 2):
        with pytest.raises(FacekdError):
            read_jpeg_header(encoded[:end])
    rng = np.random.default_rng(1)
    for _ in range(300):
        broken = bytearray(encoded[: scan + 20])
        broken[rng.integers(0, scan)] ^= 1 << int(rng.integers(0, 8))
        try:
            read_jpeg_header(broken)
        except FacekdError:
            continue
