"""Painting of a drawn face: curves in the picture -> colours, light, things in the way, camera."""

import cv2
import numpy as np

from .synthetic_shape import Curves

Colour = tuple[float, float, float]

_SKIN = np.array([(250, 222, 200), (224, 172, 132), (172, 114, 76), (92, 58, 40)], dtype=float)
_HAIR = np.array([(28, 22, 22), (78, 48, 28), (146, 92, 44), (214, 176, 108), (196, 192, 190)])
_IRIS = np.array([(60, 36, 20), (110, 74, 34), (84, 112, 66), (70, 110, 150), (110, 122, 130)])
_LIPS = np.array([(196, 120, 110), (214, 72, 84), (150, 50, 70)])
_FRACTION_BITS = 4
_SUPERSAMPLING = 2


class _Brush:
    """Fills and strokes curves, given in fractions of the picture's side, on one canvas."""

    def __init__(self, canvas: np.ndarray) -> None:
        self.canvas = canvas
        self.scale = canvas.shape[0] * 2**_FRACTION_BITS

    def _points(self, curve: np.ndarray) -> np.ndarray:
        points: np.ndarray = np.rint(curve * self.scale).astype(np.int32)
        return points

    def fill(self, curve: np.ndarray, colour: Colour) -> None:
        points = [self._points(curve)]
        cv2.fillPoly(self.canvas, points, colour, cv2.LINE_AA, _FRACTION_BITS)

    def hull(self, curve: np.ndarray, colour: Colour) -> None:
        points = cv2.convexHull(self._points(curve))
        cv2.fillConvexPoly(self.canvas, points, colour, cv2.LINE_AA, _FRACTION_BITS)

    def stroke(self, curve: np.ndarray, colour: Colour, width: float, closed: bool = False) -> None:
        thickness = max(1, round(width * self.canvas.shape[0]))
        points = [self._points(curve)]
        cv2.polylines(self.canvas, points, closed, colour, thickness, cv2.LINE_AA, _FRACTION_BITS)


def paint_face(
    curves: Curves,
    traits: dict[str, float],
    capture: dict[str, float],
    size: int,
    stream: np.random.Generator,
) -> np.ndarray:
    """Paint one picture.

    Args:
        curves: From `synthetic_shape.face_curves`.
        traits: The identity.
        capture: The picture's conditions.
        size: Side in pixels.
        stream: Random numbers for what has no name: background, objects, noise.

    Returns:
        uint8 RGB (size, size, 3).
    """
    side = size * _SUPERSAMPLING
    canvas = cv2.resize(_background(stream), (side, side), interpolation=cv2.INTER_CUBIC)
    brush = _Brush(canvas)
    skin = _blend(_SKIN, traits["melanin"] + capture["tan"])
    hair = _blend(_HAIR, traits["hair_tone"] + capture["dye"])
    _paint_head(brush, curves, skin, hair, stream)
    _paint_features(brush, curves, traits, capture, skin, hair)
    _paint_front(brush, curves, capture, hair, stream)
    picture = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return _camera(_lit(picture, curves, capture), capture, stream)


def _background(stream: np.random.Generator) -> np.ndarray:
    """A few blurred patches of colour around a random mean: uint8 (n, n, 3)."""
    cells = int(stream.integers(2, 8))
    mean = stream.uniform(60, 200) + stream.uniform(-50, 50, 3)
    bright = stream.uniform(5, 60) * stream.standard_normal((cells, cells, 1))
    patches = mean + bright + stream.uniform(5, 25) * stream.standard_normal((cells, cells, 3))
    return np.clip(patches, 0, 255).astype(np.uint8)


def _blend(palette: np.ndarray, where: float) -> np.ndarray:
    """The colour at `where`, cut to [0, 1], along a palette (k, 3)."""
    place = min(max(where, 0.0), 1.0) * (len(palette) - 1)
    left = min(int(place), len(palette) - 2)
    colour: np.ndarray = palette[left] + (place - left) * (palette[left + 1] - palette[left])
    return colour


def _tone(colour: np.ndarray, factor: float) -> Colour:
    r, g, b = np.clip(colour * factor, 0, 255).tolist()
    return r, g, b


def _paint_head(
    brush: _Brush, curves: Curves, skin: np.ndarray, hair: np.ndarray, stream: np.random.Generator
) -> None:
    brush.hull(curves["hair"], _tone(hair, 0.8))
    brush.fill(curves["body"], _tone(skin, 0.78))
    brush.fill(curves["collar"], _tone(stream.uniform(20, 235, 3), 1.0))
    for side in ("left", "right"):
        brush.hull(curves[f"ear_{side}"], _tone(skin, 0.88))
        centre = curves[f"ear_{side}"].mean(axis=0)
        brush.hull(centre + 0.55 * (curves[f"ear_{side}"] - centre), _tone(skin, 0.75))
    brush.hull(curves["face"], _tone(skin, 1.0))


def _paint_features(
    brush: _Brush,
    curves: Curves,
    traits: dict[str, float],
    capture: dict[str, float],
    skin: np.ndarray,
    hair: np.ndarray,
) -> None:
    dark, iris = _tone(skin, 0.45), _blend(_IRIS, traits["iris_hue"])
    lips = 0.55 * _blend(_LIPS, traits["lip_tone"] + capture["lipstick"]) + 0.45 * skin * (
        0.95,
        0.7,
        0.7,
    )
    shaded = "right" if capture["light_x"] < 0 else "left"
    brush.fill(curves["mole"], _tone(skin, 0.5))
    brush.fill(curves[f"nose_side_{shaded}"], _tone(skin, 0.86))
    brush.hull(curves["nose_ball"], _tone(skin, 1.05))
    brush.fill(curves["nose_under"], _tone(skin, 0.78))
    for side in ("left", "right"):
        brush.stroke(curves[f"nose_wing_{side}"], _tone(skin, 0.66), 0.008)
        brush.hull(curves[f"nostril_{side}"], _tone(skin, 0.35))
        brush.fill(curves[f"eye_{side}"], (240, 238, 234))
        brush.fill(curves[f"iris_{side}"], _tone(iris, 1.0))
        pupil = curves[f"pupil_{side}"]
        brush.fill(pupil, (14, 12, 12))
        brush.hull(0.4 * pupil + 0.6 * pupil[10], (250, 250, 250))
        brush.fill(curves[f"lid_{side}"], dark)
        brush.stroke(curves[f"crease_{side}"], _tone(skin, 0.72), 0.006)
        brush.fill(curves[f"brow_{side}"], _tone(hair, 0.75))
    brush.fill(curves["mouth"], (60, 16, 20))
    brush.fill(curves["teeth"], (236, 232, 224))
    brush.fill(curves["lip_upper"], _tone(lips, 0.88))
    brush.fill(curves["lip_lower"], _tone(lips, 1.0))
    brush.stroke(curves["lip_line"], _tone(lips, 0.55), 0.006)
    brush.stroke(curves["lip_shadow"], _tone(skin, 0.85), 0.012)


def _paint_front(
    brush: _Brush,
    curves: Curves,
    capture: dict[str, float],
    hair: np.ndarray,
    stream: np.random.Generator,
) -> None:
    """Hair over the forehead, and sometimes glasses, a hat, a mask or some object."""
    brush.fill(curves["front_hair"], _tone(hair, 1.0))
    colour = _tone(stream.uniform(15, 235, 3), 1.0)
    if capture["hat"] < 0.06:
        brush.fill(curves["front_hair"] - (0.0, 0.04), colour)
    if capture["mask"] < 0.03:
        half = curves["face"][: len(curves["face"]) // 2]
        low = half[half[:, 1] > curves["nose_tip"][0, 1]]
        brush.hull(np.concatenate([low, curves["nose_tip"] - (0.0, 0.03)]), colour)
    if capture["glasses"] < 0.15:
        spread = 1.0 + 0.6 * stream.random(2) + (0.2, 0.9)
        for side in ("left", "right"):
            centre = curves[f"eye_{side}"].mean(axis=0)
            rim = curves[f"iris_{side}"]
            reach = np.ptp(curves[f"eye_{side}"], axis=0).max() / 2
            angle = np.linspace(0, 2 * np.pi, len(rim), endpoint=False)
            ring = np.stack([np.cos(angle), np.sin(angle) * 0.6], axis=1) * spread * reach
            brush.stroke(centre + ring, colour, 0.014, closed=True)
    if capture["object"] < 0.08:
        centre, reach = stream.uniform(0.1, 0.9, 2), stream.uniform(0.08, 0.22)
        brush.hull(centre + reach * stream.standard_normal((6, 2)), colour)


def _lit(picture: np.ndarray, curves: Curves, capture: dict[str, float]) -> np.ndarray:
    """Light from one direction on a round head, a colour cast and an exposure: float32."""
    size = picture.shape[0]
    low, high = curves["face"].min(axis=0), curves["face"].max(axis=0)
    centre, reach = (low + high) / 2, (high - low) / 2
    at = ((np.arange(size) + 0.5) / size).astype(np.float32)
    x = np.clip((at - np.float32(centre[0])) / np.float32(reach[0]), -1, 1)
    y = np.clip((at - np.float32(centre[1])) / np.float32(reach[1]), -1, 1)
    z = np.sqrt(np.clip(1 - 0.8 * (x**2 + y[:, None] ** 2), 0, None))
    light = np.array([capture["light_x"], capture["light_y"], 0.8], dtype=np.float32)
    light /= np.linalg.norm(light)
    lambert = np.clip(light[0] * x + (light[1] * y)[:, None] + light[2] * z, 0, None)
    shade = np.float32(capture["ambient"]) + np.float32(1.15 - capture["ambient"]) * lambert
    gains = np.array([capture[f"gain_{c}"] for c in ("red", "green", "blue")], dtype=np.float32)
    gains = np.exp(gains + np.float32(capture["exposure"]))
    lit: np.ndarray = picture.astype(np.float32) * shade[..., None] * gains
    return lit


def _camera(lit: np.ndarray, capture: dict[str, float], stream: np.random.Generator) -> np.ndarray:
    """Blur, sensor noise, and what JPEG takes away."""
    size = lit.shape[0]
    sigma = capture["blur"] * size / 64
    if sigma > 0.3:
        lit = cv2.GaussianBlur(lit, (0, 0), sigma)
    noise = stream.standard_normal((size, size), dtype=np.float32) * np.float32(capture["noise"])
    seen = np.clip(lit + noise[..., None], 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(capture["jpeg"])]
    _, encoded = cv2.imencode(".jpg", seen[..., ::-1], quality)
    stored = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    assert stored is not None
    return stored.astype(np.uint8, copy=False)
