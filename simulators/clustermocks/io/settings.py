"""Settings of simulators and trainings: as JSON and back, and as text for a reader."""

from dataclasses import fields, is_dataclass
from math import inf
from numbers import Real
from typing import Any, TypeVar

import msgspec
import numpy as np

REVISION = 5  # of HaloModel: raised with every change that gives other clusters for the same settings and seed

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
T = TypeVar("T")


def to_json(settings: object) -> Any:
    """Turn settings, such as a dataclass of numbers and further dataclasses, into JSON's types.

    NumPy scalars become Python's.

    Raises:
        TypeError: A value is of a type that JSON cannot hold.

    Example:
        >>> from clustermocks import Observation
        >>> to_json(Observation(redshift=np.float64(0.1)))["redshift"]
        0.1
    """
    return msgspec.to_builtins(settings, enc_hook=_plain)


def from_json(kind: type[T], value: object) -> T:
    """Build settings of one kind from the output of `to_json`; absent fields take their defaults.

    Raises:
        ValueError: A value has another type than its field, a field is unknown, or the dataclass refuses a value.
    """
    settings = msgspec.convert(value, kind)
    _check_known(value, to_json(settings))
    return settings


def check_ranges(settings: object, **ranges: tuple[float, float] | tuple[float, float, str]) -> None:
    """Refuse numbers out of range in fields of a dataclass; None is not checked, and dataclasses check themselves.

    Args:
        settings: The dataclass.
        **ranges: Lowest and highest value of each field, both allowed, the highest infinite for none, and its unit.
    """
    for name, (low, high, *unit) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not is_dataclass(value) and not low <= value <= high:
            field = " ".join([name, *(f"[{each}]" for each in unit)])
            allowed = f"{low:g} or more" if high == inf else f"{low:g} to {high:g}"
            raise ValueError(f"{type(settings).__name__}: {field} must be {allowed}, found {value!r}.")


def flat(settings: object, prefix: str = "") -> dict[str, str]:
    """List the fields of nested dataclasses by dotted names, as text; equal numbers give equal text.

    Example:
        >>> from clustermocks import Observation
        >>> flat(Observation(aperture=2), "observation")["observation.aperture"]
        '2'
    """
    if isinstance(settings, type) or not is_dataclass(settings):
        return {prefix: as_text(settings)}
    found = {}
    for f in fields(settings):
        found.update(flat(getattr(settings, f.name), f"{prefix}.{f.name}" if prefix else f.name))
    return found


def as_text(value: object) -> str:
    """Write a setting for a reader: numbers without a trailing .0, dataclasses with the names of their fields."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return repr(float(value)).removesuffix(".0")
    if isinstance(value, type) or not is_dataclass(value):
        return repr(value)
    inner = ", ".join(f"{f.name}={as_text(getattr(value, f.name))}" for f in fields(value))
    return f"{type(value).__name__}({inner})"


def _check_known(given: object, kept: object) -> None:
    """Refuse keys that are not the name of a field."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name not in kept:
                raise ValueError(f"unknown field {name!r}")
            _check_known(value, kept[name])
    elif isinstance(given, list | tuple) and isinstance(kept, list | tuple):
        for pair in zip(given, kept, strict=True):
            _check_known(*pair)


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON: {value!r}")
