"""The synthetic bench is hard for anything that has not learned faces: 20,000 pairs, 64 pixels."""

import numpy as np
import pytest
import torch

from facekd.eval.accuracy import fold_accuracy
from facekd.eval.embed import score_pairs
from facekd.eval.pair_scores import cosine_scores
from facekd.eval.synthetic_bench import synthetic_pairs
from facekd.model import FaceModel


@pytest.fixture(scope="module")
def pairs():
    return synthetic_pairs(64)


def accuracy(scores, pairs):
    assert len(scores) == 20_000
    return fold_accuracy(scores, pairs.same, pairs.folds).mean


@pytest.mark.parametrize("grey", [False, True])
def test_pixel_cosine_stays_below_sixty_percent(pairs, grey):
    images = np.stack([pairs.images[i] for i in range(len(pairs.images))]).astype(np.float32)
    pixels = images.mean(axis=3) if grey else images
    pixels = pixels.reshape(len(pixels), -1)
    if grey:
        pixels -= pixels.mean(axis=1, keepdims=True)
    assert accuracy(cosine_scores(pixels, pairs.left, pairs.right), pairs) <= 0.60


def test_an_untrained_network_stays_below_sixty_percent(pairs):
    torch.manual_seed(0)
    model = FaceModel.create("mobilefacenet", 128, 64, width=0.25)
    with torch.no_grad():  # batch norm's statistics are the data's, the weights are nobody's
        for start in range(0, 1024, 64):
            batch = np.stack([pairs.images[i] for i in range(start, start + 64)])
            model.train()(torch.from_numpy(batch).permute(0, 3, 1, 2))
    assert accuracy(score_pairs(pairs, model), pairs) <= 0.60
