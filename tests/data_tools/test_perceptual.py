import cv2
import numpy as np
import pytest

from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.perceptual import mirrored, perceptual_hash
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.data_tools.thresholds import SAME_BITS, SEARCHED_BITS

FACES = SyntheticFaces(40, 2, seed=5)
IMAGES = [FACES.image(i) for i in range(80)]
HASHES = np.array([perceptual_hash(image) for image in IMAGES])


def scaled(image, side):
    how = cv2.INTER_AREA if side < len(image) else cv2.INTER_LINEAR
    return cv2.resize(image, (side, side), interpolation=how)


CHANGES = {
    "saved at quality 20": (lambda image: decode_rgb(encode_jpeg(image, 20)), 1.0),
    "half the size": (lambda image: scaled(image, 56), 1.0),
    "twice the size": (lambda image: scaled(image, 224), 1.0),
    "half the size, saved": (lambda image: decode_rgb(encode_jpeg(scaled(image, 56), 50)), 1.0),
    "gamma": (lambda image: (255 * (image / 255) ** 0.7).astype(np.uint8), 1.0),
    "grey": (lambda image: np.repeat(image[:, :, 1:2], 3, axis=2), 0.8),
    "1 % cropped": (lambda image: image[1:-1, 1:-1], 1.0),
    "2 % cropped": (lambda image: image[2:-2, 2:-2], 0.8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_near(change):
    made, share = CHANGES[change]
    copies = np.array([perceptual_hash(made(image)) for image in IMAGES])
    first = np.bitwise_count(copies[:, 0] ^ HASHES[:, 0])
    whole = np.bitwise_count(copies ^ HASHES).sum(axis=1)
    assert ((first <= SEARCHED_BITS) & (whole <= SAME_BITS)).mean() >= share


def test_other_pictures_are_far():
    distances = np.bitwise_count(HASHES[:, None] ^ HASHES[None]).sum(axis=2)
    apart = distances[np.triu_indices(len(HASHES), 1)]
    assert apart.min() > SAME_BITS
    assert 80 < apart.mean() < 128


def test_the_hash_of_the_mirrored_image_is_had_without_it():
    flipped = np.array([perceptual_hash(image[:, ::-1].copy()) for image in IMAGES])
    assert np.bitwise_count(mirrored(HASHES) ^ flipped).sum(axis=1).max() <= 4  # of 256: near zero
    assert (mirrored(mirrored(HASHES)) == HASHES).all()
    assert np.bitwise_count(HASHES ^ flipped).sum(axis=1).min() > SAME_BITS


def test_the_bits_are_the_signs_of_the_dct():
    """F[u,v] = sum f[y,x] cos(pi (2y+1) u / 64) cos(pi (2x+1) v / 64), scalar by scalar."""
    grey = cv2.cvtColor(IMAGES[3], cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(float)
    angle = np.pi * (2 * np.arange(32) + 1) / 64
    words = [0, 0, 0, 0]
    unsure = 0
    for u in range(1, 17):
        for v in range(1, 17):
            value = np.cos(u * angle) @ small @ np.cos(v * angle)
            word = (u - 1) // 8 * 2 + (v - 1) // 8
            place = (u - 1) % 8 * 8 + (v - 1) % 8
            byte, bit = divmod(place, 8)
            words[word] |= int(value > 0) << (8 * byte + 7 - bit)
            unsure += abs(value) < 0.1
    differing = np.bitwise_count(np.array(words, dtype="<u8") ^ HASHES[3]).sum()
    assert differing <= unsure


def test_pictures_of_one_colour_are_alike():
    for value in (0, 9, 255):
        assert not perceptual_hash(np.full((50, 70, 3), value, np.uint8)).any()
