"""Mocks as a survey would observe them: incomplete and with velocity errors.

This is done once before the training, so that a first stage of the network without weights has to run only once.
Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import replace

import numpy as np

from clustermocks import Catalogue
from clustermocks.observation import in_cylinder
from clustermocks.perturbations import recentred

Range = tuple[float, float]
_ALL, _EXACT = (1.0, 1.0), (0.0, 0.0)


def as_observed(mocks: Catalogue, completeness: Range, velocity_error: Range, *, seed: int) -> Catalogue:
    """Thin mocks and add velocity errors; each cluster's completeness and error are drawn uniformly from a range.

    A galaxy is kept with the completeness of its cluster. Velocities are then recentred on the remaining galaxies, as
    those of data are, and the richness cut is applied. Attempts that failed it before are kept, so that the effective
    prior is that of the mocks as drawn. Complete and exact spectroscopy leaves mocks unchanged. The provenance records
    the ranges, on which an estimator's warnings depend.

    Galaxies that errors or the new centre would bring in from beyond the velocity cut are missing: velocity dispersions
    are 2 % lower at a completeness of 0.4 and errors of 150 km/s than with `HaloModel(completeness=0.4,
    velocity_error=150.0)`.

    Args:
        mocks: All mocks that passed the cuts, as simulated.
        completeness: Lowest and highest share of the galaxies [1].
        velocity_error: Smallest and largest standard deviation of velocity errors [km/s].
        seed: Seed of all draws.
    """
    if (completeness, velocity_error) == (_ALL, _EXACT):
        return mocks
    rng = np.random.default_rng(seed)
    cluster = mocks.cluster_of_galaxy
    share, size = (rng.uniform(*bounds, len(mocks))[cluster] for bounds in (completeness, velocity_error))
    kept = rng.random(len(cluster)) < share
    v_los = (mocks.galaxy_column("v_los") + size * rng.standard_normal(len(cluster))).astype(np.float32)
    kept &= in_cylinder(mocks.galaxy_column("R_proj"), v_los, mocks.observation)
    galaxies = {name: values[kept] for name, values in (mocks.galaxy_columns | {"v_los": v_los}).items()}
    seen = mocks.with_galaxies(galaxies, cluster[kept])
    seen = recentred(seen) if mocks.is_recentred else seen
    return replace(seen, provenance=replace(seen.provenance, completeness=completeness, velocity_error=velocity_error))
