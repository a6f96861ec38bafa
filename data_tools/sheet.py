"""Contact sheets: many small pictures on one white page, each with a caption."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import FacekdError
from ..files import atomic_path
from .images import Image

_MARGIN, _GAP, _CAPTION = 24, 8, 18
_FONT, _FONT_SCALE, _STROKE = cv2.FONT_HERSHEY_SIMPLEX, 0.38, 3
_INK, _FINE = 60, 4  # grey of the letters; how many times as large they are drawn
_LARGEST = 1 << 27


def contact_sheet(
    images: Sequence[Image | None], captions: Sequence[str], columns: int, size: int = 112
) -> Image:
    """Lay images out in rows on white, each fitted into a square with its caption below.

    Args:
        images: uint8 RGB (h, w, 3) of any size; None leaves its place empty.
        captions: One an image; it may run on below the next images in the row that have none, and
            is shortened to that width. Letters that the font lacks become plain ones or `?`. A row
            without any caption takes no room for them.
        columns: Images in a row.
        size: Side of a square, pixels.

    Returns:
        uint8 RGB.

    Raises:
        FacekdError: No images, another number of captions, or a sheet of more than 2**27 pixels.
    """
    if not images or len(captions) != len(images):
        raise FacekdError(f"a contact sheet of {len(images)} images, {len(captions)} captions.")
    starts = range(0, len(images), columns)
    captioned = [any(captions[at : at + columns]) for at in starts]
    width = 2 * _MARGIN + columns * (size + _GAP) - _GAP
    height = 2 * _MARGIN + len(starts) * (size + _GAP) - _GAP + _CAPTION * sum(captioned)
    if width * height > _LARGEST:
        raise FacekdError(
            f"a contact sheet of {len(images)} images would have {width} x {height} pixels: ask "
            "for fewer."
        )
    sheet = np.full((height, width, 3), 255, np.uint8)
    top = _MARGIN
    for at, with_captions in zip(starts, captioned, strict=True):
        row, below = sheet[top : top + size], sheet[top + size : top + size + _CAPTION]
        end = width - _MARGIN
        for column in reversed(range(len(images[at : at + columns]))):
            left = _MARGIN + column * (size + _GAP)
            if (image := images[at + column]) is not None:
                _place(row[:, left : left + size], image)
            if caption := captions[at + column]:
                _write(below[:, left:end], caption)
                end = left - _GAP
        top += size + _GAP + _CAPTION * with_captions
    return sheet


def write_sheet(path: str | Path, sheet: Image) -> None:
    """Write a sheet as PNG or JPEG, by the suffix, atomically.

    Raises:
        FacekdError: Another suffix, or the file cannot be written.
    """
    path = Path(path)
    check_sheet_path(path)
    done, encoded = cv2.imencode(path.suffix.lower(), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise FacekdError(f"a sheet of shape {sheet.shape} cannot be encoded as {path.suffix}.")
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def check_sheet_path(path: str | Path) -> None:
    """Refuse a path that no sheet can be written to, before the work that leads to it.

    Raises:
        FacekdError: It ends neither in .png nor in .jpg, .jpeg.
    """
    if Path(path).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise FacekdError(f"a contact sheet is a .png or a .jpg, not {path}: give such a name.")


def _place(cell: Image, image: Image) -> None:
    """Fit the image into the middle of the cell, its proportions kept."""
    size = len(cell)
    height, width = image.shape[:2]
    scale = size / max(height, width)
    tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    fitted = image if scale == 1 else cv2.resize(image, (wide, tall), interpolation=how)
    top, left = (size - tall) // 2, (size - wide) // 2
    cell[top : top + tall, left : left + wide] = fitted


def _write(cell: Image, text: str) -> None:
    """Write grey text into a white strip, drawn several times as large for smooth letters."""
    height, width = cell.shape[:2]
    text = _fit(_plain_letters(text), width)
    ink = np.zeros((height * _FINE, width * _FINE), np.uint8)
    at = (0, int(height * 0.72) * _FINE)
    cv2.putText(ink, text, at, _FONT, _FONT_SCALE * _FINE, 255, _STROKE, cv2.LINE_AA)
    cover = cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    cell[:] = np.rint(255 - cover[..., None] * (255 - _INK)).astype(np.uint8)


def _fit(text: str, width: int) -> str:
    """The text, or its start and its end with dots between, no wider than this."""
    shown, keep = text, len(text)
    while keep > 1 and _width(shown) > width:
        keep -= 1
        shown = text[: (keep + 1) // 2] + ".." + text[len(text) - keep // 2 :]
    return shown


def _width(text: str) -> float:
    return cv2.getTextSize(text, _FONT, _FONT_SCALE * _FINE, _STROKE)[0][0] / _FINE


def _plain_letters(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text)
    kept = (letter for letter in letters if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in kept)
