import sys
import types

import cv2
import numpy as np
import pytest

from facekd import load_model
from facekd.data_tools.align import TEMPLATE, warp_face
from facekd.data_tools.align_set import align_set
from facekd.data_tools.align_workers import Settings
from facekd.data_tools.detect import (
    NOTHING,
    Detections,
    InsightFace,
    YuNet,
    best_first,
    find_faces,
)
from facekd.data_tools.file_images import FileImages
from facekd.data_tools.images import resize
from facekd.data_tools.labelled import open_labelled
from facekd.errors import FacekdError


def faces(*boxes):
    landmarks = np.zeros((len(boxes), 5, 2), np.float32)
    return Detections(np.float32(boxes).reshape(-1, 4), landmarks, np.ones(len(boxes), np.float32))


def test_the_largest_and_most_central_face_is_first():
    """Worth by hand, in a picture of 100x80 (middle 50, 40)."""
    found = faces(
        [40, 30, 60, 50],  # 400 - 0
        [0, 0, 30, 30],  # 900 - 2 (35^2 + 25^2) = -2800
        [44, 30, 74, 60],  # 900 - 2 (9^2 + 5^2) = 688
    )
    image = np.zeros((80, 100, 3), np.uint8)
    assert best_first(found, image).boxes[:, 0].tolist() == [44, 40, 0]


class Bordered:
    """Knows faces only in pictures of one size."""

    def __init__(self, shape, found):
        self.shape, self.found = shape, found

    def find(self, image):
        return self.found if image.shape[:2] == self.shape else NOTHING


def test_nothing_found_is_looked_for_once_more_with_a_border():
    """A picture of 40x20 becomes 80x40: its corner then stands at (20, 10)."""
    image = np.zeros((20, 40, 3), np.uint8)
    inside, outside = [22, 11, 50, 28], [0, 0, 20, 10]
    found, retried = find_faces(Bordered((40, 80), faces(outside, inside)), image)
    assert (found.boxes.tolist(), retried) == ([[2, 1, 30, 18]], True)
    assert found.landmarks[0, 0].tolist() == [-20, -10]
    found, retried = find_faces(Bordered((20, 40), faces(inside)), image)
    assert (found.boxes.tolist(), retried) == ([inside], False)
    found, retried = find_faces(Bordered((1, 1), NOTHING), image)
    assert (len(found), retried) == (0, False)


def test_what_is_no_yunet_is_refused(tmp_path):
    with pytest.raises(FacekdError, match="there is no detector"):
        YuNet(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_bytes(b"no network")
    with pytest.raises(FacekdError, match=r"text\.onnx is no YuNet"):
        YuNet(tmp_path / "text.onnx")


@pytest.fixture
def insightface(monkeypatch):
    """A package of that name whose detector says what it is given."""

    class Model:
        taskname = "detection"

        def prepare(self, **how):
            self.how = how

        def detect(self, bgr):
            x = float(bgr[0, 0, 0])
            return np.float32([[x, 0, 10, 10, 0.7]]), TEMPLATE[None]

    package = types.ModuleType("insightface")
    package.model_zoo = types.SimpleNamespace(get_model=lambda path, providers: Model())
    monkeypatch.setitem(sys.modules, "insightface", package)
    return package


def test_insightfaces_detector_is_given_bgr_and_downloads_nothing(insightface, tmp_path):
    with pytest.raises(FacekdError, match="downloads no models"):
        InsightFace(tmp_path / "det_10g.onnx")
    (tmp_path / "det_10g.onnx").touch()
    found = InsightFace(tmp_path / "det_10g.onnx", 0.4).find(np.uint8([[[1, 2, 3]]]))
    assert found.boxes.tolist() == [[3, 0, 10, 10]]
    np.testing.assert_array_equal(found.landmarks[0], TEMPLATE)
    assert found.scores.tolist() == pytest.approx([0.7])
    insightface.model_zoo.get_model = lambda path, providers: None
    with pytest.raises(FacekdError, match="no face detector"):
        InsightFace(tmp_path / "det_10g.onnx")


def scrfd_file(path, row, column, distances, points, score):
    """A network with SCRFD's nine outputs and one face, whose score is the redness times `score`.

    Distances and points are in cells of 32 pixels, from the anchor's corner of the cell.
    """
    import onnx
    from onnx import helper, numpy_helper

    nodes = [
        helper.make_node("Slice", ["x", "zero", "one", "one"], ["red"]),
        helper.make_node("ReduceMean", ["red"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "half"], ["redness"]),
    ]
    constants = {
        "zero": np.array([0]),
        "one": np.array([1]),
        "scale": np.float32(128 / 255),
        "half": np.float32(0.5),
    }
    outputs = []
    for kind, width in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            values = np.zeros((2 * (640 // stride) ** 2, width), np.float32)
            if stride == 32:
                given = {"score": score, "bbox": distances, "kps": np.ravel(points)}
                values[2 * (row * 20 + column)] = given[kind]
            constants[f"{kind}_{stride}_made"] = values
            by = "redness" if kind == "score" else "one_float"
            nodes.append(
                helper.make_node("Mul", [f"{kind}_{stride}_made", by], [f"{kind}_{stride}"])
            )
            outputs.append(
                helper.make_tensor_value_info(
                    f"{kind}_{stride}", onnx.TensorProto.FLOAT, ["n", width]
                )
            )
    constants["one_float"] = np.float32(1)
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, "h", "w"])
    made = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "scrfd", [x], outputs, made)
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


def test_insightfaces_own_scrfd_class_is_read_in_the_pictures_pixels(tmp_path):
    """A picture of 320x160 is doubled for the 640x640 it sees: by hand, half of 32 times a cell."""
    pytest.importorskip("insightface", reason="the extra align is not installed")
    points = [[0.5, 0.5], [1.5, 0.5], [1, 1], [0.6, 1.5], [1.4, 1.5]]
    scrfd_file(tmp_path / "scrfd.onnx", 3, 7, [1, 2, 3, 4], points, 0.9)
    detector = InsightFace(tmp_path / "scrfd.onnx", 0.6)
    red = np.zeros((160, 320, 3), np.uint8)
    red[..., 0] = 255
    bordered = np.zeros((640, 640, 3), np.uint8)
    bordered[..., 0] = 255
    found = detector.find(bordered)
    assert found.boxes.tolist() == [[192, 32, 320, 224]]
    np.testing.assert_allclose(found.landmarks[0], np.add(points, (7, 3)) * 32, atol=1e-4)
    np.testing.assert_allclose(found.scores, 0.9, atol=5e-3)
    blue = bordered[..., ::-1].copy()
    assert len(detector.find(blue)) == 0
    scrfd_file(tmp_path / "wide.onnx", 3, 7, [1, 2, 3, 4], points, 0.9 * 2)
    found = InsightFace(tmp_path / "wide.onnx", 0.6).find(red)
    assert found.boxes.tolist() == [[96, 16, 160, 112]]
    np.testing.assert_allclose(found.landmarks[0], np.add(points, (7, 3)) * 16, atol=1e-4)
    assert len(detector.find(red)) == 0  # half of what it sees is black: 0.45
    (tmp_path / "text.onnx").write_bytes(b"no network")
    with pytest.raises(FacekdError, match=r"text\.onnx is no network that insightface reads"):
        InsightFace(tmp_path / "text.onnx")


def test_without_insightface_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "insightface", None)
    with pytest.raises(FacekdError, match=r"pip install 'facekd\[align\]'"):
        InsightFace()


@pytest.fixture(scope="session")
def yunet(data_dir):
    return YuNet(data_dir / "weights/face_detection_yunet.onnx")


@pytest.fixture(scope="session")
def photographs(data_dir):
    return FileImages(sorted((data_dir / "lfw_raw10/images").glob("*/*.jpg")))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 900), (31, 7)])
def test_small_and_odd_pictures_hold_no_face(yunet, shape):
    found, retried = find_faces(yunet, np.full((*shape, 3), 128, np.uint8))
    assert (len(found), retried) == (0, False)


def test_coordinates_of_a_large_picture_are_its_own(yunet, photographs):
    """A picture with each pixel twice as wide and high shrinks to what it was."""
    for i in (0, 37):
        picture = np.full((640, 640, 3), 128, np.uint8)
        picture[100:500, 200:600] = resize(photographs[i], 400)
        one = yunet.find(picture)
        large = yunet.find(picture.repeat(2, axis=0).repeat(2, axis=1))
        np.testing.assert_allclose((large.landmarks + 0.5) / 2 - 0.5, one.landmarks, atol=1e-3)
        np.testing.assert_allclose((large.boxes + 0.5) / 2 - 0.5, one.boxes, atol=1e-3)


@pytest.mark.parametrize("size", [160, 640, 1200])
def test_faces_that_fill_a_picture_are_found_where_they_are(yunet, photographs, size):
    """64 pixels of the 112 that `align` cuts out, enlarged; landmarks in pixels of the 112."""
    errors, retried = [], 0
    for i in range(0, 100, 5):
        points = find_faces(yunet, photographs[i])[0].landmarks[0]
        tight = warp_face(photographs[i], points)[34:98, 24:88]
        tight = cv2.resize(tight, (size, size), interpolation=cv2.INTER_CUBIC)
        found, again = find_faces(yunet, tight)
        retried += again
        assert len(found)
        errors.append(np.abs(found.landmarks[0] * 64 / size + (24, 34) - TEMPLATE).mean())
    assert np.median(errors) < 4
    assert (retried > 0) == (size > 160)


def test_a_hundred_photographs_give_crops_of_their_people(yunet, photographs, data_dir, tmp_path):
    """Judged by others' network: cosines of 0.66 and 0.01 are what it has on LFW's own crops."""
    source = data_dir / "lfw_raw10/images"
    done = align_set(Settings(source, tmp_path / "out", lambda: yunet), "yunet")
    assert (done.images, done.crops, done.without, done.bad) == (100, 100, 0, 0)
    made = open_labelled(tmp_path / "out")
    crops = np.stack([made.images[i] for i in range(100)])
    model = load_model(data_dir / "weights/mobilefacenet_arcface128.onnx")
    embeddings = np.asarray(model.embed(crops))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = embeddings @ embeddings.T
    same = made.labels[:, None] == made.labels
    np.fill_diagonal(same, False)
    different = made.labels[:, None] != made.labels
    assert cosines[same].mean() > 0.66
    assert cosines[different].mean() < 0.05
    assert cosines[same].min() > 0.25
