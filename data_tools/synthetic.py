"""Synthetic identities: faces drawn from numbers, for tests, demonstrations and figures.

An identity is a vector of bounded traits (`IDENTITY`); a picture adds a capture (`CAPTURE`): pose,
expression, light, colour cast, things in the way, and a camera. Background, clothes, light and pose
dominate the pixels; who it is lies in proportions and shapes, and a little in the colours.
No claim about real faces rests on these.
"""

import numpy as np

from ..errors import FacekdError
from .synthetic_paint import paint_face
from .synthetic_shape import face_curves

SPLITS = ("train", "eval")
SMALLEST, LARGEST = 16, 1024

# Trait: (middle, half range), drawn uniformly. Lengths: see `synthetic_shape`.
IDENTITY: dict[str, tuple[float, float]] = {
    "temple_width": (0.72, 0.12),
    "cheek_width": (0.8, 0.13),
    "jaw_width": (0.6, 0.18),
    "jaw_height": (0.78, 0.15),
    "chin_width": (0.26, 0.16),
    "chin_height": (1.18, 0.19),
    "forehead": (1.00, 0.12),
    "depth": (0.72, 0.14),
    "ear_size": (0.22, 0.1),
    "ear_height": (0.10, 0.12),
    "ear_out": (0.1, 0.07),
    "eye_gap": (0.345, 0.075),
    "eye_width": (0.165, 0.05),
    "eye_upper": (0.09, 0.045),
    "eye_lower": (0.055, 0.035),
    "eye_tilt": (0.015, 0.065),
    "eye_skew": (0.0, 0.7),
    "eye_roundness": (2.0, 0.8),
    "iris": (0.08, 0.025),
    "crease": (0.05, 0.04),
    "brow_height": (0.25, 0.085),
    "brow_gap": (0.15, 0.085),
    "brow_length": (0.36, 0.12),
    "brow_thickness": (0.065, 0.045),
    "brow_arch": (0.065, 0.065),
    "brow_peak": (0.60, 0.22),
    "brow_tilt": (0.0, 0.11),
    "brow_taper": (0.55, 0.35),
    "nose_length": (0.45, 0.12),
    "nose_width": (0.18, 0.08),
    "bridge_width": (0.07, 0.04),
    "nose_out": (0.24, 0.12),
    "nose_drop": (0.02, 0.07),
    "nostril": (0.034, 0.018),
    "ball": (0.08, 0.045),
    "mouth_height": (0.78, 0.1),
    "mouth_width": (0.29, 0.1),
    "lip_upper": (0.07, 0.045),
    "lip_lower": (0.09, 0.055),
    "bow": (0.35, 0.35),
    "mouth_corner": (0.0, 0.06),
    "hairline": (0.7, 0.17),
    "hairline_peak": (0.02, 0.15),
    "hairline_corner": (0.0, 0.18),
    "sideburn": (0.05, 0.32),
    "mole_x": (0.0, 0.60),
    "mole_y": (0.45, 0.55),
    "melanin": (0.42, 0.36),
    "hair_tone": (0.5, 0.5),
    "hair_length": (0.55, 0.75),
    "iris_hue": (0.5, 0.5),
    "lip_tone": (0.5, 0.5),
}

# What one picture adds, in the same way; the last four decide by a threshold (`synthetic_paint`).
CAPTURE: dict[str, tuple[float, float]] = {
    "yaw": (0.0, 0.42),
    "pitch": (0.0, 0.2),
    "roll": (0.0, 0.08),
    "distance": (6.5, 2.0),
    "shift_x": (0.0, 0.03),
    "shift_y": (0.0, 0.03),
    "zoom": (0.0, 0.05),
    "eyes_open": (0.92, 0.22),
    "gaze_x": (0.0, 0.05),
    "gaze_y": (0.0, 0.02),
    "brow_raise": (0.01, 0.035),
    "frown": (0.0, 0.03),
    "smile": (0.2, 0.65),
    "mouth_open": (-0.03, 0.13),
    "light_x": (0.0, 1.0),
    "light_y": (-0.3, 0.7),
    "ambient": (0.55, 0.20),
    "gain_red": (0.0, 0.28),
    "gain_green": (0.0, 0.2),
    "gain_blue": (0.0, 0.28),
    "exposure": (-0.12, 0.36),
    "tan": (0.0, 0.2),
    "dye": (0.0, 0.35),
    "haircut": (0.0, 0.5),
    "hair_volume": (0.13, 0.07),
    "fringe": (-0.12, 0.24),
    "lipstick": (0.0, 0.4),
    "blur": (0.32, 0.32),
    "noise": (3.5, 3.5),
    "jpeg": (70.0, 25.0),
    "glasses": (0.5, 0.5),
    "hat": (0.5, 0.5),
    "mask": (0.5, 0.5),
    "object": (0.5, 0.5),
}


class SyntheticFaces:
    """Drawn faces of invented identities, each made on demand.

    Image `i` shows identity `i // images_per_identity` and depends on (seed, split, identity, image
    number) only: not on the order of calls, the process, or how many identities there are. The two
    splits draw from separate random streams, so no identity of one occurs in the other. One machine
    with one version of OpenCV and numpy gives the same bytes every time; their drawing and JPEG
    code promises no more than that.

    Args:
        identities: How many, at least 1.
        images_per_identity: Images of each, at least 1.
        size: Side of the square images in pixels, 16..1024.
        seed: Any non-negative integer; another seed gives other people.
        split: "train" or "eval".

    Raises:
        FacekdError: An argument is out of its range.
    """

    def __init__(
        self,
        identities: int,
        images_per_identity: int,
        size: int = 112,
        seed: int = 0,
        split: str = "train",
    ) -> None:
        _check("identities", identities, 1, 2**31)
        _check("images_per_identity", images_per_identity, 1, 2**31)
        _check("size", size, SMALLEST, LARGEST)
        _check("seed", seed, 0, 2**63)
        if split not in SPLITS:
            raise FacekdError(f"synthetic split is {split!r}; it must be 'train' or 'eval'")
        self.identities = identities
        self.images_per_identity = images_per_identity
        self.size = size
        self.seed = seed
        self.split = split

    def __len__(self) -> int:
        return self.identities * self.images_per_identity

    @property
    def labels(self) -> np.ndarray:
        """The identity of every image, int64 (n,)."""
        return np.repeat(np.arange(self.identities, dtype=np.int64), self.images_per_identity)

    def traits(self, identity: int) -> dict[str, float]:
        """The identity's vector: trait name -> value (see `IDENTITY`)."""
        return _draw(IDENTITY, self._stream(identity, 0))

    def image(self, i: int) -> np.ndarray:
        """Draw image `i`: uint8 RGB (size, size, 3).

        Raises:
            FacekdError: `i` is outside 0..len - 1.
        """
        _check("image index", i, 0, len(self) - 1)
        identity, number = divmod(int(i), self.images_per_identity)
        stream = self._stream(identity, 1 + number)
        capture = _draw(CAPTURE, stream)
        traits = self.traits(identity)
        return paint_face(face_curves(traits, capture), traits, capture, self.size, stream)

    def _stream(self, identity: int, role: int) -> np.random.Generator:
        key = (SPLITS.index(self.split), identity, role)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))


def _draw(table: dict[str, tuple[float, float]], stream: np.random.Generator) -> dict[str, float]:
    ticks = stream.uniform(-1.0, 1.0, len(table)).tolist()
    return {k: m + h * t for (k, (m, h)), t in zip(table.items(), ticks, strict=True)}


def _check(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise FacekdError(f"synthetic {name} is {value!r}; it must be a whole number")
    if not low <= value <= high:
        raise FacekdError(f"synthetic {name} is {value}; it must be in {low}..{high}")
