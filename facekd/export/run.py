"""Exporting: every file that is asked for, checked and judged before one of them gets its name."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from facekd.errors import FacekdError
from facekd.eval.table import as_text
from facekd.eval.tables import differences, notes, summaries
from facekd.export.calibration import CalibrationSet
from facekd.export.card import Measured, card
from facekd.export.gate import Gate, decide, judge, size_and_speed
from facekd.export.licences import Licences
from facekd.export.outputs import Outputs, Writer, open_graph
from facekd.files import atomic_path
from facekd.model import FaceModel

if TYPE_CHECKING:
    from facekd.export.quantize import Method


@dataclass(frozen=True)
class Request:
    """What is asked of an export beside its files.

    Attributes:
        calibration: What INT8's ranges are learnt from; needed for it.
        method: How they are.
        gate: The benchmark before and after; None: nothing is measured.
        licences: Of the network's parts, for the card.
        measured: Evaluations for the card.
    """

    calibration: CalibrationSet | None = None
    method: "Method" = "percentile"
    gate: Gate | None = None
    licences: Licences = field(default_factory=Licences)
    measured: Sequence[Measured] = ()


def export(
    model: FaceModel, outputs: Outputs, request: Request, say: Callable[[str], None] = print
) -> None:
    """Write a network's files and its card; all of them or none.

    Args:
        model: The network.
        outputs: The files; what stands there is replaced.
        request: What else is asked.
        say: Takes each line for the user.

    Raises:
        FacekdError: A file cannot be written, is not the network, or may lose more accuracy than
            is allowed.
    """
    with TemporaryDirectory() as scratch, ExitStack() as stack:
        places = {path: stack.enter_context(atomic_path(path)) for path in outputs.all()}
        writer = Writer(model, outputs, places.__getitem__, Path(scratch), say)
        _write(writer, outputs, request)
        measured = list(request.measured)
        if request.gate is not None:
            measured.append(_judge(writer, request.gate, say))
        text = card(model, licences=request.licences, measured=measured, files=writer.made)
        places[outputs.card].write_text(text, encoding="utf-8")
    for path in outputs.all():
        say(f"wrote {path}")


def _write(writer: Writer, outputs: Outputs, request: Request) -> None:
    if outputs.onnx or outputs.int8 or outputs.fp16:
        writer.write_onnx()
    if outputs.int8:
        if request.calibration is None:
            raise FacekdError("INT8 needs images to learn its ranges from; give --calibrate SET.")
        writer.write_int8(outputs.int8, request.calibration, request.method)
    if outputs.fp16:
        writer.write_fp16(outputs.fp16)
    if outputs.torch_export:
        writer.write_program(outputs.torch_export)
    if outputs.safetensors and outputs.json:
        writer.write_weights(outputs.safetensors, outputs.json)


def _judge(writer: Writer, gate: Gate, say: Callable[[str], None]) -> Measured:
    """The network and its graphs on the benchmark, printed; stops where too much may be lost."""
    asked = {path.name for path in writer.outputs.networks}
    graphs = {name: path for name, path in writer.graphs.items() if name in asked}
    models = {name: open_graph(path, name) for name, path in graphs.items()}
    evaluation = judge(gate, {f"{writer.model.name} (PyTorch)": writer.model, **models})
    speed = size_and_speed(list(writer.graphs.items()), writer.size)
    say("")
    for table in (*summaries(evaluation), differences(evaluation), speed):
        say(as_text(table) + "\n")
    for note in notes(evaluation):
        say(note)
    verdicts = [] if gate.max_drop is None else decide(evaluation, gate.max_drop)
    for verdict in verdicts:
        say(verdict)
    return Measured("Before and after exporting", evaluation, (speed,), tuple(verdicts))
