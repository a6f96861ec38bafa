"""A safetensors file that describes its network, as facekd's own `.pt` does."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from facekd.errors import FacekdError

KEY = "facekd"


def described_bytes(content: dict[str, Any]) -> bytes:
    """A file of the weights, everything else as JSON in its metadata.

    Args:
        content: format, description, state_dict, as a `.pt` holds them.
    """
    said = json.dumps({k: v for k, v in content.items() if k != "state_dict"})
    state = {k: v.detach().cpu().contiguous() for k, v in content["state_dict"].items()}
    return save(state, metadata={KEY: said})


def read_described(path: Path) -> dict[str, Any] | None:
    """What `described_bytes` was given, or None: the file does not describe itself.

    Raises:
        FacekdError: It is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            said = (file.metadata() or {}).get(KEY)
            if said is None:
                return None
            content = json.loads(said)
            # off the file's unaligned memory map: kernels round by alignment
            state: dict[str, torch.Tensor] = {k: file.get_tensor(k).clone() for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise FacekdError(f"{path} is damaged or no safetensors file ({error}).") from error
    return content | {"state_dict": state} if isinstance(content, dict) else None
