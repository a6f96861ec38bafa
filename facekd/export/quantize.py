"""Smaller numbers in an ONNX file: INT8 by onnxruntime's static quantizer, and fp16."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from facekd.errors import FacekdError
from facekd.export.calibration import CalibrationReader, CalibrationSet
from facekd.export.onnx import tidy, write_onnx

if TYPE_CHECKING:
    from onnx import NodeProto

Method = Literal["percentile", "minmax", "entropy"]
METHODS: tuple[Method, ...] = get_args(Method)
PERCENTILE = 99.95
_QUANTIZED = ["Conv", "Gemm", "MatMul"]


def write_int8(
    source: Path,
    path: Path,
    calibration: CalibrationSet,
    method: Method,
    facts: Mapping[str, str],
) -> None:
    """Quantize a graph: QDQ, weights int8 per channel, activations uint8.

    3x3 depthwise convolutions stay float: they hold few weights, run no faster in int8, and lose
    most. The ranges are those that hold 99.95 % of the numbers seen (`percentile`), all of them
    (`minmax`: one outlier makes every step coarse), or those of least information lost
    (`entropy`).

    Args:
        source: The float32 file.
        path: Where the result goes.
        calibration: What the ranges are learnt from.
        method: How.
        facts: Go into the file's metadata, with a line on the quantization.

    Raises:
        FacekdError: onnxruntime cannot quantize it.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    how = {"percentile": "Percentile", "minmax": "MinMax", "entropy": "Entropy"}[method]
    shaped = path.with_name(f"{path.name}.shapes")
    made = path.with_name(f"{path.name}.made")
    try:
        with _quiet():
            quant_pre_process(source, shaped, skip_optimization=True, skip_symbolic_shape=True)
            graph = onnx.load(shaped).graph
            quantize_static(
                shaped,
                made,
                CalibrationReader(calibration.pixels),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_QUANTIZED,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=[node.name for node in graph.node if _stays_float(node)],
                calibrate_method=CalibrationMethod[how],
                extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
            )
        proto = onnx.load(made)
    except (ValueError, RuntimeError, TypeError, AssertionError) as error:
        raise FacekdError(f"onnxruntime cannot quantize {path.name} ({error}).") from error
    finally:
        shaped.unlink(missing_ok=True)
        made.unlink(missing_ok=True)
    words = f"int8 QDQ per channel, {method} ranges of {calibration.words}"
    write_onnx(tidy(proto, {**facts, "quantization": words}), path)


def write_fp16(source: Path, path: Path, facts: Mapping[str, str]) -> None:
    """Halve a graph's numbers with onnxruntime's converter; input and output stay float32.

    Args:
        source: The float32 file.
        path: Where the result goes.
        facts: Go into the file's metadata, with a line on the precision.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with _quiet():
        proto = convert_float_to_float16(onnx.load(source), keep_io_types=True)
        OnnxModel(proto).topological_sort()
    write_onnx(tidy(proto, {**facts, "quantization": "fp16, float32 input and output"}), path)


def _stays_float(node: "NodeProto") -> bool:
    """Whether a node is a depthwise (or grouped) convolution of a small kernel."""
    values = {a.name: a for a in node.attribute}
    grouped = node.op_type == "Conv" and "group" in values and values["group"].i > 1
    return grouped and max(values["kernel_shape"].ints) <= 3


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what onnxruntime prints while it works from the user."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
