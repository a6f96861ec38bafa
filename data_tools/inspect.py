"""What a data file or folder is, in a few numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FacekdError
from .binfile import read_bin
from .csv_table import read_csv
from .facerec import FaceRecords
from .ijb import GALLERIES, IjbName, open_pairs, open_search
from .ijb_faces import read_faces
from .image_facts import identity_facts, image_facts
from .images import read_encoded
from .kinds import Kind, Place
from .labelled import LabelledImages, RecordImages, open_labelled
from .labelmap import LabelMap
from .listed_pairs import ListedPair
from .lst import read_list
from .pair_files import CfpProtocol, from_cfp, list_pairs

_PROTOCOLS: tuple[CfpProtocol, ...] = ("FF", "FP")


def inspect(
    place: Place,
    *,
    full: bool = False,
    workers: int = 1,
    tick: Callable[[int], object] = lambda images: None,
) -> dict[str, Any]:
    """Describe a place that holds images, pairs, a list or a label map.

    Args:
        place: What `locate` made of a path.
        full: Look into every image, not into an even spread of at most 500.
        workers: Threads that do.
        tick: Called with 1 for each image looked into.

    Returns:
        Plain numbers and text that JSON can hold. An image that does not decode counts as
        "undecodable" among the sizes (`verify` says which and why).

    Raises:
        FacekdError: The file or folder cannot be read at all.
    """
    looks: dict[Kind, Callable[..., dict[str, Any]]] = {
        "records": _labelled,
        "folder": _labelled,
        "shards": _labelled,
        "bin": _bin,
        "image": _image,
    }
    others: dict[Kind, Callable[[Path], dict[str, Any]]] = {
        "list": _list,
        "pairs": _pairs,
        "cfp": _cfp,
        "ijbb": lambda path: _ijb(path, "ijbb"),
        "ijbc": lambda path: _ijb(path, "ijbc"),
        "json": _label_map,
    }
    try:
        if place.kind in looks:
            facts = looks[place.kind](place.path, full=full, workers=workers, tick=tick)
        else:
            facts = others[place.kind](place.path)
    except OSError as error:
        where = error.filename or place.path
        raise FacekdError(f"cannot read {where}: {error.strerror or error}.") from error
    return {"path": str(place.path)} | facts


def _labelled(path: Path, **settings: Any) -> dict[str, Any]:
    labelled = open_labelled(path, on_bad_record="skip")
    images = labelled.images
    facts: dict[str, Any] = {"kind": "image folder" if path.is_dir() else "tar shards"}
    if isinstance(images, RecordImages):
        facts["kind"] = f"records ({images.records.layout} layout)"
    elif list(path.glob("*.tar")):
        facts["kind"] = "tar shards"
    facts |= {"images": len(images), **identity_facts(labelled.labels)}
    if isinstance(images, RecordImages):
        facts |= _records(images.records)
    facts |= image_facts(images.encoded, len(images), labelled.labels, **settings)
    facts["names"] = "yes" if labelled.names else "no (labels only)"
    return facts | {"label_map_hash": label_map(labelled).hash}


def label_map(labelled: LabelledImages) -> LabelMap:
    """The map that training on a whole set makes: identity names, or raw labels without them."""
    if isinstance(labelled.images, RecordImages):
        records = labelled.images.records
        return LabelMap(tuple(map(str, np.unique(records.labels).tolist())), records.fingerprint)
    labels, names = np.unique(labelled.labels).tolist(), labelled.names
    if names is None:
        return LabelMap(tuple(map(str, labels)), labelled.fingerprint)
    return LabelMap(tuple(names[label] for label in labels))


def _records(records: FaceRecords) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "labels": [int(records.labels.min()), int(records.labels.max())],
        "record_ids": [int(records.keys[0]), int(records.keys[-1])],
        "bytes": records.path.stat().st_size,
        "fingerprint": records.fingerprint,
    }
    if records.skipped:
        facts["bad_records"] = len(records.skipped)
    if records.promised not in (None, len(records)):  # records or index lines are lost
        facts["images_in_header"] = records.promised
    return facts


def _bin(path: Path, **settings: Any) -> dict[str, Any]:
    content = read_bin(path)
    return {
        "kind": "verification set",
        "images": len(content.encoded),
        "different_images": len({bytes(image) for image in content.encoded}),
        **_answers(content.same.tolist()),
        "bytes": path.stat().st_size,
        **image_facts(content.encoded.__getitem__, len(content.encoded), **settings),
    }


def _image(path: Path, **settings: Any) -> dict[str, Any]:
    facts = image_facts(lambda i: read_encoded(path), 1, **settings)
    kept = ("image_sizes", "encoding", "jpeg_quality", "image_bytes")
    return {"kind": "image", **{key: facts[key] for key in kept if key in facts}}


def _list(path: Path) -> dict[str, Any]:
    listed = read_list(path)
    return {
        "kind": "list of images (there is no .rec beside it)",
        "images": len(listed.places),
        **identity_facts(listed.labels),
        "labels": [int(listed.labels.min()), int(listed.labels.max())],
        "record_ids": [int(listed.keys[0]), int(listed.keys[-1])],
    }


def _pairs(path: Path) -> dict[str, Any]:
    if path.suffix.lower() == ".csv":
        table = read_csv(path)
        if not {"a", "b", "same"} <= set(table.columns):
            return {"kind": "table", "rows": len(table), "columns": ", ".join(table.columns)}
    return {"kind": "list of pairs", **_listed(list_pairs(path), path.parent)}


def _listed(listed: list[ListedPair], root: Path) -> dict[str, Any]:
    if not listed:
        raise FacekdError(f"{root} lists no pairs.")
    images = {name for pair in listed for name in (pair.left, pair.right)}
    people = {name for pair in listed for name in (pair.left_subject, pair.right_subject) if name}
    return {
        **_answers([pair.same for pair in listed]),
        "images": len(images),
        "images_there": sum((root / name).is_file() for name in images),
        **({"identities": len(people)} if people else {}),
    }


def _cfp(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": "CFP"}
    for protocol in _PROTOCOLS:
        pairs = from_cfp(path, protocol, missing_ok=True)
        missing = 0 if pairs.found is None else int(np.count_nonzero(~pairs.found))
        facts[protocol] = {
            **_answers(pairs.same.tolist()),
            "images": len(pairs.images),
            "missing": missing,
        }
    return facts


def _ijb(path: Path, name: IjbName) -> dict[str, Any]:
    faces = read_faces(path, name)
    per_template = np.bincount(faces.template)
    facts: dict[str, Any] = {
        "kind": name.upper().replace("IJB", "IJB-"),
        "faces": len(faces),
        "not_found": int(np.count_nonzero(~faces.found)),
        "templates": len(faces.template_ids),
        "faces_per_template": {
            "median": float(np.median(per_template)),
            "p95": float(np.percentile(per_template, 95)),
            "max": int(per_template.max()),
        },
        "media": len(np.unique(faces.media)),
        "photographs": "there" if faces.images is not None else "not there (embeddings do)",
    }
    if (path / "meta" / f"{name}_template_pair_label.txt").is_file():
        facts |= _answers(open_pairs(path, name, duplicates=True).same.tolist())
    if (path / "meta" / f"{name}_1N_gallery_{GALLERIES[name][0]}.csv").is_file():
        search = open_search(path, name)
        facts["galleries"] = {one.name: len(one.templates) for one in search.galleries}
        facts["probes"] = len(search.probes)
    return facts


def _label_map(path: Path) -> dict[str, Any]:
    names = LabelMap.load(path)
    return {
        "kind": "label map",
        "identities": len(names),
        "first_names": ", ".join(names.names[:3]),
        "label_map_hash": names.hash,
        "source": names.source or "the names speak for themselves",
    }


def _answers(same: list[bool]) -> dict[str, int]:
    genuine = sum(same)
    return {
        "pairs": len(same),
        "genuine_pairs": genuine,
        "impostor_pairs": len(same) - genuine,
    }
