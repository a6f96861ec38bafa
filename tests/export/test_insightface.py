"""Our files in insightface (from PyPI), used as its own are."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

model_zoo = pytest.importorskip("insightface.model_zoo", reason="insightface is not installed")

SIDE = 128
POINTS = np.float32([[46, 52], [81, 51], [64, 73], [49, 93], [79, 92]])  # eyes, nose, mouth


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("name", ["s.onnx", "s.fp16.onnx"])
def test_get_model_gives_our_embeddings(exported, images, name):
    """insightface takes BGR, as OpenCV reads it."""
    model = model_zoo.get_model(str(exported.file(name)), providers=["CPUExecutionProvider"])
    assert type(model).__name__ == "ArcFaceONNX"
    assert (model.input_mean, model.input_std) == (127.5, 127.5)
    assert (model.input_size, model.output_shape) == ((112, 112), ["batch", 8])
    found = model.get_feat([image[:, :, ::-1] for image in images])
    assert cosines(found, exported.model.embed(images)).min() >= 0.9999


def constant_detector(path):
    """A graph of SCRFD's nine outputs that finds one face, always at the same place."""
    nodes, outputs, values = [], [], []
    for kind, width in (("score", 1), ("box", 4), ("points", 10)):
        for stride in (8, 16, 32):
            value = np.zeros((2 * (SIDE // stride) ** 2, width), np.float32)
            if stride == 8:  # its first anchor stands at the origin
                value[0] = {"score": 0.9, "box": [-1, -1, 15, 15], "points": POINTS.ravel() / 8}[
                    kind
                ]
            name = f"{kind}_{stride}"
            values.append(numpy_helper.from_array(value, f"{name}_value"))
            nodes.append(helper.make_node("Identity", [f"{name}_value"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    source = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "detector", [source], outputs, values)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


def test_face_analysis_with_our_file_in_a_model_folder(exported, tmp_path):
    from insightface.app import FaceAnalysis
    from insightface.utils import face_align

    constant_detector(tmp_path / "det.onnx")
    (tmp_path / "student.onnx").write_bytes(exported.file("s.onnx").read_bytes())
    app = FaceAnalysis(name=str(tmp_path), providers=["CPUExecutionProvider"])
    assert set(app.models) == {"detection", "recognition"}
    app.prepare(ctx_id=-1, det_size=(SIDE, SIDE))
    picture = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    (face,) = app.get(picture)
    np.testing.assert_allclose(face.kps, POINTS, atol=1e-3)
    crop = face_align.norm_crop(picture, landmark=face.kps, image_size=112)
    ours = exported.model.embed(crop[None, :, :, ::-1])
    assert cosines(face.embedding[None], ours).min() >= 0.9999
