"""A set of the size and layout of IJB-C's 1:1 protocol, of people who do not exist; no images.

    DIR/IJBC/meta/ijbc_*.txt    insightface's three lists
    DIR/embeddings.npy          float32 (faces, 1024): each face's embedding, then its mirror's

Every person has one gallery template; probe templates are compared with a quarter of them. An
embedding is the person's direction and what template, media and face add to it, times a norm.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIM = 512
BLOCK = 8192
HARD = 0.05  # share of templates whose faces hardly show the person


@dataclass(frozen=True)
class Size:
    """How much of everything; the defaults are IJB-C's own numbers."""

    faces: int = 469_375
    people: int = 3_531
    probes: int = 19_593
    pairs: int = 15_658_489
    genuine: int = 19_557

    def scaled(self, scale: float) -> "Size":
        """Rows in proportion to `scale`, pairs to its square, genuine pairs one a probe."""
        return Size(
            faces=round(self.faces * scale),
            people=round(self.people * scale),
            probes=round(self.probes * scale),
            pairs=round(self.pairs * scale**2),
            genuine=round(self.genuine * scale),
        )


@dataclass(frozen=True)
class Faces:
    """Template (a row of `template_ids`) and media of every face, and each template's person."""

    template_ids: NDArray[np.int64]
    people: NDArray[np.int64]
    template: NDArray[np.int64]
    media: NDArray[np.int64]


def make(folder: Path, size: Size, shuffle: bool, seed: int = 0) -> None:
    """Write the set, unless the folder already holds this very one.

    Args:
        folder: Where to; made when missing.
        size: How much of everything.
        shuffle: Pairs in any order; else by gallery template, then by probe template.
        seed: Of all that is random.
    """
    wanted = asdict(size) | {"shuffle": shuffle, "seed": seed, "format": 1}
    done = folder / "made.json"
    if done.exists() and json.loads(done.read_text()) == wanted:
        return
    done.unlink(missing_ok=True)
    meta = folder / "IJBC" / "meta"
    meta.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    faces = _draw_faces(rng, size)
    _write_face_lists(meta, faces, rng)
    _write_pairs(meta, faces, size, shuffle, rng)
    _write_embeddings(folder / "embeddings.npy", faces, rng)
    done.write_text(json.dumps(wanted, indent=1) + "\n")


def _draw_faces(rng: np.random.Generator, size: Size) -> Faces:
    """Gallery templates first, one a person; every template has a face, some have hundreds."""
    templates = size.people + size.probes
    ids = np.sort(rng.choice(np.arange(1, templates * 3 // 2), templates, replace=False))
    people = np.concatenate([np.arange(size.people), rng.integers(0, size.people, size.probes)])
    shares = rng.lognormal(0, 1, templates)
    extra = rng.multinomial(size.faces - templates, shares / shares.sum())
    template = np.repeat(np.arange(templates), 1 + extra)
    starts = rng.random(size.faces) < 0.3  # a new still or video; the rest are more frames of it
    starts |= np.diff(template, prepend=-1) > 0
    return Faces(ids, people, template, np.cumsum(starts))


def _write_face_lists(meta: Path, faces: Faces, rng: np.random.Generator) -> None:
    detector = rng.beta(20, 1, len(faces.template))
    # where the five points of a 112 x 112 crop lie, about
    points = np.array([38, 52, 74, 52, 56, 72, 42, 92, 71, 92]) + rng.normal(
        0, 3, (len(detector), 10)
    )
    with open(meta / "ijbc_face_tid_mid.txt", "w") as file:
        for i, (t, m) in enumerate(zip(faces.template, faces.media, strict=True), 1):
            file.write(f"{i}.jpg {faces.template_ids[t]} {m}\n")
    with open(meta / "ijbc_name_5pts_score.txt", "w") as file:
        for i, (xy, score) in enumerate(zip(points, detector, strict=True), 1):
            file.write(f"{i}.jpg {' '.join(f'{v:.3f}' for v in xy)} {score:.6f}\n")


def _write_pairs(
    meta: Path, faces: Faces, size: Size, shuffle: bool, rng: np.random.Generator
) -> None:
    """All genuine pairs asked for, and as many different impostor pairs as make up the rest."""
    same = faces.people[size.people :, None] == np.arange(size.people)
    genuine = np.flatnonzero(same.T)  # gallery * probes + probe: one a probe
    genuine = rng.choice(genuine, size.genuine, replace=False)
    impostor = rng.choice(np.flatnonzero(~same.T), size.pairs - size.genuine, replace=False)
    pairs = np.concatenate([genuine, impostor])
    order = rng.permutation(size.pairs)
    if not shuffle:
        order = np.argsort(pairs)
    gallery, probe = (faces.template_ids[rows].astype("S") for rows in _rows(size))
    with open(meta / "ijbc_template_pair_label.txt", "wb") as file:
        for start in range(0, size.pairs, 1 << 20):
            part = order[start : start + (1 << 20)]
            left, right = np.divmod(pairs[part], size.probes)
            answers = np.where(part < size.genuine, b"1", b"0")
            columns = (gallery[left].tolist(), probe[right].tolist(), answers.tolist())
            file.write(b"".join(b"%b %b %b\n" % row for row in zip(*columns, strict=True)))


def _rows(size: Size) -> tuple[slice, slice]:
    return slice(size.people), slice(size.people, size.people + size.probes)


def _write_embeddings(path: Path, faces: Faces, rng: np.random.Generator) -> None:
    """A block of faces at a time; both halves share all but the face's own noise."""
    axes = np.exp(-np.arange(DIM) / 80).astype(np.float32)  # few directions carry most

    def noise(rows: int) -> NDArray[np.float32]:
        return rng.standard_normal((rows, DIM), dtype=np.float32) * axes

    persons = noise(len(np.unique(faces.people)))
    templates = len(faces.template_ids)
    of_template = noise(templates)
    spread = np.where(rng.random(templates) < HARD, 1.6, 0.5).astype(np.float32)
    count = len(faces.template)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, 2 * DIM))
    for start in range(0, count, BLOCK):
        template = faces.template[start : start + BLOCK]
        media = faces.media[start : start + BLOCK]
        common = persons[faces.people[template]] + spread[template, None] * of_template[template]
        common += 0.4 * noise(media[-1] - media[0] + 1)[media - media[0]]
        norm = 20 * rng.lognormal(0, 0.2, (len(template), 1)).astype(np.float32)
        for half in (slice(DIM), slice(DIM, None)):
            face = common + 0.6 * noise(len(template))
            face *= norm / np.linalg.norm(face, axis=1, keepdims=True)
            out[start : start + BLOCK, half] = face
    out.flush()
