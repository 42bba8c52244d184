"""Heavier haloes in a cluster's cylinder: a cluster finder would take the cluster for a part of them.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from clustermocks.haloes.cosmology import Cosmology, radius_200c, virial_velocity
from clustermocks.observation import Observation

REACH = 1.35  # R_vir over r200c, nearly: 1.2 to 1.35


class NearbyHaloes(NamedTuple):
    """Other haloes near clusters, each field (halo,): index of the cluster, mass, distance on the sky, velocity."""

    cluster: Int[np.ndarray, "halo"]
    log10_mass: Float[np.ndarray, "halo"]
    R_proj: Float[np.ndarray, "halo"]
    v_los: Float[np.ndarray, "halo"]


def heaviest_in_cylinder(
    rivals: NearbyHaloes, *, n: int, observation: Observation, cosmology: Cosmology
) -> Float[np.ndarray, "cluster"]:
    """Log10 mass of the heaviest halo that reaches into each of n clusters' cylinders [dex]; NaN where none does.

    A halo reaches out to REACH r200c on the sky and to V200 in velocity.
    """
    mass, redshift = 10**rivals.log10_mass, observation.redshift
    inside = rivals.R_proj - REACH * radius_200c(mass, redshift, cosmology) < observation.aperture
    inside &= np.abs(rivals.v_los) < observation.v_cut + virial_velocity(mass, redshift, cosmology)
    heaviest = np.full(n, -np.inf)
    np.maximum.at(heaviest, rivals.cluster[inside], rivals.log10_mass[inside])
    return np.where(np.isfinite(heaviest), heaviest, np.nan)


def eligible(
    rival: Float[np.ndarray, "cluster"], log10_mass: Float[np.ndarray, "cluster"], *, dominant: bool
) -> Bool[np.ndarray, "cluster"]:
    """Which clusters count: all, or only those without a heavier halo in the cylinder."""
    return ~(rival > log10_mass) if dominant else np.ones(len(rival), bool)
