"""An ONNX file of a network, as insightface and onnxruntime take it."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from facekd import __version__
from facekd.errors import FacekdError
from facekd.export.facts import INPUT_NAME, OUTPUT_NAME

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18


def require_onnx(what: str) -> None:
    """Make sure that what writes and runs ONNX files is installed.

    Raises:
        FacekdError: Something is not; it names the extra that brings it.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise FacekdError(
            f"{what} needs {error.name}, which is not installed: pip install facekd[onnx]."
        ) from error


def to_onnx(net: nn.Module, input_size: int, facts: Mapping[str, str]) -> "ModelProto":
    """Trace a network into a graph with a free batch size.

    Node names are the operation's in small letters and a number: insightface takes a graph whose
    first eight hold names beginning with `Sub` and `Mul` for one that normalises by itself.

    Args:
        net: Float32 (n, 3, s, s) -> (n, d), as `prepare` gives it.
        input_size: s.
        facts: Go into the file's metadata.

    Returns:
        One input `input`, (batch, 3, s, s), one output `embedding`, (batch, d); opset 18.

    Raises:
        FacekdError: PyTorch cannot write it as ONNX.
    """
    with warnings.catch_warnings(), _told():
        warnings.simplefilter("ignore")  # about the exporter's own future
        program = torch.onnx.export(
            net,
            (torch.zeros(2, 3, input_size, input_size),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=OPSET,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type.lower()}_{number}"
    return tidy(proto, facts)


@contextmanager
def _told() -> Iterator[None]:
    """The exporter's own errors in a sentence; their pages of advice go with the cause."""
    try:
        yield
    except torch.onnx.OnnxExporterError as error:
        first = str(error.__cause__ or error).strip().partition("\n")[0]
        raise FacekdError(f"PyTorch cannot write this network as ONNX ({first}).") from error


def tidy(proto: "ModelProto", facts: Mapping[str, str]) -> "ModelProto":
    """Leave out what tools note for themselves (their traces hold paths), and put the facts in."""
    graph = proto.graph
    parts: list[Any] = [*graph.node, *graph.initializer, *graph.input, *graph.output]
    for part in [*parts, graph, proto]:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    graph.ClearField("value_info")
    graph.name = "facekd"
    proto.producer_name, proto.producer_version = "facekd", __version__
    for key, value in facts.items():
        proto.metadata_props.add(key=key, value=value)
    return proto


def write_onnx(proto: "ModelProto", path: Path) -> None:
    """Check a graph with onnx's own checker, and write it.

    Raises:
        FacekdError: The checker finds fault with it.
    """
    import onnx

    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # onnx.checker.ValidationError and shape inference's own
        raise FacekdError(f"the graph of {path.name} is not valid ONNX ({error}).") from error
    path.write_bytes(proto.SerializeToString())
