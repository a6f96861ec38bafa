"""facekd: train small face-verification networks under large ones, and measure both.

Importing this package costs nothing: the public names below load their modules (and torch) on
first use (PEP 562), so `facekd.eval` and `facekd.data_tools` stay usable without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "FaceModel": "facekd.model",
    "load_model": "facekd.model",
    "FacekdError": "facekd.errors",
}

__all__ = ["FaceModel", "FacekdError", "__version__", "load_model"]

if TYPE_CHECKING:
    from facekd.errors import FacekdError
    from facekd.model import FaceModel, load_model


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'facekd' has no attribute {name!r}")
