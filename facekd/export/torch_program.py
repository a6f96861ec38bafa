"""A network as a `torch.export` program (`.pt2`), for what runs PyTorch without its Python code."""

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

FACTS_FILE = "facekd.json"
_TRACES = ("stack_trace", "source_fn_stack", "nn_module_stack", "from_node", "torch_fn")


def program_bytes(net: nn.Module, input_size: int, facts: Mapping[str, str]) -> bytes:
    """Trace a network into a program with a free batch size.

    Args:
        net: Float32 (n, 3, s, s) -> (n, d), as `prepare` gives it.
        input_size: s.
        facts: Go into the archive as `facekd.json` (`torch.export.load(extra_files=...)`).
    """
    sample = (torch.zeros(2, 3, input_size, input_size),)
    free = ({0: torch.export.Dim("batch", min=1)},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(net, sample, dynamic_shapes=free).run_decompositions({})
        for node in program.graph.nodes:
            for trace in _TRACES:  # of the machine's folders
                node.meta.pop(trace, None)
        buffer = io.BytesIO()
        torch.export.save(program, buffer, extra_files={FACTS_FILE: json.dumps(dict(facts))})
    return buffer.getvalue()


def run_program(path: Path, images: Tensor) -> Tensor:
    """Load a program and run it.

    Args:
        path: The file.
        images: Float32 (n, 3, s, s).
    """
    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")
        program = torch.export.load(io.BytesIO(file.read()))
    with torch.no_grad():
        return program.module()(images)  # type: ignore[no-any-return]
