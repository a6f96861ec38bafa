"""Parameters and multiply-accumulates of a graph, as `facekd.backbones.count` has them of ours."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_WEIGHT = {"Conv": 1, "ConvInteger": 1, "Gemm": 1, "MatMul": 1, "MatMulInteger": 1}
_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")
_INT64 = 7  # the type of shapes and axes

Shapes = dict[str, tuple[int, ...]]


def count_onnx(path: Path) -> tuple[int, int | None]:
    """Size and cost of a network in an .onnx file.

    Args:
        path: The file.

    Returns:
        Numbers in its constants (but for shapes, and the scales and zero points of quantized ones),
        and multiply-accumulates of convolutions and linear layers for one image; None where the
        shapes that these need cannot be inferred.
    """
    import onnx

    model = onnx.load(path)
    for image in model.graph.input:
        image.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model).graph
    constants = _constants(graph)
    scales = {name for node in graph.node if node.op_type in _QUANTIZING for name in node.input[1:]}
    parameters = sum(math.prod(dims) for name, dims in constants.items() if name not in scales)
    shapes = constants | {
        one.name: tuple(d.dim_value for d in one.type.tensor_type.shape.dim)
        for one in [*graph.value_info, *graph.output]
    }
    macs = [_macs(node, shapes) for node in graph.node if node.op_type in _WEIGHT]
    known = [one for one in macs if one]
    return parameters, sum(known) if len(known) == len(macs) else None


def _constants(graph: "onnx.GraphProto") -> Shapes:
    """The shapes of constant tensors by name, without those of whole numbers."""
    tensors = {one.name: one for one in graph.initializer}
    for node in graph.node:
        values = [a.t for a in node.attribute if a.name == "value"]
        if node.op_type == "Constant" and values:
            tensors[node.output[0]] = values[0]
    return {name: tuple(t.dims) for name, t in tensors.items() if t.data_type != _INT64}


def _macs(node: "onnx.NodeProto", shapes: Shapes) -> int:
    """Of one layer: each number that comes out takes as many as the weight has inputs; 0: unknown.

    A quantized weight comes out of a DequantizeLinear, whose shape is the weight's.
    """
    out, weight = shapes.get(node.output[0]), shapes.get(node.input[_WEIGHT[node.op_type]])
    if out is None or weight is None:
        return 0
    if node.op_type.startswith("Conv"):
        return math.prod(out) * math.prod(weight[1:])
    return math.prod(out[:-1]) * math.prod(weight)
