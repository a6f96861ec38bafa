"""An SVG that matplotlib wrote, made fit to stand in a page beside others, in light and dark."""

import re
from xml.etree import ElementTree

from .drawing import COLOURS, FAINT, GRID, MUTED, PAPER

_DROP = ("metadata", "style", "title")
_REFERENCE = re.compile(r"(url\(#|^#)([\w.:-]+)")
VARIABLES = {
    **{colour.lower(): f"var(--c{number})" for number, colour in enumerate(COLOURS)},
    "#000000": "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    FAINT: "var(--faint)",
    PAPER: "var(--paper)",
}
"""Colours as the page names them, so that it can darken and lighten them."""
_COLOUR = re.compile("|".join(VARIABLES), re.IGNORECASE)


def inline_svg(text: str, prefix: str, label: str) -> str:
    """The drawing as an `<svg>` element for HTML: no names but its own, nothing loaded or said.

    Ids get the prefix and those nobody refers to are dropped; colours become the page's variables;
    white ground, metadata and style sheets go.

    Args:
        text: What `savefig` wrote.
        prefix: Unlike that of any other drawing of the page.
        label: The drawing in words, for those who do not see it.
    """
    root = ElementTree.fromstring(text)
    referred = {name for e in root.iter() for v in e.attrib.values() for name in _names(v)}
    for element in list(root.iter()):
        element.tag = _local(element.tag)
        element.attrib = {
            _local(key): _value(_local(key), value, prefix)
            for key, value in element.attrib.items()
            if key != "id" or value in referred
        }
        for child in list(element):
            if _local(child.tag) in _DROP or child.get("id") == "patch_1":
                element.remove(child)
    for parent in root.iter():
        for child in list(parent):
            if child.tag == "defs" and len(child) == 0:
                parent.remove(child)
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": width,
        "height": height,
        "role": "img",
        "aria-label": label,
    }
    _tighten(root)
    return ElementTree.tostring(root, encoding="unicode")


def _tighten(root: ElementTree.Element) -> None:
    """Drop the white space between elements, comments, and digits that no screen shows."""
    for element in root.iter():
        if element.tag not in ("text", "tspan") and not (element.text or "").strip():
            element.text = None
        element.tail = None if not (element.tail or "").strip() else element.tail
        if "d" in element.attrib:
            path = re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", element.attrib["d"])
            element.attrib["d"] = " ".join(path.split())


def _names(value: str) -> list[str]:
    return [match[2] for match in _REFERENCE.finditer(value)]


def _value(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    value = _REFERENCE.sub(lambda match: f"{match[1]}{prefix}-{match[2]}", value)
    if key in ("style", "fill", "stroke"):
        value = _COLOUR.sub(lambda match: VARIABLES[match[0].lower()], value)
    return value


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
