"""Synthetic identities: faces drawn from numbers, for tests, demonstrations and figures.

An identity is a vector of bounded shape traits (`IDENTITY`); an image adds a capture: pose,
expression, light, colours, things in the way, and a camera (`CAPTURE`). Hair length and colour, clothes
and background belong to the capture, and skin colour nearly so: who it is lies in the geometry, not in the pixels.
No claim about real faces rests on these.
"""

import numpy as np

from ..errors import FacekdError
from .synthetic_paint import paint_face
from .synthetic_shape import face_curves

SPLITS = ("train", "eval")
SMALLEST, LARGEST = 16, 1024

# trait: (middle, half range), uniform. Unit: about the half width of a head; y points down, eyes at 0.
IDENTITY: dict[str, tuple[float, float]] = {
    "temple_width": (0.72, 0.10),
    "cheek_width": (0.80, 0.11),
    "jaw_width": (0.62, 0.15),
    "jaw_height": (0.78, 0.12),
    "chin_width": (0.24, 0.13),
    "chin_height": (1.20, 0.15),
    "forehead": (1.00, 0.12),
    "depth": (0.72, 0.14),
    "ear_size": (0.22, 0.08),
    "ear_height": (0.10, 0.12),
    "ear_out": (0.10, 0.06),
    "eye_gap": (0.345, 0.065),
    "eye_width": (0.165, 0.040),
    "eye_upper": (0.085, 0.035),
    "eye_lower": (0.050, 0.025),
    "eye_tilt": (0.020, 0.050),
    "eye_skew": (0.0, 0.5),
    "eye_roundness": (2.0, 0.8),
    "iris": (0.075, 0.015),
    "crease": (0.050, 0.035),
    "brow_height": (0.235, 0.065),
    "brow_gap": (0.15, 0.07),
    "brow_length": (0.36, 0.09),
    "brow_thickness": (0.055, 0.030),
    "brow_arch": (0.06, 0.06),
    "brow_peak": (0.60, 0.22),
    "brow_tilt": (0.0, 0.08),
    "brow_taper": (0.55, 0.35),
    "nose_length": (0.45, 0.10),
    "nose_width": (0.175, 0.065),
    "bridge_width": (0.065, 0.030),
    "nose_out": (0.24, 0.12),
    "nose_drop": (0.02, 0.06),
    "nostril": (0.032, 0.014),
    "ball": (0.075, 0.035),
    "mouth_height": (0.78, 0.08),
    "mouth_width": (0.29, 0.08),
    "lip_upper": (0.065, 0.035),
    "lip_lower": (0.085, 0.040),
    "bow": (0.35, 0.35),
    "mouth_corner": (0.0, 0.05),
    "hairline": (0.72, 0.14),
    "hairline_peak": (0.02, 0.12),
    "hairline_corner": (0.0, 0.14),
    "sideburn": (0.05, 0.25),
    "mole_x": (0.0, 0.60),
    "mole_y": (0.45, 0.55),
    "melanin": (0.45, 0.30),
}

# What one picture adds: (middle, half range), uniform.
CAPTURE: dict[str, tuple[float, float]] = {
    "yaw": (0.0, 0.60),
    "pitch": (0.0, 0.35),
    "roll": (0.0, 0.16),
    "distance": (6.0, 2.5),
    "shift_x": (0.0, 0.05),
    "shift_y": (0.0, 0.05),
    "zoom": (0.0, 0.08),
    "eyes_open": (0.85, 0.35),
    "gaze_x": (0.0, 0.06),
    "gaze_y": (0.0, 0.02),
    "brow_raise": (0.02, 0.05),
    "frown": (0.0, 0.05),
    "smile": (0.25, 0.75),
    "mouth_open": (-0.03, 0.16),
    "light_x": (0.0, 1.0),
    "light_y": (-0.3, 0.7),
    "ambient": (0.55, 0.20),
    "gain_red": (0.0, 0.30),
    "gain_green": (0.0, 0.22),
    "gain_blue": (0.0, 0.30),
    "exposure": (0.0, 0.40),
    "tan": (0.0, 0.25),
    "hair_tone": (0.5, 0.5),
    "hair_length": (0.55, 0.85),
    "hair_volume": (0.13, 0.08),
    "fringe": (-0.05, 0.25),
    "lip_tone": (0.5, 0.5),
    "iris_hue": (0.5, 0.5),
    "blur": (0.45, 0.45),
    "noise": (6.0, 6.0),
    "jpeg": (60.0, 35.0),
    "glasses": (0.5, 0.5),
    "hat": (0.5, 0.5),
    "mask": (0.5, 0.5),
    "object": (0.5, 0.5),
}


class SyntheticFaces:
    """Drawn faces of invented identities, each made on demand.

    Image `i` shows identity `i // images_per_identity`. It depends on (seed, split, identity, image) only: not
    on the order of calls, the process, or how many identities there are; the two splits draw from
    separate random streams, so no identity of one occurs in the other. The same machine and
    library versions give the same bytes; OpenCV's drawing and JPEG code promises no more than that.

    Args:
        identities: How many identities, at least 1.
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
