"""The checks of a term's settings: `facekd.settings`, where heads find them too."""

from facekd.settings import (
    Angle,
    Fraction,
    NotNegative,
    Positive,
    check_settings,
    check_value,
    setting_names,
)

__all__ = [
    "Angle",
    "Fraction",
    "NotNegative",
    "Positive",
    "check_settings",
    "check_value",
    "setting_names",
]
