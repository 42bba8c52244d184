"""What decides a mock catalogue, as text: choices of a simulator by name, its revision, installed versions."""

from dataclasses import fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from numbers import Real
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

REVISION = 2  # of HaloModel: raise it with every change after which the same settings and seed give other clusters

_APART = ("observation", "cosmology")  # a catalogue stores them by themselves


def choices(simulator: "DataclassInstance") -> dict[str, str]:
    """Fields of a simulator or a view, but for its observation and cosmology, as text: for a catalogue's metadata."""
    return {f.name: _text(getattr(simulator, f.name)) for f in fields(simulator) if f.name not in _APART}


def flat(choice: object, prefix: str = "") -> dict[str, str]:
    """Fields of nested dataclasses by dotted names, as text; the same number is the same text, whole or not.

    Example:
        >>> from clustermocks import Observation
        >>> flat(Observation(aperture=2), "observation")["observation.aperture"]
        '2'
    """
    if isinstance(choice, type) or not is_dataclass(choice):
        return {prefix: _text(choice)}
    settings = {}
    for f in fields(choice):
        settings.update(flat(getattr(choice, f.name), f"{prefix}.{f.name}" if prefix else f.name))
    return settings


def installed_version(package: str) -> str:
    """Version of an installed package; "unknown" where it runs from a source tree that is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _text(choice: object) -> str:
    if isinstance(choice, Real) and not isinstance(choice, bool):
        return repr(float(choice)).removesuffix(".0")
    if isinstance(choice, type) or not is_dataclass(choice):
        return repr(choice)
    inner = ", ".join(f"{f.name}={_text(getattr(choice, f.name))}" for f in fields(choice))
    return f"{type(choice).__name__}({inner})"
