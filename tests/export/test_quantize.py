"""INT8: which operations, which ranges, from which images."""

import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from facekd.errors import FacekdError
from facekd.export.calibration import CalibrationReader, calibration_set
from facekd.export.outputs import open_graph
from facekd.export.quantize import METHODS, write_int8


def test_weights_are_int8_per_channel_and_activations_uint8(exported):
    graph = onnx.load(exported.file("s.int8.onnx")).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    kinds = {"float": 0, "int8": 0}
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        group = next((a.i for a in node.attribute if a.name == "group"), 1)
        kernel = next((max(a.ints) for a in node.attribute if a.name == "kernel_shape"), 1)
        source = made_by.get(node.input[1])
        kinds["int8" if source else "float"] += 1
        assert (source is None) == (group > 1 and kernel <= 3)
        if source is None:
            continue
        assert source.op_type == "DequantizeLinear"
        weight, scale, zero = (constants[name] for name in source.input)
        assert (weight.dtype, zero.dtype, zero.any()) == (np.int8, np.int8, False)
        outputs = weight.shape[0]
        assert scale.shape == (outputs,)
        quantizes = made_by[made_by[node.input[0]].input[0]]
        assert constants[quantizes.input[2]].dtype == np.uint8
    assert kinds == {"float": 7, "int8": 16}


@pytest.mark.parametrize("method", METHODS)
def test_every_way_of_finding_ranges(exported, faces, tmp_path, method):
    chosen = calibration_set(faces, 10, 112)
    path = tmp_path / "a.onnx"
    write_int8(exported.file("s.onnx"), path, chosen, method, {"recipe": "mine"})
    facts = {p.key: p.value for p in onnx.load(path).metadata_props}
    told = f"int8 QDQ per channel, {method} ranges of 10 of the 24 images of {faces.name}"
    assert facts == {"recipe": "mine", "quantization": told}
    ours, theirs = (m.embed(chosen.pixels) for m in (exported.model, open_graph(path, "a.onnx")))
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosines.mean() > 0.95
    assert list(tmp_path.iterdir()) == [path]


def test_calibration_images_are_the_same_every_time(faces):
    first, again = calibration_set(faces, 10, 64), calibration_set(faces, 10, 64)
    assert first.pixels.shape == (10, 64, 64, 3)
    assert np.array_equal(first.pixels, again.pixels)
    everything = calibration_set(faces, 512, 64)
    assert (len(everything.pixels), everything.words[:25]) == (24, "24 of the 24 images of fa")


def test_the_reader_gives_batches_as_insightface_normalises():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    reader = CalibrationReader(pixels)
    assert len(reader) == 3
    reader.set_range(1, 3)
    second, third = reader.get_next(), reader.get_next()
    assert reader.get_next() is None
    assert [b["input"].shape for b in (second, third)] == [(8, 3, 4, 4), (4, 3, 4, 4)]
    wanted = (pixels[8:16].transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
    np.testing.assert_allclose(second["input"], wanted, atol=1e-6)


def test_sets_that_cannot_be_calibrated_on(faces, tmp_path):
    with pytest.raises(FacekdError, match="does not exist"):
        calibration_set(tmp_path / "no.rec", 10, 64)
    broken = tmp_path / "people"
    shutil.copytree(faces, broken)
    for path in broken.glob("*/*.jpg"):
        path.write_bytes(b"no picture")
    with pytest.raises(FacekdError, match=r"people/person_0/.*jpg"):
        calibration_set(broken, 10, 64)
    (tmp_path / "empty.rec").write_bytes(b"")
    with pytest.raises(FacekdError, match=r"empty.rec.* is empty"):
        calibration_set(tmp_path / "empty.rec", 10, 64)
