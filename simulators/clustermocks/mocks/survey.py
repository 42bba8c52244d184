"""How clusters are observed: limits of the field, targeting, redshifts and their errors, removal of interlopers.

Lengths are comoving [h^-1 Mpc], angles on the sky in degrees or seconds of arc, velocities [km/s].
"""

from dataclasses import dataclass, field
from math import inf
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from clustermocks.haloes.cosmology import MDPL2, Cosmology, Values
from clustermocks.io.registry import lookup
from clustermocks.io.settings import check_ranges
from clustermocks.kinematics.membership import Removal
from clustermocks.observation import Observation


@dataclass(frozen=True)
class RadialCompleteness:
    """Probability that a galaxy has a redshift, from the centre to the aperture's edge.

    centre + (edge - centre) (R / aperture)^power, times `outside` beyond the core.

    Attributes:
        centre: Probability at the assumed centre [1].
        edge: Probability at the aperture, and for members beyond it [1].
        power: Exponent of the distance [1]; 1 is a straight line, a smaller one a change near the centre.
        core: Radius of a core that was observed more deeply than the rest [unit of the aperture].
        outside: Share of the probability that is left outside it [1].
    """

    centre: float
    edge: float
    power: float = 1.0
    core: float = 0.0
    outside: float = 1.0

    def __post_init__(self) -> None:
        check_ranges(self, centre=(0, 1), edge=(0, 1), power=(0.1, 10), core=(0, inf), outside=(0, 1))

    def __call__(self, R_proj: ArrayLike, aperture: float) -> Values:
        """Probability [1] at a projected distance from the assumed centre [same unit as the aperture]."""
        R_proj = np.asarray(R_proj, float)
        fraction = np.minimum(R_proj / aperture, 1.0)
        probability = self.centre + (self.edge - self.centre) * fraction**self.power
        return np.where(R_proj > self.core, self.outside, 1.0) * probability


@dataclass(frozen=True)
class Footprint:
    """Part of the sky around a cluster that was observed, turned by a random angle for each cluster.

    Attributes:
        sector: Width of a sector that was not observed [deg].
        flattening: 1 - width / length [1] of a field that is a strip through the aperture; 0 for the whole circle.
    """

    sector: float = 0.0
    flattening: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, sector=(0, 350.0, "deg"), flattening=(0, 0.95))


WHOLE = Footprint()


@dataclass(frozen=True)
class Survey:
    """How clusters are observed. `HaloModel` observes simulated ones so, `BoxView` those of an N-body box.

    Attributes:
        observation: Redshift, cylinder and least number of galaxies.
        cosmology: Background, and power spectrum of simulated clusters.
        recentre: Measure the cluster's redshift from its galaxies, by the function used for observed data.
        dominant: Whether a cluster counts only where no heavier halo reaches into its cylinder. Cluster finders do so
            (percolation). Without it, groups near rich clusters pass any richness cut: they are few at a given mass,
            but the mass function makes them a large share of a survey.
        centre_error: Gaussian error of the centre on each sky axis [comoving h^-1 Mpc]. A choice: offsets of bright
            cluster galaxies from X-ray centres are mostly below .1.
        redshift_offset: Gaussian error of the redshift to which velocities refer [km/s]; recentring removes it.
        footprint: Part of the sky that was observed.
        completeness: Probability that a galaxy has a redshift [1], the same everywhere or `RadialCompleteness`.
        contrast: How much more likely a member has a redshift than another galaxy [1]: above 1 with targets on the red
            sequence, below 1 where bright field galaxies are preferred.
        fibre_collision: Least angle between two galaxies of a cluster with redshifts [arcsec], as many comoving h^-1
            Mpc as that spans at the cluster's redshift; 55 for SDSS (.09 h^-1 Mpc). Which of two goes is random;
            galaxies inside the aperture collide whatever their velocity, as far in front and behind as neighbours are
            known, and before completeness thins them. 0 for none.
        velocity_error: Gaussian error of a galaxy's velocity [km/s].
        wrong_redshifts: Share of galaxies whose velocity is any in the window, as of misread spectra [1].
        rounding: Step to which c z is rounded [km/s].
        cleaning: How interlopers were removed from the table, by name as in `kinematics.membership`.
    """

    observation: Observation = field(default_factory=Observation)
    cosmology: Cosmology = MDPL2
    recentre: bool = True
    dominant: bool = False
    centre_error: float = 0.05
    redshift_offset: float = 0.0
    footprint: Footprint = WHOLE
    completeness: float | RadialCompleteness = 1.0
    contrast: float = 1.0
    fibre_collision: float = 0.0
    velocity_error: float = 0.0
    wrong_redshifts: float = 0.0
    rounding: float = 0.0
    cleaning: Removal = "none"

    def __post_init__(self) -> None:
        lookup("cleaning", self.cleaning, dict.fromkeys(get_args(Removal)))
        check_ranges(
            self,
            centre_error=(0, 2.0, "h^-1 Mpc"),
            redshift_offset=(0, 3000.0, "km/s"),
            completeness=(0, 1.0, "a fraction"),
            contrast=(0.1, 10.0),
            fibre_collision=(0, 3600.0, "arcsec"),
            velocity_error=(0, 2000.0, "km/s"),
            wrong_redshifts=(0, 0.5, "a fraction"),
            rounding=(0, 3000.0, "km/s"),
        )

    @property
    def search_radius(self) -> float:
        """Distance from the true centre that a cylinder never leaves [comoving h^-1 Mpc]: centres err by < 5 sigma."""
        return self.observation.aperture + 5 * self.centre_error
