"""Face detectors: where the faces of a picture are, with five landmarks each."""

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .images import Image

LONGEST = 640  # pixels that a detector sees of the longer side; insightface's det_size
SCORE = 0.6
_BORDER = 0.5  # of the picture's sides, on each side, when nothing is found without
_OVERLAP = 0.3  # above which two boxes are one face
_CANDIDATES = 5000
_LARGEST = 300  # pixels of a face as YuNet sees it, beyond which it places landmarks badly
INSIGHTFACE_MODEL = "~/.insightface/models/buffalo_l/det_10g.onnx"


@dataclass(frozen=True)
class Detections:
    """The k faces that were found in one picture.

    Attributes:
        boxes: float32 (k, 4), left, top, right, bottom in pixels; they may leave the picture.
        landmarks: float32 (k, 5, 2), x and y in pixels: left eye, right eye, nose tip, left and
            right mouth corner, left as seen in the picture (`align.TEMPLATE`'s order).
        scores: float32 (k,), the detector's own; nan where nobody gave one.
    """

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, faces: NDArray[np.integer] | slice | NDArray[np.bool_]) -> "Detections":
        """Some of the faces."""
        return Detections(self.boxes[faces], self.landmarks[faces], self.scores[faces])

    def moved(self, scale: tuple[float, float], shift: tuple[float, float]) -> "Detections":
        """In another picture's pixels: each x and y times its scale, then plus its shift."""
        factor, term = np.asarray(scale), np.asarray(shift)
        return Detections(
            (self.boxes.reshape(-1, 2, 2) * factor + term).reshape(-1, 4).astype(np.float32),
            (self.landmarks * factor + term).astype(np.float32),
            self.scores,
        )


NOTHING = Detections(
    np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
)


class Detector(Protocol):
    """Anything that finds faces."""

    def find(self, image: Image, /) -> Detections:
        """The faces of a uint8 (h, w, 3) RGB picture, in its pixels."""
        ...


class YuNet:
    """OpenCV's YuNet (`cv2.FaceDetectorYN`), from a model file that the user has.

    It knows faces of 10 to 300 pixels. So a picture whose longer side exceeds `LONGEST` is shrunk
    for it, and one with a larger face is shrunk once more; coordinates are the picture's own.

    Args:
        path: `face_detection_yunet_*.onnx` of OpenCV's model zoo.
        score: Faces below are not reported; 0..1.

    Raises:
        FacekdError: There is no such file, or it is no YuNet.
    """

    def __init__(self, path: str | Path, score: float = SCORE) -> None:
        path = Path(path)
        if not path.is_file():
            raise FacekdError(
                f"there is no detector {path}; download face_detection_yunet_2023mar.onnx from "
                "OpenCV's model zoo and give its path."
            )
        try:
            size = (64, 64)
            self._net = cv2.FaceDetectorYN.create(str(path), "", size, score, _OVERLAP, _CANDIDATES)
            self.find(np.zeros((*size, 3), np.uint8))
        except (cv2.error, FacekdError) as error:
            raise FacekdError(
                f"{path} is no YuNet that OpenCV {cv2.__version__} reads; give a "
                "face_detection_yunet_*.onnx of OpenCV's model zoo."
            ) from error

    def find(self, image: Image, /) -> Detections:
        """See `Detector.find`."""
        found = self._look(image, LONGEST)
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        if len(found) and sides.max() * LONGEST > _LARGEST * max(LONGEST, *image.shape[:2]):
            smaller = self._look(image, LONGEST // 2)
            return smaller if len(smaller) else found
        return found

    def _look(self, image: Image, longest: int) -> Detections:
        small, scale = _shrink(image, longest)
        self._net.setInputSize((small.shape[1], small.shape[0]))
        try:
            faces: Any = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1]
        except cv2.error as error:
            raise FacekdError(
                f"the detector fails on a picture of {image.shape[1]}x{image.shape[0]} pixels."
            ) from error
        if faces is None:
            return NOTHING
        corners = np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4]], axis=1)
        found = Detections(corners, faces[:, 4:14].reshape(-1, 5, 2), faces[:, 14])
        if small is image:
            return found
        # pixel i of the small picture covers pixels from scale * i of the large one: centres differ
        return found.moved(scale, (scale[0] / 2 - 0.5, scale[1] / 2 - 0.5))


class InsightFace:
    """A detector of the `insightface` package (SCRFD, RetinaFace), on the CPU; it never downloads.

    Args:
        path: Its ONNX file.
        score: Faces below are not reported; 0..1.

    Raises:
        FacekdError: The package or the file is not there, or the file is no such detector.
    """

    def __init__(self, path: str | Path = INSIGHTFACE_MODEL, score: float = SCORE) -> None:
        try:
            from insightface import model_zoo
        except ImportError as error:
            raise FacekdError(
                f"insightface's detector needs the package insightface ({error}); install it with "
                "pip install 'facekd[align]', or give a YuNet file."
            ) from error
        path = Path(path).expanduser()
        if not path.is_file():
            raise FacekdError(
                f"there is no detector {path}; unpack insightface's buffalo_l there (facekd "
                "downloads no models), or give another file: insightface:FILE.onnx."
            )
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it loads
            try:
                model: Any = model_zoo.get_model(str(path), providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime's have no class of their own in common
                raise FacekdError(
                    f"{path} is no network that insightface reads ({str(error).splitlines()[0]}); "
                    "give an SCRFD file such as det_10g.onnx."
                ) from error
            if getattr(model, "taskname", None) != "detection":
                raise FacekdError(f"{path} is no face detector that insightface knows.")
            model.prepare(ctx_id=-1, input_size=(LONGEST, LONGEST), det_thresh=score)
        self._model = model

    def find(self, image: Image, /) -> Detections:
        """See `Detector.find`."""
        boxes, landmarks = self._model.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if landmarks is None:
            raise FacekdError("this insightface detector gives no landmarks; choose another one.")
        return Detections(
            np.asarray(boxes[:, :4], np.float32),
            np.asarray(landmarks, np.float32).reshape(-1, 5, 2),
            np.asarray(boxes[:, 4], np.float32),
        )


def find_faces(detector: Detector, image: Image) -> tuple[Detections, bool]:
    """The picture's faces, best first (`best_first`); when there is none, once more with a border.

    A face that fills its picture lacks the surroundings detectors know: of 100 tight crops of LFW,
    enlarged to 640 pixels, YuNet finds 76 without and all with a black border of half the picture's
    sides. Faces whose middle lies in the border are left out.

    Args:
        detector: What finds them.
        image: uint8 (h, w, 3).

    Returns:
        The faces, and whether they were found with the border only.
    """
    found = detector.find(image)
    if len(found):
        return best_first(found, image), False
    height, width = image.shape[:2]
    x, y = (max(1, round(side * _BORDER)) for side in (width, height))
    wide = cv2.copyMakeBorder(image, y, y, x, x, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    found = detector.find(wide.astype(np.uint8, copy=False)).moved((1, 1), (-x, -y))
    middle = found.boxes.reshape(-1, 2, 2).mean(axis=1)
    found = found.take(((middle >= 0) & (middle < (width, height))).all(axis=1))
    return best_first(found, image), len(found) > 0


def best_first(found: Detections, image: Image) -> Detections:
    """The faces in another order: the largest and most central first.

    By the box's area less twice the squared distance of its middle from the picture's, in pixels:
    insightface's rule (`SCRFD.detect`, metric "default", python-package/insightface/model_zoo).
    """
    if len(found) < 2:
        return found
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    middle = (found.boxes[:, 2:] + found.boxes[:, :2]) / 2
    away = middle - np.array([image.shape[1] // 2, image.shape[0] // 2], np.float32)
    worth = sides.prod(axis=1) - 2 * (away**2).sum(axis=1)
    return found.take(np.argsort(-worth, kind="stable"))


def _shrink(image: Image, longest: int) -> tuple[Image, tuple[float, float]]:
    """The picture as the detector sees it, and what its x and y are multiplied with to get back."""
    height, width = image.shape[:2]
    share = longest / max(height, width)
    if share >= 1:
        return image, (1.0, 1.0)
    size = max(1, round(width * share)), max(1, round(height * share))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False), (width / size[0], height / size[1])
