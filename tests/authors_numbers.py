"""Reading what tests/fixtures/make_*.py wrote, and comparing with it."""

import json
from pathlib import Path
from typing import Any

import torch

FIXTURES = Path(__file__).parent / "fixtures"


def fixture(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    content = json.loads((FIXTURES / f"{name}.json").read_text())
    inputs = {
        key: torch.tensor(v, dtype=torch.int64 if key == "labels" else torch.float64)
        if isinstance(v, list)
        else v
        for key, v in content["inputs"].items()
    }
    return inputs, content["results"]


def close(found: torch.Tensor, expected: Any) -> None:
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-12)
