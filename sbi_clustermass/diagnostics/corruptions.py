"""Errors that a cluster's table can have, by name, for the table of alarms.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue
from clustermocks.perturbations import (
    cleaned,
    in_wrong_units,
    merged,
    recentred,
    shuffled_velocities,
    thinned,
    with_centre_offset,
    with_redshift_offset,
    with_velocity_errors,
    within_aperture,
    without_signs,
)

Corruption: TypeAlias = Callable[[Catalogue, int], Catalogue]


def _degrees(catalogue: Catalogue) -> float:
    """Degrees on the sky per comoving h^-1 Mpc, at the catalogue's redshift in a flat universe."""
    return float(180 / np.pi / catalogue.cosmology.comoving_distance(catalogue.observation.redshift))


def _dispersion(catalogue: Catalogue) -> Float[np.ndarray, "cluster"]:
    """Root mean square velocity of each cluster's true members, (cluster,) [km/s]."""
    cluster, member = catalogue.cluster_of_galaxy, catalogue.galaxy_column("is_member")
    number, squares = (
        np.bincount(cluster[member], weights, minlength=len(catalogue))
        for weights in (None, catalogue.galaxy_column("v_los")[member].astype(float) ** 2)
    )
    return np.sqrt(squares / np.maximum(number, 1))


CORRUPTIONS: Mapping[str, Corruption] = {
    "R in degrees": lambda c, _: in_wrong_units(c, _degrees(c)),
    "R in Mpc, read as kpc": lambda c, _: in_wrong_units(c, 1e-3),
    "R in kpc, read as Mpc": lambda c, _: in_wrong_units(c, 1e3),
    "R in h^-1 Mpc, read as Mpc": lambda c, _: in_wrong_units(c, c.cosmology.h),
    "R in Mpc, read as h^-1 Mpc": lambda c, _: in_wrong_units(c, 1 / c.cosmology.h),
    "R physical, read as comoving": lambda c, _: in_wrong_units(c, 1 / (1 + c.observation.redshift)),
    "true members only": lambda c, _: cleaned(c),
    "cleaned, 3-sigma clipping": lambda c, _: cleaned(c, "clipping"),
    "cleaned, shifting gapper": lambda c, _: cleaned(c, "shifting_gapper"),
    "half of the galaxies": lambda c, seed: thinned(c, 0.5, seed),
    "a fifth of the galaxies": lambda c, seed: thinned(c, 0.2, seed),
    "two equal clusters, 2 dispersions apart": lambda c, seed: merged(c, 2 * _dispersion(c), seed),
    "two equal clusters, 3 dispersions apart": lambda c, seed: merged(c, 3 * _dispersion(c), seed),
    "two equal clusters, 4 dispersions apart": lambda c, seed: merged(c, 4 * _dispersion(c), seed),
    "two equal clusters, 1 h^-1 Mpc apart": lambda c, seed: merged(c, 0, seed, separation=1.0),
    "v shuffled within clusters": lambda c, seed: shuffled_velocities(c, seed),
    "v shuffled between clusters": lambda c, seed: shuffled_velocities(c, seed, between=True),
    "v without signs": lambda c, _: without_signs(c),
    "v without signs, recentred": lambda c, _: recentred(without_signs(c)),
    "field of 1.2 h^-1 Mpc": lambda c, _: within_aperture(c, 1.2),
    "field of 0.8 h^-1 Mpc": lambda c, _: within_aperture(c, 0.8),
    "redshift off by 300 km/s": lambda c, _: with_redshift_offset(c, 300),
    "redshift off by 1000 km/s": lambda c, _: with_redshift_offset(c, 1000),
    "centre off by 0.3 h^-1 Mpc": lambda c, seed: with_centre_offset(c, 0.3, seed),
    "velocity errors of 300 km/s": lambda c, seed: with_velocity_errors(c, 300, seed),
}
