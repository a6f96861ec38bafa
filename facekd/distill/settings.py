"""Settings from a recipe, checked against the keywords of what they are meant for."""

import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from facekd.errors import FacekdError, did_you_mean

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Angle = Annotated[float, Field(ge=0, lt=math.pi)]


def check_settings(owner: str, builder: Callable[..., object], settings: dict[str, Any]) -> None:
    """Check names, types and ranges of keyword settings against a builder's signature.

    Args:
        owner: What the settings belong to, for the message ("term 'kd'").
        builder: A function or a class; its type hints are the schema.
        settings: Name -> value, as read from a recipe.

    Raises:
        FacekdError: An unknown setting (the near names are given), or a value of a wrong type or
            out of its range.
    """
    source = builder.__init__ if inspect.isclass(builder) else builder
    hints = get_type_hints(source, include_extras=True)
    hints.pop("return", None)
    for name, value in settings.items():
        if name not in hints:
            hint = did_you_mean(str(name), hints) if hints else "it has none."
            raise FacekdError(f"{owner} has no setting {name!r}; {hint}")
        check_value(f"{owner}: {name}", hints[name], value)


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
