"""After a stage with several centres a class: which is dominant, and which images lie far off."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from facekd.data.augment import Augment
from facekd.data.faces import FaceSet
from facekd.data.loader import BadRecords, Batch, make_loader
from facekd.data_tools.review_tables import EXCLUDE_COLUMNS, csv_text
from facekd.files import write_text
from facekd.heads.classifier import Classifier
from facekd.train.checkpoint import Training
from facekd.train.stage_plan import StagePlan

_BATCH = 256


def far_path(model: Path) -> Path:
    """The list of images far from their class, beside the network."""
    return model.with_suffix(".far.csv")


def count_and_list(plan: StagePlan, run: Training, head: Classifier, degrees: float) -> None:
    """Sub-centre ArcFace's second step: drop the lesser centres, and list what lies far from them.

    As in the authors' `drop.py` (Deng et al., ECCV 2020): with all images embedded by the trained
    network, unmirrored, a class's dominant centre is the one nearest to most of its images, the
    first of several; an image is far where its angle to that centre is `degrees` or more.
    Writes `<stage>.far.csv`, which the recipe of the third step, one centre a class, names as
    `data: {exclude: FILE}`, and prints how many images are in it.

    Args:
        plan: The finished stage.
        run: Its network, and the policy over bad records: a skipped image is not listed.
        head: The student's head, K > 1; `dominant` is set.
        degrees: From which angle on.

    Raises:
        FacekdError: An image does not decode, or the file cannot be written.
    """
    faces = plan.faces
    bad = BadRecords(plan.data.on_bad_record, plan.data.max_bad, len(faces), run.bad)
    rows, cosines = [], []
    for batch in _batches(faces, plan.data.workers):
        bad.check(batch)
        known = batch.labels >= 0
        embeddings = run.model.embed(batch.images)[known].to(head.weight.device)
        with torch.no_grad():
            every = head.centre_cosines(embeddings).cpu()
        rows.append(batch.position[known].numpy())
        cosines.append(every[torch.arange(len(every)), batch.labels[known]].double().numpy())
    run.bad = bad.seen
    row, cosine = np.concatenate(rows), np.concatenate(cosines)
    chosen = dominant_centres(faces.labels[row], cosine, faces.num_classes)
    head.dominant.copy_(torch.from_numpy(chosen))
    own = cosine[np.arange(len(row)), chosen[faces.labels[row]]]
    far = own <= math.cos(math.radians(degrees))
    path = far_path(plan.model_path)
    write_text(path, _table(faces, row[far], np.degrees(np.arccos(own[far].clip(-1, 1)))))
    print(
        f"stage {plan.name!r}: {far.sum()} of {len(row)} images ({far.mean():.2%}) are {degrees:g} "
        f"degrees or more from their class's dominant centre; {path} lists them for data.exclude"
    )


def dominant_centres(
    labels: NDArray[np.int64], cosines: NDArray[np.float64], num_classes: int
) -> NDArray[np.int64]:
    """The centre nearest to most images of each class, the first of several.

    Args:
        labels: int64 (n,), classes.
        cosines: (n, K), of each image to the centres of its own class.
        num_classes: C.

    Returns:
        int64 (C,), in [0, K); 0 for a class without images.
    """
    votes = np.zeros((num_classes, cosines.shape[1]), np.int64)
    np.add.at(votes, (labels, cosines.argmax(axis=1)), 1)
    dominant: NDArray[np.int64] = votes.argmax(axis=1)
    return dominant


def _batches(faces: FaceSet, workers: int | None) -> Iterator[Batch]:
    places = range(len(faces))
    views = [[(i, 0) for i in places[start : start + _BATCH]] for start in places[::_BATCH]]
    yield from make_loader(faces, views, Augment(), workers=workers)


def _table(faces: FaceSet, positions: NDArray[np.int64], degrees: NDArray[np.float64]) -> str:
    ids, _ = faces.source.called()
    names = faces.label_map.names
    rows = [
        (ids[faces.rows[i]], names[faces.labels[i]], f"{angle:.2f}")
        for i, angle in zip(positions.tolist(), degrees.tolist(), strict=True)
    ]
    return csv_text((*EXCLUDE_COLUMNS, "degrees"), rows)
