"""An ONNX network of one convolution over the whole image."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_flat_net(path, *, size=32, width=4, batch="n"):
    """`data` (n, 3, size, size) in -1..1 to (n, width); weights are drawn, always the same."""
    weight = np.random.default_rng(0).normal(size=(width, 3, size, size)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["data", "weight"], ["map"], name="Conv_0"),
            helper.make_node("Flatten", ["map"], ["out"], name="Flatten_1"),
        ],
        "flat",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, width])],
        [numpy_helper.from_array(weight, "weight")],
    )
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path
