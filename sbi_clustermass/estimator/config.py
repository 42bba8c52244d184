"""The card of a saved estimator, checked field by field: a stranger's file, or a damaged one, may say anything.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING, Any, TypeVar, final

from clustermocks import Cosmology, Observation
from clustermocks.io.settings import installed_version
from sbi_clustermass.posterior import Recalibration
from sbi_clustermass.posterior.prior import EffectivePrior
from sbi_clustermass.training import History

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

FORMAT = 2
_PACKAGE = "sbi-clustermass"
_LARGEST = 16_000_000  # bytes: a thousand times that of one network
_MASSES = (5.0, 20.0)  # log10 [h^-1 Msun]: between a dwarf galaxy's halo and more than the universe has
_MOST = 100_000  # galaxies of a cluster
_STEEPEST = 100.0  # of log pi's coefficients, before its exponential overflows

T = TypeVar("T")


@final
@dataclass(frozen=True)
class Card:
    """What a model folder says of itself, all but the flow in the types that an estimator holds.

    Attributes:
        flow: The flow's name and fields, not yet looked at.
        prior: Effective training prior.
        observation: How the mocks were observed.
        cosmology: Of the mocks.
        richness: Fewest and most galaxies of a training cluster.
        condition_shape: Of the padded observation that the network was built with, (galaxy, 3).
        histories: Of each member's training.
        provenance: Simulator, settings, seeds and versions.
        weights_sha256: Checksum of the weights' file.
        alarm_sha256: Checksum of the alarm's file; None where there is none.
        recalibration: What mends its posteriors; None for nothing.
    """

    flow: Mapping[str, Any]
    prior: EffectivePrior
    observation: Observation
    cosmology: Cosmology
    richness: tuple[int, int]
    condition_shape: tuple[int, int]
    histories: tuple[History, ...]
    provenance: Mapping[str, str]
    weights_sha256: str
    alarm_sha256: str | None = None
    recalibration: Recalibration | None = None


def describe(estimator: "MassEstimator") -> dict[str, Any]:
    """All that a card holds but the checksums, in JSON's types."""
    said = {
        "format": FORMAT,
        "flow": estimator.flow.config(),
        "prior": asdict(estimator.prior),
        "observation": asdict(estimator.observation),
        "cosmology": asdict(estimator.cosmology),
        "richness": list(estimator.richness),
        "condition_shape": list(estimator.network.condition_shape),
        "histories": [asdict(history) for history in estimator.histories],
        "provenance": dict(estimator.provenance),
    }
    mended = estimator.recalibration
    return said if mended is None else {**said, "recalibration": asdict(mended)}


def read_card(path: Path) -> Card:
    """Read a card.

    Raises:
        ValueError: It is no JSON, of another format, or a field is missing, unknown or out of range; the message names
            the file and the field.
    """
    said = _json(path)
    _check_format(path, said)
    readers = _READERS | {name: reader for name, reader in _OPTIONAL.items() if name in said}
    missing, unknown = readers.keys() - said.keys(), said.keys() - readers.keys() - {"format"}
    if missing or unknown:
        what, names = ("missing", missing) if missing else ("unknown", unknown)
        raise ValueError(f"{path}: a field is {what} ({', '.join(sorted(names))[:200]}); the file is damaged.")
    return Card(**{name: _read(path, name, reader, said[name]) for name, reader in readers.items()})


@contextmanager
def damaged(path: Path, what: str) -> Iterator[None]:
    """Turn whatever is raised into one message: fifteen flows and seven embeddings raise what they like.

    Args:
        path: The file to name.
        what: What is wrong with it then, as a sentence's beginning.

    Raises:
        ValueError: Anything was raised.
    """
    try:
        yield
    except (Exception, RecursionError, MemoryError) as error:
        said = str(error).strip() or type(error).__name__
        said = said if len(said) <= 300 else f"{said[:300]} ..."
        raise ValueError(f"{path}: {what} ({said}); the file is damaged.") from error


def _json(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > _LARGEST:
        raise ValueError(f"{path}: {size / 1e6:.0f} MB; a model's description has {_LARGEST / 1e6:.0f} MB at most.")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path}: not readable JSON (nested too deeply).") from error
    except ValueError as error:  # of the decoders, or a number of more digits than Python reads
        raise ValueError(f"{path}: not readable JSON ({error}).") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path}: model format {type(said).__name__!r}; this version reads format {FORMAT}.")
    return said


def _check_format(path: Path, said: dict[str, Any]) -> None:
    """Refuse another format, with the version that wrote it."""
    found = said.get("format")
    if found == FORMAT and not isinstance(found, bool):
        return
    provenance = said.get("provenance")
    writer = provenance.get(f"version_{_PACKAGE}") if isinstance(provenance, dict) else None
    by = f", written by {_PACKAGE} {writer[:40]}" if isinstance(writer, str) else ""
    later = isinstance(found, int) and found > FORMAT
    own = f"install that version ({_PACKAGE}=={writer[:40]})" if isinstance(writer, str) else "install an older version"
    cure = f"a later {_PACKAGE}: pip install --upgrade {_PACKAGE}" if later else f"train it anew, or {own}"
    raise ValueError(
        f"{path}: model format {str(found)[:40]!r}{by}; this version, {installed_version(_PACKAGE)}, "
        f"reads format {FORMAT}.\n  try:    {cure}"
    )


def _read(path: Path, name: str, reader: Callable[[Any], T], value: object) -> T:
    with damaged(path, f"{name} cannot be read"):
        return reader(value)


# ---- a reader a field: each raises ValueError with what was found ----------------------------------------------------


def _flow(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"it needs a name and fields, found {_shown(value)}")
    embedding = value.get("embedding")
    if isinstance(embedding, dict) and embedding.get("name") == "trial_masses":
        return {**value, "embedding": {"edge": True, **embedding}}  # what is older than this field has the ladder
    return value


def _prior(value: object) -> EffectivePrior:
    said = _exactly(value, EffectivePrior)
    low, high = (_number(said[name], name) for name in ("low", "high"))
    if not _MASSES[0] <= low < high <= _MASSES[1]:
        raise ValueError(f"low {low:g} and high {high:g} are no bounds of a mass [log10 h^-1 Msun]")
    coefficients = tuple(_number(each, "a coefficient") for each in _list(said["coefficients"], 50))
    if any(abs(each) > _STEEPEST for each in coefficients):
        raise ValueError(f"a coefficient above {_STEEPEST:g}")
    return EffectivePrior(low, high, coefficients)


def _observation(value: object) -> Observation:
    said = _exactly(value, Observation)
    numbers = {name: _number(each, name) for name, each in said.items() if name != "min_galaxies"}
    return Observation(**numbers, min_galaxies=_count(said["min_galaxies"], least=0))


def _cosmology(value: object) -> Cosmology:
    return Cosmology(**{name: _number(each, name) for name, each in _exactly(value, Cosmology).items()})


def _richness(value: object) -> tuple[int, int]:
    fewest, most = _pair(value)
    if not 0 <= fewest <= most <= _MOST:
        raise ValueError(f"{fewest} to {most} galaxies")
    return fewest, most


def _shape(value: object) -> tuple[int, int]:
    galaxies, columns = _pair(value)
    if columns != 3 or not 1 <= galaxies <= _MOST:
        raise ValueError(f"it needs galaxies and 3 columns, found {galaxies} and {columns}")
    return galaxies, columns


def _histories(value: object) -> tuple[History, ...]:
    found = tuple(map(_history, _list(value, 1000)))
    if not found:
        raise ValueError("there is none")
    return found


def _history(value: object) -> History:
    said = _exactly(value, History)
    updates = [_count(each, least=0) for each in _list(said["updates"])]
    losses = [[_float(each, name) for each in _list(said[name])] for name in ("training_loss", "validation_loss")]
    if not len(updates) == len(losses[0]) == len(losses[1]):
        raise ValueError(f"{len(updates)} updates, but {len(losses[0])} and {len(losses[1])} losses")
    return History(updates, *losses)


def _provenance(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError(f"it needs names and texts, found {_shown(value)}")
    return value


def _recalibration(value: object) -> Recalibration:
    return Recalibration(**{name: _number(each, name) for name, each in _exactly(value, Recalibration).items()})


def _digest(value: object) -> str:
    if not isinstance(value, str) or not fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"no SHA-256: {_shown(value)}")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "flow": _flow,
    "prior": _prior,
    "observation": _observation,
    "cosmology": _cosmology,
    "richness": _richness,
    "condition_shape": _shape,
    "histories": _histories,
    "provenance": _provenance,
    "weights_sha256": _digest,
}
_OPTIONAL: dict[str, Callable[[Any], Any]] = {"alarm_sha256": _digest, "recalibration": _recalibration}


# ---- JSON's types ----------------------------------------------------------------------------------------------------


def _exactly(value: object, kind: Any) -> dict[str, Any]:
    """A mapping with the fields of a dataclass, no more and no less."""
    names = {each.name for each in fields(kind)}
    if not isinstance(value, dict) or value.keys() != names:
        found = ", ".join(map(str, value)) if isinstance(value, dict) else repr(value)
        raise ValueError(f"it needs {', '.join(sorted(names))}; found {found[:200]}")
    return value


def _float(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is no number: {_shown(value)}")
    return float(value)


def _number(value: object, name: str) -> float:
    number = _float(value, name)
    if not isfinite(number):
        raise ValueError(f"{name} is {number}")
    return number


def _count(value: object, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise ValueError(f"no whole number of at least {least}: {_shown(value)}")
    return value


def _list(value: object, most: int = 1_000_000) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"no list, or one of more than {most}: {_shown(value)}")
    return value


def _pair(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"it needs two whole numbers, found {_shown(value)}")
    first, second = (_count(each, least=0) for each in value)
    return first, second


def _shown(value: object) -> str:
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, dict | list) else repr(value)[:60]
