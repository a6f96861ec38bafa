"""A set of drawn faces on disk in the shape of IJB-B or IJB-C: images, face lists, pairs, 1:N."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from facekd.data_tools.align import SIZE, TEMPLATE
from facekd.data_tools.ijb import GALLERIES, IjbName
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.synthetic import SyntheticFaces

FACES_A_TEMPLATE = 5
TEMPLATES_A_SUBJECT = 8  # the first is enrolled, the others are probes
DRAWINGS_A_SUBJECT = 5


@dataclass(frozen=True)
class IjbShaped:
    """What was written.

    Attributes:
        folder: Holds `meta` and `loose_crop`.
        name: "ijbb" or "ijbc".
        template_ids: (t,), rising.
        subjects: (t,), who each template shows.
        enrolled: bool (t,), the templates of the galleries; the others are probes.
        template: (n,), each face's template, a row of `template_ids`.
        media: (n,).
        found: bool (n,); the last template has none.
        pairs: (m, 2), rows of `template_ids`: every enrolled one with every probe.
    """

    folder: Path
    name: IjbName
    template_ids: np.ndarray
    subjects: np.ndarray
    enrolled: np.ndarray
    template: np.ndarray
    media: np.ndarray
    found: np.ndarray
    pairs: np.ndarray

    @property
    def same(self) -> np.ndarray:
        """bool (m,), True for a genuine pair."""
        return self.subjects[self.pairs[:, 0]] == self.subjects[self.pairs[:, 1]]


def make_ijb(
    folder: Path, name: IjbName = "ijbc", faces: int = 2000, seed: int = 0, images: bool = True
) -> IjbShaped:
    """Write a set of about `faces` faces; a face is five of a template, eight templates a person.

    The pictures are drawn crops, turned, scaled and pasted into larger ones; their landmarks are
    where the crop's template points went, shaken by half a pixel. Without `images` no picture is
    written, but for the lists everything is the same.
    """
    rng = np.random.default_rng(seed)
    templates = max(2, faces // FACES_A_TEMPLATE // TEMPLATES_A_SUBJECT) * TEMPLATES_A_SUBJECT
    people = templates // TEMPLATES_A_SUBJECT
    person = rng.permutation(np.repeat(np.arange(people), TEMPLATES_A_SUBJECT))
    enrolled = np.zeros(templates, bool)
    enrolled[np.unique(person, return_index=True)[1]] = True
    sizes = rng.multinomial(faces - templates, np.full(templates, 1 / templates)) + 1
    template = np.repeat(np.arange(templates), sizes)
    # two media a template: a still of one face, and a video of all the others
    media = 3 * template + np.append(False, template[1:] == template[:-1])
    found = rng.random(faces) > 0.01
    found[template == templates - 1] = False
    made = IjbShaped(
        folder=folder,
        name=name,
        template_ids=2 * np.arange(templates) + 7,
        subjects=10 * person + 100,
        enrolled=enrolled,
        template=template,
        media=media,
        found=found,
        pairs=np.argwhere(enrolled[:, None] & ~enrolled),
    )
    (folder / "meta").mkdir(parents=True)
    points = _pictures(made, person, rng, images)
    _write_lists(made, points, rng)
    return made


def _pictures(
    made: IjbShaped, person: np.ndarray, rng: np.random.Generator, images: bool
) -> np.ndarray:
    """Write the pictures; float (n, 5, 2), their landmarks."""
    drawn = SyntheticFaces(int(person.max()) + 1, DRAWINGS_A_SUBJECT, split="eval")
    crops: dict[int, np.ndarray] = {}
    all_points = []
    if images:
        (made.folder / "loose_crop").mkdir()
    for i, template in enumerate(made.template):
        side = int(rng.integers(140, 200))
        angle, scale = rng.uniform(-0.4, 0.4), rng.uniform(0.8, 1.2)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = side / 2 + rng.uniform(-8, 8, 2) - turn @ (SIZE / 2, SIZE / 2)
        all_points.append(TEMPLATE @ turn.T + shift + rng.normal(0, 0.5, TEMPLATE.shape))
        # a video shows one drawing again and again
        number = person[template] * DRAWINGS_A_SUBJECT + made.media[i] % DRAWINGS_A_SUBJECT
        if images:
            if number not in crops:
                crops[number] = drawn.image(int(number))
            matrix = np.concatenate([turn, shift[:, None]], axis=1)
            border = cv2.BORDER_REFLECT
            picture = cv2.warpAffine(crops[number], matrix, (side, side), borderMode=border)
            path = made.folder / "loose_crop" / f"{i + 1}.jpg"
            path.write_bytes(encode_jpeg(picture, 92))
    return np.array(all_points)


def _write_lists(made: IjbShaped, points: np.ndarray, rng: np.random.Generator) -> None:
    """Write the six files of `meta`."""
    ids = made.template_ids[made.template]
    scores = rng.uniform(0.5, 1, len(points))
    points = np.where(made.found[:, None, None], points, -1).reshape(len(points), 10)
    _write(
        made,
        "face_tid_mid.txt",
        [f"{i + 1}.jpg {ids[i]} {made.media[i]}" for i in range(len(ids))],
    )
    _write(
        made,
        "name_5pts_score.txt",
        [
            f"{i + 1}.jpg " + " ".join(f"{x:.3f}" for x in points[i]) + f" {scores[i]:.6f}"
            for i in range(len(ids))
        ],
    )
    left, right = made.template_ids[made.pairs].T
    labels = made.same.astype(int)
    _write(
        made,
        "template_pair_label.txt",
        [f"{a} {b} {c}" for a, b, c in zip(left, right, labels, strict=True)],
    )
    people = np.unique(made.subjects)
    halves = np.isin(made.subjects, people[: len(people) // 2])
    lists = {
        f"gallery_{GALLERIES[made.name][0]}": made.enrolled & halves,
        f"gallery_{GALLERIES[made.name][1]}": made.enrolled & ~halves,
        "probe_mixed": ~made.enrolled,
    }
    for title, listed in lists.items():
        lines = [  # a line a face, as NIST has it
            f"{ids[i]},{made.subjects[made.template[i]]},img/{i + 1}.jpg,{i}"
            for i in np.flatnonzero(listed[made.template])
        ]
        header = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID"
        _write(made, f"1N_{title}.csv", [header, *lines])


def _write(made: IjbShaped, rest: str, lines: list[str]) -> None:
    path = made.folder / "meta" / f"{made.name}_{rest}"
    path.write_text("\n".join(lines) + "\n")
