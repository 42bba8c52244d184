r"""The caustic technique: mass from the escape velocity that the galaxies trace in the (r, v) plane.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; R_proj is comoving [h^-1 Mpc], r is physical [h^-1 Mpc], velocities
are [km/s].
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, Self, final

import numpy as np
from jaxtyping import Bool, Float

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.cosmology import Cosmology, G, Values, concentration, nfw_mass, radius_200c
from clustermocks.kinematics.caustics import GAP, Caustics, Q, below_amplitude, caustics
from clustermocks.observation import Observation
from sbi_clustermass.baselines.baseline import Prediction


@final
@dataclass(frozen=True)
class CausticProfile:
    """Caustics of one cluster, and the mass profile that follows from them.

    Attributes:
        r: Mid-radii of the shells [physical h^-1 Mpc], (radius,), evenly spaced from 0 to the aperture.
        amplitude: Escape velocity along the line of sight A(r) [km/s], (radius,); 0 beyond the last member.
        amplitude_error: Error of A, kappa / max_v f(r, v) times A [km/s], (radius,).
        mass: Mass inside the outer edge of each shell [h^-1 Msun], (radius,).
        mass_error: Error of the mass [h^-1 Msun], (radius,).
        log10_mass: log10 M200c [dex]; NaN if the profile nowhere reaches that density.
        std: Error of log10_mass [dex].
        redshift: Redshift of the cluster.
    """

    r: Float[np.ndarray, "radius"]
    amplitude: Float[np.ndarray, "radius"]
    amplitude_error: Float[np.ndarray, "radius"]
    mass: Float[np.ndarray, "radius"]
    mass_error: Float[np.ndarray, "radius"]
    log10_mass: float
    std: float
    redshift: float

    def inside(
        self, R_proj: Float[np.ndarray, "galaxy"], v_los: Float[np.ndarray, "galaxy"]
    ) -> Bool[np.ndarray, "galaxy"]:
        """Whether galaxies at R_proj [comoving h^-1 Mpc] and v_los [km/s] are members: |v| < A(r)."""
        return below_amplitude(np.asarray(R_proj, float) / (1 + self.redshift), v_los, self.r, self.amplitude)


@final
@dataclass(frozen=True)
class Caustic:
    r"""Caustic masses, $G M(<r) = F_\beta \int_0^r A^2 dr$ (Diaferio & Geller 1997; Diaferio 1999).

    A(r) is where the density of galaxies falls to kappa, with d ln A / d ln r limited to 1/4. kappa is chosen such
    that the mean square of A over the candidate members' distances is four times their velocity variance. Nothing is
    fitted to mocks. Departures from the published method:

    * Candidates are the galaxies around velocity 0 up to the first gap on either side, after 3-sigma
      clipping. The published binary tree needs positions on the sky; a catalogue has distances from the centre only.
    * The centre is the catalogue's, and the density is mirrored in v: one amplitude instead of the smaller of two.
    * Kernels are Gaussian, and reflected at the aperture.
    * Where r200c lies outside the aperture, the mass is extrapolated by an NFW halo of median concentration (Diemer &
      Joyce 2019).

    Attributes:
        filling: F_beta [1]: .5 (Diaferio & Geller 1997), .65 (Gifford, Miller & Kern 2013), .7 (Serra et al. 2011).
        kernel: "adaptive" (Diaferio 1999) or "fixed" width.
        q: Relative smoothing: a velocity of q x 100 km/s counts as 1 h^-1 Mpc.
        gap: Smallest gap between neighbouring velocities that ends the candidates [km/s]; None for clipping alone.

    References:
        Diaferio & Geller 1997, ApJ 481, 633; Diaferio 1999, MNRAS 309, 610; Serra et al. 2011, MNRAS 412, 800.
    """

    filling: float = 0.5
    kernel: Literal["adaptive", "fixed"] = "adaptive"
    q: float = Q
    gap: float | None = GAP

    def __post_init__(self) -> None:
        for name, low, high in (("filling", 0, 2), ("q", 1, 1000)):
            if not low < getattr(self, name) <= high:
                raise ValueError(
                    f"Caustic: {name} must be above {low} and at most {high}, found {getattr(self, name)!r}."
                )
        if self.gap is not None and not self.gap > 0:
            raise ValueError(f"Caustic: gap must be positive or None, found {self.gap!r}.")
        if self.kernel not in ("adaptive", "fixed"):
            raise ValueError(f"Caustic: kernel must be 'adaptive' or 'fixed', found {self.kernel!r}.")

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> Self:
        """Return itself: there is nothing to fit."""
        return self

    def predict(self, clusters: Catalogue) -> Prediction:
        """Predict caustic masses; NaN for clusters that are too poor, or without such a threshold."""
        profiles = [self.profile_of(clusters, i) for i in range(len(clusters))]
        values = np.array([(p.log10_mass, p.std) if p else (np.nan, np.nan) for p in profiles]).reshape(-1, 2)
        return Prediction(values[:, 0], values[:, 1])

    def profile_of(self, clusters: Catalogue, index: int) -> CausticProfile | None:
        """Find the caustics, if any, of one cluster of a catalogue, in its own field if it has one."""
        own = {name: float(clusters.observation_column(name)[index]) for name in ("redshift", "aperture", "v_cut")}
        observation = replace(clusters.observation, **own)
        return self.profile(*clusters.galaxies(index), observation=observation, cosmology=clusters.cosmology)

    def profile(
        self,
        R_proj: Float[np.ndarray, "galaxy"],
        v_los: Float[np.ndarray, "galaxy"],
        *,
        observation: Observation,
        cosmology: Cosmology,
    ) -> CausticProfile | None:
        """Find the caustics of one cluster.

        Args:
            R_proj: Projected distances [comoving h^-1 Mpc].
            v_los: Velocities relative to the cluster [km/s].
            observation: Redshift, aperture and velocity cut.
            cosmology: Sets the critical density.

        Returns:
            The caustics, or None with fewer than 8 candidate members, or if no threshold gives their velocity variance.
        """
        r, v_los = np.asarray(R_proj, float) / (1 + observation.redshift), np.asarray(v_los, float)
        limits = (observation.aperture / (1 + observation.redshift), observation.v_cut)
        found = caustics(r, v_los, limits=limits, q=self.q, adaptive=self.kernel == "adaptive", gap=self.gap)
        if found is None:
            return None
        return _mass_profile(found, self.filling, redshift=observation.redshift, cosmology=cosmology)


def caustic_members(clusters: Catalogue, choice: Caustic | None = None) -> Bool[np.ndarray, "galaxy"]:
    """Whether galaxies lie inside their cluster's caustics, (galaxy,); False if the cluster has no caustics.

    Args:
        clusters: Clusters with their galaxies.
        choice: Settings of the caustics; None for `Caustic()`. The filling factor does not matter here.
    """
    choice = Caustic() if choice is None else choice
    inside = []
    for i in range(len(clusters)):
        profile, (R_proj, v_los) = choice.profile_of(clusters, i), clusters.galaxies(i)
        inside.append(profile.inside(R_proj, v_los) if profile else np.zeros(len(R_proj), bool))
    return np.concatenate([np.zeros(0, bool), *inside])


def _mass_profile(found: Caustics, filling: float, *, redshift: float, cosmology: Cosmology) -> CausticProfile:
    plane, kappa, amplitude = found
    share = np.minimum(kappa / np.maximum(plane.density.max(axis=1), 1e-300), 1.0)
    shell = filling / G * amplitude**2 * (plane.r[1] - plane.r[0])
    mass, error = np.cumsum(shell), np.cumsum(2 * shell * share)  # Diaferio 1999
    edge = plane.r + plane.r[0]
    log10_mass, at = m200c_of_profile(edge, mass, redshift, cosmology)
    relative = float(np.interp(at, edge, error / np.maximum(mass, 1e-300)))
    std = relative / np.log(10) if np.isfinite(log10_mass) else np.nan
    return CausticProfile(plane.r, amplitude, share * amplitude, mass, error, log10_mass, std, redshift)


def m200c_of_profile(edge: Values, mass: Values, redshift: float, cosmology: Cosmology) -> tuple[float, float]:
    """log10 M200c [dex] of a mass profile, and the smaller of r200c and the profile's end [physical h^-1 Mpc]."""
    excess = np.log(edge * (1 + redshift)) - np.log(np.maximum(radius_200c(mass, redshift, cosmology), 1e-30))
    outside = np.flatnonzero(excess >= 0)
    if not outside.size:
        return _extrapolated_mass(edge[-1], mass[-1], redshift, cosmology), float(edge[-1])
    j = int(outside[0])
    if not j:
        return np.nan, float(edge[0])
    both = slice(j - 1, j + 1)
    r_200c = float(np.exp(np.interp(0.0, excess[both], np.log(edge[both]))))
    inside = np.interp(np.log(r_200c), np.log(edge[both]), np.log10(mass[both]))
    return float(inside), r_200c


def _extrapolated_mass(edge: float, mass: float, redshift: float, cosmology: Cosmology) -> float:
    """log10 M200c [dex] of the NFW halo of median concentration that has a given mass inside a radius."""
    log10_mass, r_200c, c_200c = _halo_table(redshift, cosmology)
    share = nfw_mass(c_200c * edge * (1 + redshift) / r_200c) / nfw_mass(c_200c)
    return float(np.interp(np.log10(mass), log10_mass + np.log10(share), log10_mass))


@lru_cache(maxsize=16)
def _halo_table(redshift: float, cosmology: Cosmology) -> tuple[Values, Values, Values]:
    log10_mass = np.linspace(12, 17, 101)
    mass = 10**log10_mass
    return log10_mass, radius_200c(mass, redshift, cosmology), concentration(mass, redshift, cosmology)
