"""Virial and projected mass estimators, for galaxies whose distance from the centre is known but not their angle.

Masses [h^-1 Msun], distances from the centre physical [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float
from scipy.special import ellipkm1

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.cosmology import G
from clustermocks.io.registry import lookup
from clustermocks.kinematics.membership import REMOVALS, Removal, kept_galaxies
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.baselines.linear_relation import Direction, FittedRelation, LinearRelation
from sbi_clustermass.baselines.mass_function_prior import Prior

NEAREST = 0.01  # [h^-1 Mpc] smallest distance: a central galaxy may have exactly 0, but has a size
_CLOSEST = 1e-14  # smallest square of a relative difference: distances are float32
_CENTROID = 1.5  # galaxies that Heisler et al. subtract from N for the unknown centroid

Estimator = Literal["virial", "projected"]
_Column = Float[np.ndarray, "galaxy"]


def inverse_separations(R_proj: _Column) -> float:
    r"""Sum over pairs of the mean of 1/R_ij over their unknown angle, $\sum_{i<j} 2 K(k_{ij}) / [\pi (R_i + R_j)]$.

    Distances from the centre under .01 h^-1 Mpc count as .01.

    K is the complete elliptic integral, $k_{ij}^2 = 4 R_i R_j / (R_i + R_j)^2$: each galaxy represents a ring, as in
    Carlberg et al. 1996 (ApJ 462, 32), where it also makes clusters of few galaxies less noisy.
    """
    R = np.maximum(np.asarray(R_proj, float), NEAREST)
    i, j = np.triu_indices(len(R), 1)
    total = R[i] + R[j]
    complement = np.maximum(((R[i] - R[j]) / total) ** 2, _CLOSEST)  # 1 - k^2
    return float(np.sum(2 / np.pi * ellipkm1(complement) / total))


def virial_mass(R_proj: _Column, v_los: _Column) -> float:
    r"""Virial mass, $\frac{3 \pi N}{2 G} \sum_i (v_i - \bar v)^2 / \sum_{i<j} 1/R_{ij}$ [h^-1 Msun].

    This form of Heisler, Tremaine & Bahcall, for N galaxies that trace the mass, follows from 2K + W = 0 with $3
    \langle v^2 \rangle$ and $\langle 1/r \rangle = \frac{2}{\pi} \langle 1/R \rangle$; 1/R_ij is averaged over the
    unknown angle (`inverse_separations`). The number of the paper's equation could not be checked. There is no surface
    term, so that the mass of a system cut off by the aperture is too large. NaN for fewer than two galaxies.

    References:
        Heisler, Tremaine & Bahcall 1985, ApJ 298, 8.
    """
    n = len(v_los)
    if n < 2:
        return np.nan
    return 1.5 * np.pi * n / G * float(np.sum((v_los - np.mean(v_los)) ** 2)) / inverse_separations(R_proj)


def projected_mass(R_proj: _Column, v_los: _Column) -> float:
    r"""Projected mass, $\frac{32}{\pi G (N - 1.5)} \sum_i (v_i - \bar v)^2 R_i$ [h^-1 Msun], for isotropic orbits.

    This form of Heisler, Tremaine & Bahcall holds for galaxies that trace the mass: by the Jeans equation $\langle v^2
    R \rangle = \frac{\pi}{32} G M$; for radial orbits 64 replaces 32. The 1.5 allows for an unknown centre, although it
    is known here. The number of the paper's equation could not be checked. NaN for fewer than two galaxies.

    References:
        Heisler, Tremaine & Bahcall 1985, ApJ 298, 8.
    """
    n = len(v_los)
    if n < 2:
        return np.nan
    return 32 / (np.pi * G * (n - _CENTROID)) * float(np.sum((v_los - np.mean(v_los)) ** 2 * R_proj))


ESTIMATORS: dict[str, Callable[[_Column, _Column], float]] = {"virial": virial_mass, "projected": projected_mass}


@final
@dataclass(frozen=True)
class LogMassEstimate:
    """Log10 of a mass estimate of each cluster.

    Attributes:
        estimator: One of `ESTIMATORS`, from distances [physical h^-1 Mpc] and velocities [km/s] to a mass [h^-1 Msun].
        interlopers: How interlopers are removed first.
    """

    estimator: Estimator
    interlopers: Removal = "none"

    def __post_init__(self) -> None:
        lookup("mass estimator", self.estimator, ESTIMATORS)
        lookup("removal of interlopers", self.interlopers, REMOVALS)

    def __call__(self, clusters: Catalogue) -> Float[np.ndarray, "cluster"]:
        """Log10 mass [dex]; NaN where the estimator gives none."""
        physical, estimator = 1 / (1 + clusters.observation.redshift), ESTIMATORS[self.estimator]
        found = [estimator(physical * R, v) for R, v in kept_galaxies(clusters, self.interlopers)]
        mass = np.array(found, float)
        return np.log10(np.where(mass > 0, mass, np.nan))


@final
@dataclass(frozen=True)
class Uncalibrated:
    """A mass estimate without calibration or conversion to M200c; it has no error.

    Attributes:
        estimate: Estimates log10 mass [dex].
    """

    estimate: LogMassEstimate

    def predict(self, clusters: Catalogue) -> Prediction:
        """Masses of the system that the galaxies in the cylinder trace."""
        return Prediction(self.estimate(clusters))


@final
@dataclass(frozen=True)
class VirialMass:
    """A mass from the virial theorem, or the projected mass, of the galaxies in the cylinder.

    Attributes:
        estimator: "virial" (`virial_mass`) or "projected" (`projected_mass`).
        interlopers: How interlopers are removed first.
        calibrated: Whether a line between the estimate and M200c is fitted to mocks. If not, the estimate is returned
            unchanged: the mass of what fills the aperture, not M200c.
        direction: Which line is fitted (`LinearRelation`).
        prior: Distribution of masses for which it is fitted (`LinearRelation`).
    """

    estimator: Estimator = "virial"
    interlopers: Removal = "clipping"
    calibrated: bool = True
    direction: Direction = "inverse"
    prior: Prior = "flat"

    def __post_init__(self) -> None:
        LogMassEstimate(self.estimator, self.interlopers)  # which refuse unknown names
        LinearRelation(self.direction, self.prior)

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRelation | Uncalibrated:
        """Fit the calibration, if any, to mocks of known mass; nothing is random.

        Raises:
            ValueError: Fewer than three clusters of known and different masses and estimates.
        """
        estimate = LogMassEstimate(self.estimator, self.interlopers)
        return (
            LinearRelation(self.direction, self.prior).fit(estimate, mocks)
            if self.calibrated
            else Uncalibrated(estimate)
        )
