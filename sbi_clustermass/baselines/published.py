"""Published relations between velocity dispersion and mass, fitted to simulations: no training.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s]. A relation is the line of log10 sigma_v on log10
mass, at a redshift.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, final

import numpy as np

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.cosmology import MDPL2, Cosmology
from clustermocks.kinematics.dispersion import LogDispersion, Method
from clustermocks.kinematics.membership import Removal
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.baselines.linear_relation import Line

Relation = Callable[[float, Cosmology], Line]


def evrard2008(redshift: float, cosmology: Cosmology = MDPL2) -> Line:
    """Dark matter in N-body haloes: sigma = 1082.9 km/s (h(z) M / 10^15 Msun)^.3361, scatter .0426 in ln sigma.

    The variance is a third of the three-dimensional one of all particles in the halo, without interlopers: a bound, not
    the dispersion of galaxies in a cylinder.

    Args:
        redshift: Redshift of the clusters [1].
        cosmology: Cosmology that sets E(z).

    References:
        Evrard et al. 2008, ApJ 672, 122, eq. 6.
    """
    return _power_law(1082.9, 0.3361, redshift, cosmology, scatter=0.0426 / np.log(10))


def munari2013(redshift: float, cosmology: Cosmology = MDPL2) -> Line:
    """Galaxies in hydrodynamic simulations with AGN feedback: sigma = 1177 km/s (h(z) M / 10^15 Msun)^.364.

    Errors are 4.2 km/s and .0021. The variance is a third of the three-dimensional one inside r200c, without
    interlopers. The abstract
    confirms that galaxies trace a steeper relation than dark matter; amplitude and slope, here checked against two
    public implementations and not the paper's table, are those of galaxies (subhaloes: 1199 and .365, dark matter: 1095
    and .336). No scatter is given, because none could be checked.

    Args:
        redshift: Redshift of the clusters [1].
        cosmology: Cosmology that sets E(z).

    References:
        Munari et al. 2013, MNRAS 430, 2638 (arXiv:1301.1682).
    """
    return _power_law(1177.0, 0.364, redshift, cosmology, scatter=np.nan)


def saro2013(redshift: float, cosmology: Cosmology = MDPL2) -> Line:
    """Semi-analytic galaxies: M = 10^15 Msun [sigma / (939 km/s h70(z)^.33)]^2.91, h70(z) = H(z) / (70 km/s/Mpc).

    The dispersion is one-dimensional, a mean over lines of sight; the mass has no h in its unit. The three numbers were
    checked against two public implementations, not the paper's text. The scatter in mass along one line of sight,
    .3 + .075 z in ln M, is from memory; the abstract says 30 to 40 %.

    Args:
        redshift: Redshift of the clusters [1].
        cosmology: Cosmology that sets H(z), and h, which converts h^-1 Msun into Msun.

    References:
        Saro et al. 2013, ApJ 772, 47 (arXiv:1203.5708).
    """
    slope, h_70 = 1 / 2.91, float(cosmology.hubble(redshift)) * cosmology.h / 70
    intercept = np.log10(939.0) + 0.33 * np.log10(h_70) - slope * np.log10(cosmology.h)
    return Line(slope, float(intercept), slope * (0.3 + 0.075 * redshift) / np.log(10))


def _power_law(amplitude: float, slope: float, redshift: float, cosmology: Cosmology, *, scatter: float) -> Line:
    """amplitude (h(z) M / 10^15 Msun)^slope: h(z) M with M in Msun is E(z) M with M in h^-1 Msun."""
    expansion = float(cosmology.hubble(redshift)) / 100
    return Line(slope, float(np.log10(amplitude) + slope * np.log10(expansion)), float(scatter))


@final
@dataclass(frozen=True)
class PublishedMSigma:
    """A published relation, inverted, at the redshift and in the cosmology of the predicted clusters.

    Attributes:
        relation: A relation such as `evrard2008`.
        method: Estimator of the dispersion.
        interlopers: How interlopers are removed first; the relations assume that there are none.
    """

    relation: Relation = evrard2008
    method: Method = "std"
    interlopers: Removal = "none"

    def __post_init__(self) -> None:
        LogDispersion(self.method, self.interlopers)  # which refuses unknown names

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> Self:
        """Return itself: there is nothing to fit."""
        return self

    def predict(self, clusters: Catalogue) -> Prediction:
        """Predict masses with errors: the relation's scatter and 1/sqrt(2 (n - 1)) in ln sigma, in quadrature.

        The error does not include interlopers. There is no error if the relation has no scatter.
        """
        line = self.relation(clusters.observation.redshift, clusters.cosmology)
        log10_sigma, n = LogDispersion(self.method, self.interlopers).with_number(clusters)
        mass = line.inverse(log10_sigma)
        if np.isnan(line.scatter):
            return Prediction(mass)
        noise = 1 / np.sqrt(2 * np.maximum(n - 1, 1)) / np.log(10)
        return Prediction(mass, np.where(np.isfinite(mass), np.hypot(line.scatter, noise) / line.slope, np.nan))
