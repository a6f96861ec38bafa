"""Settings from a recipe, checked against the keywords of what they are meant for."""

import inspect
import math
from collections.abc import Callable, Set
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from facekd.errors import FacekdError, did_you_mean

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Angle = Annotated[float, Field(ge=0, lt=math.pi)]


def setting_names(builder: Callable[..., object]) -> frozenset[str]:
    """The keyword settings that a function or a class takes."""
    return frozenset(_hints(builder))


def check_settings(
    owner: str,
    builder: Callable[..., object],
    settings: dict[str, Any],
    further: Set[str] = frozenset(),
) -> None:
    """Check names, types and ranges of keyword settings against a builder's signature.

    Args:
        owner: What the settings belong to, for the message ("term 'kd'").
        builder: A function or a class; its type hints are the schema.
        settings: Name -> value, as read from a recipe.
        further: Names that the builder passes on, and whose values are checked where they go.

    Raises:
        FacekdError: An unknown setting (the near names are given), or a value of a wrong type or
            out of its range.
    """
    hints = _hints(builder)
    for name, value in settings.items():
        if name in hints:
            check_value(f"{owner}: {name}", hints[name], value)
        elif name not in further:
            known = [*hints, *sorted(further)]
            hint = did_you_mean(str(name), known) if known else "it has none."
            raise FacekdError(f"{owner} has no setting {name!r}; {hint}")


def _hints(builder: Callable[..., object]) -> dict[str, Any]:
    source = builder.__init__ if inspect.isclass(builder) else builder
    hints = get_type_hints(source, include_extras=True)
    parameters = inspect.signature(source).parameters.values()
    keywords = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    return {name: hint for name, hint in hints.items() if name in keywords}


def check_value(what: str, hint: Any, value: Any) -> None:
    """Check one value against a type hint, strictly: "0.5" is no number, 1 is no truth value.

    Raises:
        FacekdError: It does not fit; the message says what would.
    """
    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        if get_origin(hint) is Literal and isinstance(value, str):
            reason = did_you_mean(value, get_args(hint))
        else:
            reason = error.errors()[0]["msg"].lower() + "."
        raise FacekdError(f"{what} cannot be {value!r}; {reason}") from error
