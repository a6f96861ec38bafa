"""facekd: train small face-verification networks under large ones, and measure both.

Importing this package costs nothing: the public names below load their modules (and torch) on
first use (PEP 562), so `facekd.eval` and `facekd.data_tools` stay usable without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "FaceEmbedder": "facekd.face_embedder",
    "FaceModel": "facekd.model",
    "FacekdError": "facekd.errors",
    "load_model": "facekd.model",
    "verify": "facekd.one_pair",
}
_MODULES = ("distill", "eval")  # facekd.distill is the losses' package, and can be called

__all__ = [
    "FaceEmbedder",
    "FaceModel",
    "FacekdError",
    "__version__",
    "distill",
    "eval",
    "load_model",
    "verify",
]

if TYPE_CHECKING:
    from facekd import eval
    from facekd.errors import FacekdError
    from facekd.face_embedder import FaceEmbedder
    from facekd.model import FaceModel, load_model
    from facekd.one_pair import verify
    from facekd.train.from_python import distill


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in _MODULES:
        return import_module(f"facekd.{name}")
    raise AttributeError(f"module 'facekd' has no attribute {name!r}")
