"""Mocks as a survey would have seen them: fewer galaxies, wrong velocities, interlopers removed.

Done once, before the training: the first stage of a network that has no weights in it then runs only once.
Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import replace

import numpy as np

from clustermocks import Catalogue
from clustermocks.observation import in_cylinder
from clustermocks.perturbations import Cleaning, cleaned, recentred

Range = tuple[float, float]
_ALL, _EXACT = (1.0, 1.0), (0.0, 0.0)


def as_observed(
    mocks: Catalogue, completeness: Range, velocity_error: Range, *, cleaning: Cleaning | None = None, seed: int
) -> Catalogue:
    """Mocks of other spectroscopy, each cluster's completeness and velocity errors drawn evenly from a range.

    A galaxy keeps its redshift with its cluster's completeness. Then velocities are measured from the galaxies that are
    left, as those of data are, and the richness cut is applied. Attempts that had failed it stay, so that the effective
    prior is that of the mocks as they were drawn. Complete and exact spectroscopy leaves them as they are. The metadata
    tell the ranges, where warnings look for them.

    Args:
        mocks: All that passed the cuts, as simulated.
        completeness: Lowest and highest share of the galaxies [1].
        velocity_error: Smallest and largest standard deviation of velocity errors [km/s].
        cleaning: How interlopers are removed in the end.
        seed: Of all draws.
    """
    if (completeness, velocity_error) == (_ALL, _EXACT):
        return mocks if cleaning is None else _centred(cleaned(mocks, cleaning))
    rng = np.random.default_rng(seed)
    cluster = mocks.cluster_of_galaxy
    share, size = (rng.uniform(*bounds, len(mocks))[cluster] for bounds in (completeness, velocity_error))
    kept = rng.random(len(cluster)) < share
    v_los = (mocks.galaxy_column("v_los") + size * rng.standard_normal(len(cluster))).astype(np.float32)
    kept &= in_cylinder(mocks.galaxy_column("R_proj"), v_los, mocks.observation)
    galaxies = {name: values[kept] for name, values in (mocks.galaxy_columns | {"v_los": v_los}).items()}
    seen = _centred(mocks.with_galaxies(galaxies, cluster[kept]))
    provenance = replace(seen.provenance, completeness=completeness, velocity_error=velocity_error)
    seen = replace(seen, provenance=provenance)
    return seen if cleaning is None else _centred(cleaned(seen, cleaning))


def _centred(mocks: Catalogue) -> Catalogue:
    """With velocities measured again, if those of the mocks were measured."""
    return recentred(mocks) if mocks.is_recentred else mocks
