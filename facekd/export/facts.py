"""What every exported file says of itself."""

from typing import Any

from facekd import __version__
from facekd.model import FaceModel

FORMAT = 1
INPUT_NAME, OUTPUT_NAME = "input", "embedding"


def facts_of(model: FaceModel, *, folded: bool = True) -> dict[str, str]:
    """Short texts by name: for ONNX's metadata, a torch program's, and the card.

    Args:
        model: The network.
        folded: Whether the file takes what `prepare`'s networks take, or the network's own input.

    Returns:
        facekd_format, facekd_version, architecture, recipe, input, input_size, embedding_dim,
        parameters, label_map_hash; "unknown" where the network's file does not say.
    """
    described, size = model.description, model.preprocess.input_size
    lo, hi, channels = -1.0, 1.0, "rgb"
    if not folded:
        (lo, hi), channels = model.preprocess.input_range, model.preprocess.channels
    own = f"{channels}, 0..255 as {lo:g}..{hi:g}"
    if not folded and model.preprocess.mean is not None:
        own += f", then less {model.preprocess.mean} and over {model.preprocess.std} by channel"
    return {
        "facekd_format": str(FORMAT),
        "facekd_version": __version__,
        "architecture": model.backbone_name,
        "recipe": recipe_name(described),
        "input": f"float32 (n, 3, {size}, {size}), {own}",
        "input_size": str(size),
        "embedding_dim": str(model.embedding_dim),
        "parameters": str(sum(p.numel() for p in model.backbone.parameters())),
        "label_map_hash": str(described.get("label_map_hash", "unknown")),
    }


def recipe_name(described: dict[str, Any]) -> str:
    """The recipe a network was trained by (its run folder bears its name), and its stage there."""
    recipe = described.get("recipe")
    named = described.get("run") or (recipe.get("name") if isinstance(recipe, dict) else None)
    stage = described.get("stage")
    if named or stage:
        return f"{named or 'unnamed'}, stage {stage}" if stage else str(named)
    source = described.get("imported_from")
    return f"unknown: imported from {source}" if source else "unknown"
