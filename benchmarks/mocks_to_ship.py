"""The mocks behind the shipped estimator.

The mocks have all kinds of interlopers; redshift and centre are measured as in data. A random share of the galaxies has
velocities, with errors, and the redshift is measured again from these. A third of the clusters have three times as many
galaxies per volume, because nearby clusters are observed to fainter galaxies than those of the mocks, and the network
must not use the number of galaxies.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from dataclasses import replace
from typing import TypeAlias

import pyarrow as pa

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel
from clustermocks.catalogue.ragged import with_column
from clustermocks.incompleteness import as_observed
from clustermocks.simulators import provenance_as_text
from sbi_clustermass.estimator.misspecification.preprocessing_checks import within_velocity

Masses: TypeAlias = FlatMasses | HaloMassFunction
FLAT, MODEL = FlatMasses(13.0, 15.6), HaloModel()
REACH = 5000.0  # of tables whose galaxies beyond the velocity cut are counted [km/s]
DENSER, DENSE_SHARE = 3.0, 1 / 3
COMPLETENESS, VELOCITY_ERROR = (0.2, 1.0), (0.0, 150.0)
_APART = 10**12  # more than any number of hosts


def denser(factor: float, plain: HaloModel) -> HaloModel:
    """Multiply the number of a model's galaxies per volume, both in haloes and in the field."""
    richer = replace(plain.galaxies, richness=factor * plain.galaxies.richness)
    return replace(plain, tracer_density=factor * plain.tracer_density, galaxies=richer)


def drawn(n: int, seed: int, masses: Masses = FLAT, plain: HaloModel = MODEL) -> Catalogue:
    """Draw mocks like the training set: of both densities, with incomplete and imprecise spectroscopy."""
    few = round(n * DENSE_SHARE)
    parts = [
        model.simulate(masses.draw(size, seed + i), seed=seed + i)
        for i, (model, size) in enumerate(((plain, n - few), (denser(DENSER, plain), few)))
    ]
    dense = {
        "tracer_density": f"{DENSER * plain.tracer_density:g}",
        "galaxies": f"richness={DENSER * plain.galaxies.richness:g}",
    }
    usual = provenance_as_text(parts[0].provenance)
    notes = {name: f"{usual[name]}; a third of the clusters: {text}" for name, text in dense.items()}
    provenance = replace(parts[0].provenance, notes=notes)
    described = [_of_other_hosts(replace(part, provenance=provenance), i) for i, part in enumerate(parts)]
    return as_observed(Catalogue.concatenate(described), COMPLETENESS, VELOCITY_ERROR, seed=seed)


def _of_other_hosts(mocks: Catalogue, part: int) -> Catalogue:
    """Renumber the hosts, so that no split takes hosts of different parts for one."""

    def moved(table: pa.Table) -> pa.Table:
        ids = table["host_id"].to_numpy() + part * _APART
        return with_column(table, "host_id", pa.array(ids))

    return replace(mocks, clusters=moved(mocks.clusters), attempts=moved(mocks.attempts))


def prepared(n: int, seed: int) -> tuple[Catalogue, Catalogue]:
    """Draw mocks with counts of galaxies beyond the velocity cut: complete ones, and ones like the training set."""
    wide = replace(MODEL, observation=replace(MODEL.observation, v_cut=REACH))
    complete = wide.simulate(FLAT.draw(n, seed), seed=seed)
    both = complete, drawn(n, seed + 10, plain=wide)
    return within_velocity(both[0], MODEL.observation.v_cut), within_velocity(both[1], MODEL.observation.v_cut)
