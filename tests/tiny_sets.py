"""Small files in the layout of published sets of classes: CIFAR, Cars, Aircraft, Food-101, CUB."""

import hashlib
import json
import pickle

import cv2
import numpy as np
import scipy.io
from torchvision import datasets


def write_cifar(folder, reader, patch, each=20, judged=None):
    """Files in the published layout; their sums stand in for the published ones."""
    rng = np.random.default_rng(0)
    coarse = reader is datasets.CIFAR100
    names = [f"class{k}" for k in range(100 if coarse else 10)]
    key = "fine_labels" if coarse else "labels"
    place = folder / reader.base_folder
    place.mkdir(parents=True)
    written = {}

    tested = [name for name, _ in reader.test_list]

    def write(name, content):
        data = pickle.dumps(content)
        (place / name).write_bytes(data)
        written[name] = hashlib.md5(data).hexdigest()

    for name, _ in [*reader.train_list, *reader.test_list]:
        count = judged if judged and name in tested else each
        labels = rng.permutation(np.arange(count) % len(names)).tolist()
        write(name, {"data": rng.integers(0, 256, (count, 3072), np.uint8), key: labels})
    write(reader.meta["filename"], {reader.meta["key"]: names})
    for part in ("train_list", "test_list"):
        patch.setattr(reader, part, [[n, written[n]] for n, _ in getattr(reader, part)])
    patch.setattr(reader, "meta", {**reader.meta, "md5": written[reader.meta["filename"]]})
    return names


def write_photo(path, k, shape=(40, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*shape, 3), 20 * k, np.uint8))


def write_cars(folder):
    root = folder / "stanford_cars"
    names = np.array([["AM General Hummer", "Acura RL", "Audi S4"]], dtype=object)
    for split in ("train", "test"):
        listed = []
        for i in range(6):
            write_photo(root / f"cars_{split}" / f"{i:05}.jpg", i)
            listed.append((f"{i:05}.jpg", i % 3 + 1))
        kinds = [("fname", object), ("class", np.uint8)]
        annotations = {"annotations": np.array(listed, dtype=kinds)}
        place = root / "devkit" / "cars_train_annos.mat"
        if split == "test":
            place = root / "cars_test_annos_withlabels.mat"
        place.parent.mkdir(exist_ok=True)
        scipy.io.savemat(place, annotations)
    scipy.io.savemat(root / "devkit" / "cars_meta.mat", {"class_names": names})
    return list(names[0])


def write_aircraft(folder):
    root = folder / "fgvc-aircraft-2013b" / "data"
    names = ["707-320", "A310", "Spitfire"]
    for i in range(12):
        write_photo(root / "images" / f"{i:07}.jpg", i)
    (root / "variants.txt").write_text("\n".join(names) + "\n")
    for split, rows in (("trainval", range(6)), ("test", range(6, 12))):
        lines = [f"{i:07} {names[i % 3]}" for i in rows]
        (root / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
    return names


def write_food(folder):
    root = folder / "food-101"
    names = ["apple_pie", "gyoza", "sushi"]
    (root / "meta").mkdir(parents=True)
    for split, rows in (("train", range(2)), ("test", range(2, 4))):
        listed = {name: [f"{name}/{i}" for i in rows] for name in names}
        (root / "meta" / f"{split}.json").write_text(json.dumps(listed))
        for place in (p for places in listed.values() for p in places):
            write_photo(root / "images" / f"{place}.jpg", len(place))
    return names


def write_cub(folder):
    root = folder / "CUB_200_2011"
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"]
    places = [f"{names[i % 3]}/photo_{i:04}.jpg" for i in range(12)]
    for i, place in enumerate(places):
        write_photo(root / "images" / place, i)
    columns = {
        "classes": names,
        "images": places,
        "image_class_labels": [i % 3 + 1 for i in range(12)],
        "train_test_split": [int(i < 6) for i in range(12)],
    }
    for name, values in columns.items():
        lines = "".join(f"{k} {value}\n" for k, value in enumerate(values, 1))
        (root / f"{name}.txt").write_text(lines)
    return names


SETS = {"cars": write_cars, "aircraft": write_aircraft, "food101": write_food, "cub": write_cub}
