"""What pixels become before a network sees them."""

import math

import numpy as np
import pytest
import torch

from facekd.errors import FacekdError
from facekd.preprocess import STATISTICS, Preprocess


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_standardised_as_torchvision_does(channels):
    from torchvision.transforms import Compose, Normalize, ToTensor

    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    mean, std = STATISTICS["imagenet"]
    theirs = Compose([ToTensor(), Normalize(mean, std)])(pixels)
    if channels == "bgr":
        theirs = theirs.flip(0)
    made = Preprocess(4, (0.0, 1.0), channels, mean, std)
    ours = made.normalize(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours[0], theirs, atol=1e-6, rtol=1e-6)
    assert Preprocess.from_description(made.describe()) == made


def test_without_statistics_a_description_is_what_it_was():
    numbers = {"input_size": 112, "input_range": [-1.0, 1.0], "channels": "rgb"}
    assert Preprocess().describe() == numbers
    assert Preprocess.from_description(numbers) == Preprocess()


@pytest.mark.parametrize(
    ("mean", "std", "told"),
    [
        ((0.5, 0.5, 0.5), None, "three numbers each"),
        (None, (0.5, 0.5, 0.5), "three numbers each"),
        ((0.5, 0.5), (0.5, 0.5), "three numbers each"),
        ((0.5, 0.5, 0.5), (0.5, 0.0, 0.5), "deviations above 0"),
        ((0.5, math.nan, 0.5), (0.5, 0.5, 0.5), "three numbers each"),
    ],
)
def test_statistics_that_do_not_fit(mean, std, told):
    with pytest.raises(FacekdError, match=told):
        Preprocess(32, (0.0, 1.0), "rgb", mean, std)


def test_statistics_are_of_pixels_in_0_to_1():
    mean, std = STATISTICS["cifar10"]
    with pytest.raises(FacekdError, match=r"mean and std are of pixels in 0\.\.1"):
        Preprocess(32, mean=mean, std=std)
