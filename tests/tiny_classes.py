"""A folder of train/CLASS and val/CLASS with small drawn images, and stages that learn from it."""

import cv2
import numpy as np

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
CLASSES = {"task": "classification", "model": {"backbone": "tiny", "input_size": 32}}
CLASSES["model"]["embedding_dim"] = 8


def write_classes(folder, each=8, size=32, names=NAMES, judged="val"):
    """Images whose colour tells the class, with noise."""
    rng = np.random.default_rng(0)
    for part, count in (("train", each), (judged, max(2, each // 2))):
        for k, name in enumerate(names):
            place = folder / part / name
            place.mkdir(parents=True)
            for i in range(count):
                colour = np.array([40 * k, 250 - 40 * k, 20 + 30 * (k % 3)])
                image = (colour + rng.normal(0, 12, (size, size, 3))).clip(0, 255)
                cv2.imwrite(str(place / f"{i}.png"), image.astype(np.uint8))
    return folder
