"""The geometry of a drawn face: traits and expression -> curves in space -> curves in the picture.

Space: x to the picture's right, y down, z towards the camera; the eyes lie at y = 0 and one unit is
about the half width of a head. Picture: fractions of its side, (0, 0) top left.
"""

import numpy as np

Curves = dict[str, np.ndarray]

# Eye centres, nose tip and mouth corners of the usual 112-pixel crop, here drawn a little smaller
# so that chin and hair stay in the picture.
CROP = 0.92
_TEMPLATE = np.array(
    [(38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20)]
)
TARGET = (_TEMPLATE / 112 - (0.5, 0.56)) * CROP + (0.5, 0.54)

_T = np.linspace(-1.0, 1.0, 13)
_U = np.linspace(0.0, 1.0, 8)
_RING = np.linspace(0.0, 2 * np.pi, 16, endpoint=False)
_COS, _SIN = np.cos(_RING), np.sin(_RING)
_PLANE = np.array([1.0, 1j])


def face_curves(traits: dict[str, float], capture: dict[str, float]) -> Curves:
    """All curves of one picture, seen by its camera and aligned by its five points.

    Args:
        traits: An identity (`synthetic.IDENTITY`).
        capture: A picture (`synthetic.CAPTURE`).

    Returns:
        Curve name -> float64 (k, 2) points in fractions of the picture's side.
    """
    head = _head(traits, capture)
    flat: dict[str, tuple[np.ndarray, np.ndarray, float]] = {}
    for side, s in (("left", -1.0), ("right", 1.0)):
        for name, (x, y, lift) in (_eye(traits, capture, s) | _brow(traits, capture)).items():
            flat[f"{name}_{side}"] = (s * x, y, lift)
    flat |= _mouth(traits, capture)
    flat["mole"] = (
        traits["mole_x"] + 0.022 * _COS,
        traits["mole_y"] + 0.022 * _SIN,
        0.0,
    )
    curves = head | _nose(traits)
    for name, (x, y, lift) in flat.items():
        curves[name] = np.stack([x, y, _surface(x, y, traits) + lift], axis=1)
    return _photograph(curves, traits, capture)


def _surface(x: np.ndarray, y: np.ndarray, traits: dict[str, float]) -> np.ndarray:
    """Height z of the head's front, an ellipsoid."""
    inside = 1.0 - (x / 1.0) ** 2 - ((y - 0.15) / 1.6) ** 2
    return traits["depth"] * np.sqrt(np.clip(inside, 0.03, None))


def _smooth(control: np.ndarray, rounds: int = 2) -> np.ndarray:
    """A closed polygon with its corners cut (Chaikin), `rounds` times."""
    for _ in range(rounds):
        after = np.roll(control, -1, axis=0)
        both = np.stack([0.75 * control + 0.25 * after, 0.25 * control + 0.75 * after], axis=1)
        control = both.reshape(-1, control.shape[1])
    return control


def _mirrored(half: list[tuple[float, float]]) -> np.ndarray:
    """A closed smooth curve from its right half, listed from top to bottom."""
    return _smooth(_both_sides(np.array(half)))


def _both_sides(right: np.ndarray) -> np.ndarray:
    """A closed symmetric polygon from its right half (k, 2)."""
    return np.concatenate([right, right[::-1] * (-1.0, 1.0)])


def _lifted(curve: np.ndarray, z: float) -> np.ndarray:
    return np.concatenate([curve, np.full((len(curve), 1), z)], axis=1)


def _head(p: dict[str, float], c: dict[str, float]) -> Curves:
    top, chin, cheek = -p["forehead"] - 0.1, p["chin_height"], p["cheek_width"]
    chin = chin + 0.5 * max(0.0, c["mouth_open"])
    outline = _mirrored(
        [
            (0.45 * p["temple_width"], top),
            (p["temple_width"], -0.62),
            (cheek, 0.12),
            (p["jaw_width"], p["jaw_height"]),
            (p["chin_width"], chin + 0.06),
        ]
    )
    face = np.concatenate([_lifted(outline, -0.25), _lifted(outline * (0.9, 0.97), 0.15)])
    grow, low = c["hair_volume"], p["hair_length"] + c["haircut"]
    mane = _mirrored(
        [
            (0.55 * p["temple_width"] + grow, top - 0.1 - grow),
            (p["temple_width"] + 0.05 + grow, -0.75),
            (cheek + 0.06 + grow, min(0.0, low)),
            (cheek + 0.02 + grow, low),
            (0.5 * cheek, low + 0.08),
        ]
    )
    hair = np.concatenate([_lifted(mane, -0.7), _lifted(mane * (0.95, 0.97), -0.1)])
    ear_x, r = cheek + p["ear_out"] - 0.06, p["ear_size"]
    ear = np.stack([ear_x + 0.5 * r * _COS, p["ear_height"] + r * _SIN, np.full(16, -0.25)], axis=1)
    neck = 0.62 * p["jaw_width"] + 0.12
    body = np.array([(neck, 0.5), (neck, 1.45), (1.6, 1.75), (1.7, 3.0)])
    collar = np.array([(0.0, 1.85), (neck + 0.1, 1.42), (1.6, 1.7), (1.8, 3.0)])
    return {
        "face": face,
        "hair": hair,
        "ear_left": ear * (-1, 1, 1),
        "ear_right": ear,
        "body": _lifted(_both_sides(body), -0.35),
        "collar": _lifted(_both_sides(collar), -0.3),
        "front_hair": _front_hair(p, c, outline[:, 1].min()),
    }


def _front_hair(p: dict[str, float], c: dict[str, float], top: float) -> np.ndarray:
    """Hair over the forehead: the skull's top arc, closed by the hairline."""
    grow, line, temple = c["hair_volume"], -p["hairline"], p["temple_width"]
    fringe = max(0.0, c["fringe"])
    arc_x = (temple + 0.08 + 0.6 * grow) * _T
    arc_y = -0.2 + (top - grow + 0.2) * np.sqrt(np.clip(1 - _T**2, 0, 1)) ** 0.8
    t = _T[::-1]
    dip = p["hairline_peak"] * np.exp(-((t / 0.22) ** 2))
    corner = p["hairline_corner"] * np.exp(-(((np.abs(t) - 0.6) / 0.2) ** 2))
    line_y = line + dip - corner + fringe * (1 - 0.5 * t**2)
    line_y = line_y + (p["sideburn"] - line) * np.abs(t) ** 6
    line_x = temple * 1.03 * t
    return np.concatenate(
        [
            np.stack([arc_x, arc_y, np.full(13, -0.1)], axis=1),
            np.stack([line_x, line_y, 0.75 * _surface(line_x, line_y, p)], axis=1),
        ]
    )


def _eye(
    p: dict[str, float], c: dict[str, float], s: float
) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """One eye, drawn for x > 0; the gaze keeps its direction on both sides."""
    w, gap = p["eye_width"], p["eye_gap"]
    bulge = np.clip(1 - np.abs(_T) ** p["eye_roundness"], 0, 1)
    upper = -p["eye_upper"] * c["eyes_open"] * bulge * (1 + 0.5 * p["eye_skew"] * _T)
    lower = p["eye_lower"] * (0.5 + 0.5 * c["eyes_open"]) * bulge * (1 - 0.3 * p["eye_skew"] * _T)
    tilt = -p["eye_tilt"] * _T
    x = gap + w * _T
    lid = 0.018 + 0.02 * (_T + 1) / 2
    crease = upper - p["crease"] - 0.01
    out = {
        "eye": (np.concatenate([x, x[::-1]]), np.concatenate([upper + tilt, (lower + tilt)[::-1]])),
        "lid": (
            np.concatenate([x, x[::-1]]),
            np.concatenate([upper + tilt - lid, (upper + tilt + 0.008)[::-1]]),
        ),
        "crease": (x[2:-1], (crease + tilt)[2:-1]),
    }
    for name, r in (("iris", p["iris"]), ("pupil", 0.45 * p["iris"])):
        ix = np.clip(gap + s * c["gaze_x"] + r * _COS, x[0], x[-1])
        iy = c["gaze_y"] - 0.015 + r * _SIN
        iy = np.clip(iy, np.interp(ix, x, upper), np.interp(ix, x, lower)) - p["eye_tilt"] * (
            (ix - gap) / w
        )
        out[name] = (ix, iy)
    return {name: (px, py, 0.0) for name, (px, py) in out.items()}


def _brow(
    p: dict[str, float], c: dict[str, float]
) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    x = p["brow_gap"] + p["brow_length"] * _U - 0.5 * max(0.0, c["frown"])
    peak = p["brow_peak"]
    hump = np.minimum(_U / peak, (1 - _U) / (1 - peak))
    y = -p["brow_height"] - p["brow_arch"] * np.sin(0.5 * np.pi * hump) - p["brow_tilt"] * _U
    y = y - c["brow_raise"] + c["frown"] * (1 - _U)
    half = 0.5 * p["brow_thickness"] * (1 - p["brow_taper"] * _U) * np.minimum(1, 0.5 + 2 * _U)
    return {
        "brow": (np.concatenate([x, x[::-1]]), np.concatenate([y - half, (y + half)[::-1]]), 0.03)
    }


def _nose(p: dict[str, float]) -> Curves:
    """Tip, sides, underside and nostrils; they stand out from the head's surface."""
    n, w, b, out = p["nose_length"], p["nose_width"], p["bridge_width"], p["nose_out"]
    base = float(_surface(np.array([0.0]), np.array([n]), p)[0])
    root = float(_surface(np.array([0.0]), np.array([0.0]), p)[0])
    tip = (0.0, n + p["nose_drop"], base + out)
    r = p["ball"]
    under, lip = tip[1] + 0.5 * r, tip[2] - 0.03
    curves = {
        "nose_tip": np.array([tip]),
        "nose_ball": np.stack([r * _COS, tip[1] - 0.02 + r * _SIN, np.full(16, tip[2])], axis=1),
        "nose_bridge": np.array(
            [(-b, -0.05, root), (b, -0.05, root), (0.9 * r, n, tip[2]), (-0.9 * r, n, tip[2])]
        ),
        "nose_under": np.array(
            [(-w, n, base), (-r, under, lip), (r, under, lip), (w, n, base), (0, n + 0.10, base)]
        ),
    }
    for side, s in (("left", -1.0), ("right", 1.0)):
        curves[f"nose_side_{side}"] = np.array(
            [
                (s * b, -0.08, root),
                (s * 0.3 * b, 0.0, root + 0.05),
                (s * 0.5 * r, n - 0.05, tip[2]),
                (s * r, n + p["nose_drop"], tip[2] - 0.04),
                (s * w, n + 0.03, base),
                (s * w, n - 0.10, base),
            ]
        )
        curves[f"nose_wing_{side}"] = np.array(
            [
                (s * (w - 0.03), n - 0.10, base + 0.03),
                (s * (w + 0.01), n - 0.05, base),
                (s * w, n + 0.03, base),
                (s * (w - 0.05), n + 0.05, base),
            ]
        )
        curves[f"nostril_{side}"] = np.stack(
            [
                s * (0.55 * w) + 1.3 * p["nostril"] * _COS,
                n + 0.045 + 0.7 * p["nostril"] * _SIN,
                np.full(16, base + 0.4 * out),
            ],
            axis=1,
        )
    return curves


def _mouth(
    p: dict[str, float], c: dict[str, float]
) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    smile, gape = c["smile"], max(0.0, c["mouth_open"])
    x = p["mouth_width"] * (1 + 0.2 * smile - 0.6 * gape) * _T
    line = p["mouth_height"] - (0.07 * smile + p["mouth_corner"]) * (_T**2 - 0.3)
    round_ = 1 - _T**2
    dip = 1 - p["bow"] * np.exp(-((_T / 0.22) ** 2))
    top = line - p["lip_upper"] * (1 - 0.25 * smile) * (1 - np.abs(_T) ** 1.6) * dip
    jaw = line + gape * round_
    bottom = jaw + p["lip_lower"] * (1 - 0.2 * smile) * round_**0.8
    both = np.concatenate([x, x[::-1]])
    lips = {
        "lip_upper": np.concatenate([np.minimum(top, line), line[::-1]]),
        "lip_lower": np.concatenate([jaw, bottom[::-1]]),
        "mouth": np.concatenate([line, jaw[::-1]]),
        "teeth": np.concatenate([line, (line + np.minimum(0.55 * gape, 0.07) * round_)[::-1]]),
    }
    return {name: (both, y, 0.04) for name, y in lips.items()} | {
        "lip_line": (x, line, 0.04),
        "lip_shadow": (0.6 * x, bottom[6] + 0.05 + 0.02 * round_, 0.02),
    }


def _photograph(curves: Curves, p: dict[str, float], c: dict[str, float]) -> Curves:
    """Turn the head, see it in perspective, and align the picture by its five points."""
    names, sizes = list(curves), [len(curve) for curve in curves.values()]
    points = np.concatenate(list(curves.values())) @ _rotation(c["yaw"], c["pitch"]).T
    seen = points[:, :2] / (1.0 - points[:, 2:] / c["distance"])
    parts = dict(zip(names, np.split(seen, np.cumsum(sizes)[:-1]), strict=True))
    eyes = [parts["eye_left"].mean(axis=0), parts["eye_right"].mean(axis=0)]
    five = np.stack([*eyes, parts["nose_tip"][0], *parts["lip_line"][[0, -1]]])
    turn = _turn_and_scale(five, TARGET)
    turn *= np.exp(c["zoom"] + 1j * c["roll"])
    centre = complex(*TARGET.mean(axis=0))
    spot = seen @ _PLANE - complex(*five.mean(axis=0))
    picture = centre + complex(c["shift_x"], c["shift_y"]) + turn * spot
    placed = np.stack([picture.real, picture.imag], axis=1)
    return dict(zip(names, np.split(placed, np.cumsum(sizes)[:-1]), strict=True))


def _turn_and_scale(source: np.ndarray, target: np.ndarray) -> complex:
    """The a of least-squares target = a * source + b over the complex numbers; points (k, 2)."""
    z, w = (source - source.mean(axis=0)) @ _PLANE, (target - target.mean(axis=0)) @ _PLANE
    return complex(np.vdot(z, w) / np.vdot(z, z))


def _rotation(yaw: float, pitch: float) -> np.ndarray:
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([(cy, 0.0, sy), (0.0, 1.0, 0.0), (-sy, 0.0, cy)])
    nod = np.array([(1.0, 0.0, 0.0), (0.0, cp, sp), (0.0, -sp, cp)])
    both: np.ndarray = nod @ turn
    return both
