"""Registry of the simulators, and the provenance of a catalogue as a simulator or as text."""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from clustermocks.catalogue.provenance import Provenance
from clustermocks.io.settings import as_text, from_json
from clustermocks.mocks.halo_model import HaloModel
from clustermocks.nbody.view import BoxView
from clustermocks.spherical_jeans.model import SphericalJeans

SIMULATORS = MappingProxyType({"HaloModel": HaloModel, "SphericalJeans": SphericalJeans, "N-body box": BoxView})


def simulator_of(provenance: Provenance) -> HaloModel | SphericalJeans | BoxView | None:
    """Build the simulator that made a catalogue, with default observation and cosmology.

    Returns:
        The simulator; None if it is unknown, or if its settings are of another version.
    """
    kind = SIMULATORS.get(provenance.simulator)
    try:
        return None if kind is None else from_json(kind, dict(provenance.settings))
    except ValueError:
        return None


def provenance_as_text(provenance: Provenance) -> dict[str, str]:
    """List all known facts of a provenance by name, as text for a reader."""
    model = simulator_of(provenance)
    stored = {f.name: getattr(model, f.name) for f in fields(model)} if model else provenance.settings
    facts = {
        "simulator": provenance.simulator or None,
        "simulator_revision": provenance.revision,
        "seed": provenance.seed,
        "lines_of_sight": provenance.lines_of_sight and _range(provenance.lines_of_sight),
        **{name: as_text(stored[name]) for name in provenance.settings if name in stored},
        "sample": "members" if provenance.sample == "members" else None,
        "changed": "; ".join(map(str, provenance.changes)) or None,
        "completeness_range": provenance.completeness and _both(provenance.completeness),
        "velocity_error_range": provenance.velocity_error and _both(provenance.velocity_error),
        "redshifts": ", ".join(f"{z:g}" for z in provenance.redshifts) or None,
        **{name: _ranges(prior) for name, prior in provenance.priors.items() if prior},
        "thinned_to": provenance.thinned_to and f"{_both(provenance.thinned_to)} galaxies",
        **provenance.notes,
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _both(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"


def _ranges(prior: Mapping[str, Any]) -> str:
    texts = {name: as_text(tuple(v) if isinstance(v, list) else v) for name, v in prior.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())


def _range(bounds: tuple[int, int]) -> str:
    return str(bounds[0]) if bounds[0] == bounds[1] else _both(bounds)
