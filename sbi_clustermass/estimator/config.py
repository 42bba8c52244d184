"""Cards on disk: JSON, read with a check of every field because its origin may be unknown.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from math import isfinite
from pathlib import Path
from re import fullmatch
from typing import Any, TypeVar

from clustermocks import Cosmology, Observation
from clustermocks.io.settings import from_json, to_json
from clustermocks.io.version import installed_version
from sbi_clustermass.embeddings.conditions import CONDITIONED, COSMOLOGICAL, PLAIN
from sbi_clustermass.embeddings.sky import SKY
from sbi_clustermass.estimator.card import Card, GivenMassCard
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.estimator.text_provenance import estimator_provenance_from_text
from sbi_clustermass.posterior import Recalibration
from sbi_clustermass.posterior.prior import EffectivePrior
from sbi_clustermass.training import History

FORMAT = 3
_TEXT_PROVENANCE = 2  # the format in which provenance is text
_PACKAGE = "sbi-clustermass"
_LARGEST = 16_000_000  # bytes of a card: a thousand times the size of one network's
_MASSES = (5.0, 20.0)  # log10 [h^-1 Msun]: from the halo of a dwarf galaxy to far above any cluster
_MOST = 100_000  # galaxies of a cluster
_STEEPEST = 100.0  # coefficient of the log prior, beyond which its exponential overflows
_LARGEST_WHOLE = 2**63

T = TypeVar("T")


def write_card(card: Card, path: Path) -> None:
    """Write a card as JSON."""
    content = {"format": FORMAT, **to_json(card)}
    optional = {name: content.pop(name) for name in _OPTIONAL}
    content |= {name: value for name, value in optional.items() if value is not None}
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_card(path: Path) -> Card:
    """Read a card.

    Raises:
        ValueError: The file is not JSON or of another format, or a field is missing, unknown or out of range; the
            message names the file and the field.
    """
    content = _json(path)
    readers = _READERS | {name: reader for name, reader in _OPTIONAL.items() if name in content}
    if _checked_format(path, content) == _TEXT_PROVENANCE:
        readers = readers | {"provenance": _text_provenance}
    missing, unknown = readers.keys() - content.keys(), content.keys() - readers.keys() - {"format"}
    if missing or unknown:
        what, names = ("missing", missing) if missing else ("unknown", unknown)
        raise ValueError(f"{path}: a field is {what} ({', '.join(sorted(names))[:200]}); the file is damaged.")
    found = {}
    for name, reader in readers.items():
        with damaged(path, f"{name} cannot be read"):
            found[name] = reader(content[name])
    return Card(**found)


@contextmanager
def damaged(path: Path, what: str) -> Iterator[None]:
    """Turn every exception into one message with file and fault; flows and embeddings raise errors of their own."""
    try:
        yield
    except (Exception, RecursionError, MemoryError) as error:
        message = str(error).strip() or type(error).__name__
        message = message if len(message) <= 300 else f"{message[:300]} ..."
        raise ValueError(f"{path}: {what} ({message}); the file is damaged.") from error


def _json(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > _LARGEST:
        raise ValueError(f"{path}: {size / 1e6:.0f} MB; a model's description has {_LARGEST / 1e6:.0f} MB at most.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path}: not readable JSON (nested too deeply).") from error
    except ValueError as error:  # bad UTF-8 or JSON, or a number with more digits than Python reads
        raise ValueError(f"{path}: not readable JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: model format {type(content).__name__!r}; this version reads format {FORMAT}.")
    return content


def _checked_format(path: Path, content: dict[str, Any]) -> int:
    """Read the format, and refuse an unknown one with a message that names the version that wrote it."""
    found = content.get("format")
    if not isinstance(found, bool) and found in (_TEXT_PROVENANCE, FORMAT):
        return int(found)
    writer = _writer(content.get("provenance"))
    by = f", written by {_PACKAGE} {writer[:40]}" if writer else ""
    later = isinstance(found, int) and found > FORMAT
    own = f"install that version ({_PACKAGE}=={writer[:40]})" if writer else "install an older version"
    cure = f"a later {_PACKAGE}: pip install --upgrade {_PACKAGE}" if later else f"train it anew, or {own}"
    raise ValueError(
        f"{path}: model format {str(found)[:40]!r}{by}; this version, {installed_version(_PACKAGE)}, "
        f"reads format {FORMAT}.\n  try:    {cure}"
    )


def _writer(provenance: object) -> str:
    """Version of the package that wrote a card of any format; empty where it is not stated."""
    if not isinstance(provenance, dict):
        return ""
    versions = provenance.get("versions")
    found = versions.get(_PACKAGE) if isinstance(versions, dict) else provenance.get(f"version_{_PACKAGE}")
    return found if isinstance(found, str) else ""


# ---- a reader for each field, which raises ValueError with the value found -------------------------------------------


def _flow(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"it needs a name and fields, found {_shown(value)}")
    embedding = value.get("embedding")
    if isinstance(embedding, dict) and embedding.get("name") == "trial_masses":
        return {**value, "embedding": {"edge": True, **embedding}}  # cards older than this field had it
    return value


def _prior(value: object) -> EffectivePrior:
    prior = _dataclass(EffectivePrior, value)
    if not _MASSES[0] <= prior.low < prior.high <= _MASSES[1]:
        raise ValueError(f"low {prior.low:g} and high {prior.high:g} are no bounds of a mass [log10 h^-1 Msun]")
    if len(prior.coefficients) > 50 or any(abs(each) > _STEEPEST for each in prior.coefficients):
        raise ValueError(f"more than 50 coefficients, or a coefficient above {_STEEPEST:g}")
    return prior


def _observation(value: object) -> Observation:
    observation = _dataclass(Observation, value)
    _check_whole(observation.min_galaxies)
    return observation


def _richness(value: object) -> tuple[int, int]:
    fewest, most = from_json(tuple[int, int], value)
    if not 0 <= fewest <= most <= _MOST:
        raise ValueError(f"{fewest} to {most} galaxies")
    return fewest, most


def _shape(value: object) -> tuple[int, int]:
    galaxies, columns = from_json(tuple[int, int], value)
    widths = [sky + each for sky in (0, SKY) for each in (PLAIN, CONDITIONED, COSMOLOGICAL)]
    if columns not in widths or not 1 <= galaxies <= _MOST:
        raise ValueError(f"it needs galaxies and {', '.join(map(str, widths))} columns, found {galaxies} and {columns}")
    return galaxies, columns


def _histories(value: object) -> tuple[History, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= 1000:
        raise ValueError(f"it needs 1 to 1000 of them, found {_shown(value)}")
    return tuple(map(_history, value))


def _history(value: object) -> History:
    history = _dataclass(History, value, finite=False)
    _check_whole(*history.updates)
    n = [len(each) for each in (history.updates, history.training_loss, history.validation_loss)]
    if len(set(n)) > 1:
        raise ValueError(f"{n[0]} updates, but {n[1]} and {n[2]} losses")
    return history


def _given_mass(value: object) -> GivenMassCard:
    if not isinstance(value, dict):
        raise ValueError(f"it needs fields, found {_shown(value)}")
    _checksum(value.get("sha256"))
    _history(value.get("history"))
    return _dataclass(GivenMassCard, value)


def _text_provenance(value: object) -> Provenance:
    return estimator_provenance_from_text(from_json(dict[str, str], value))


def _checksum(value: object) -> str:
    if not isinstance(value, str) or not fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"no SHA-256: {_shown(value)}")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "flow": _flow,
    "prior": _prior,
    "observation": _observation,
    "cosmology": lambda value: _dataclass(Cosmology, value),
    "richness": _richness,
    "condition_shape": _shape,
    "histories": _histories,
    "provenance": lambda value: from_json(Provenance, value),
    "weights_sha256": _checksum,
}
_OPTIONAL: dict[str, Callable[[Any], Any]] = {
    "alarm_sha256": _checksum,
    "membership_sha256": _checksum,
    "recalibration": lambda value: _dataclass(Recalibration, value),
    "given_mass": _given_mass,
}


def _dataclass(kind: type[T], value: object, *, finite: bool = True) -> T:
    """Build a dataclass from a mapping that has exactly its fields."""
    names = {each.name for each in fields(kind)}  # pyright: ignore[reportArgumentType]
    if not isinstance(value, dict) or value.keys() != names:
        found = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)
        raise ValueError(f"it needs {', '.join(sorted(names))}; found {found[:200]}")
    for name, each in value.items():
        for number in each if isinstance(each, list) else [each]:
            if finite and isinstance(number, float) and not isfinite(number):
                raise ValueError(f"{name} is {number}")
    return from_json(kind, value)


def _check_whole(*counts: int) -> None:
    for count in counts:
        if not 0 <= count < _LARGEST_WHOLE:
            raise ValueError(f"no whole number of at least 0: {_shown(count)}")


def _shown(value: object) -> str:
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, dict | list) else repr(value)[:60]
