"""The M-sigma relation: cluster masses from velocity dispersions alone.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Self, final

import numpy as np
from jaxtyping import Float

from clustermocks.catalogue import Catalogue
from clustermocks.cosmology import MDPL2, Cosmology

PIVOT_MASS = 15.0  # log10 of h^-1 Msun
PIVOT_DISPERSION = 3.0  # log10 of km/s
NARROWEST = 1e-4  # dex: velocities are kept in float32

Method = Literal["std", "gapper", "biweight", "clipped"]


def gapper(v_los: Float[np.ndarray, "galaxy"]) -> float:
    r"""Dispersion from the gaps g_i between ordered velocities, $\sqrt\pi / (n (n - 1)) \sum_i i (n - i) g_i$ [km/s].

    References:
        Wainer & Thissen 1976; Beers, Flynn & Gebhardt 1990, AJ 100, 32, eq. 8.
    """
    n = len(v_los)
    i = np.arange(1, n)
    return float(np.sqrt(np.pi) / (n * (n - 1)) * np.sum(i * (n - i) * np.diff(np.sort(v_los))))


def _std(v_los: Float[np.ndarray, "galaxy"]) -> float:
    return float(np.std(v_los, ddof=1))


def _biweight(v_los: Float[np.ndarray, "galaxy"]) -> float:
    from astropy.stats import biweight_scale

    return float(biweight_scale(v_los))


def _clipped(v_los: Float[np.ndarray, "galaxy"]) -> float:
    from astropy.stats import sigma_clip

    return _std(np.asarray(sigma_clip(v_los, sigma=3, maxiters=None, cenfunc="median", masked=False)))


DISPERSIONS: dict[str, Callable[[Float[np.ndarray, "galaxy"]], float]] = {
    "std": _std,
    "gapper": gapper,
    "biweight": _biweight,
    "clipped": _clipped,
}


def velocity_dispersion(
    v_los: Iterable[Float[np.ndarray, "galaxy"]], *, method: Method = "std"
) -> Float[np.ndarray, "cluster"]:
    """Velocity dispersion of each cluster [km/s]; interlopers are part of it.

    Args:
        v_los: Velocities of each cluster's galaxies [km/s]: one array a cluster, or (cluster, galaxy) padded with NaN.
        method: "std", the unbiased standard deviation, has the least scatter for few galaxies (Ferragamo et al. 2020);
            "gapper" and "biweight" (Beers, Flynn & Gebhardt 1990, AJ 100, 32) give outliers less weight; "clipped" is
            "std" after 3-sigma clipping about the median, repeated until nothing is left to clip.

    Returns:
        NaN where a cluster has fewer than two galaxies.

    Raises:
        ValueError: An unknown method.
    """
    if method not in DISPERSIONS:
        raise ValueError(f"unknown velocity dispersion {method!r}. Choose from: {', '.join(DISPERSIONS)}.")
    clusters = (np.asarray(v, float) for v in v_los)
    finite = (v[np.isfinite(v)] for v in clusters)
    return np.array([DISPERSIONS[method](v) if len(v) > 1 else np.nan for v in finite])


@final
@dataclass(frozen=True)
class MSigma:
    """log10 sigma_v = intercept + slope (log10 M - 15), fitted in sigma and inverted (Ho et al. 2019, ApJ 887, 25).

    Inverted, it stretches masses about the pivot: unbiased at fixed true mass, at the price of a larger scatter.

    Attributes:
        slope: d log10 sigma_v / d log10 M.
        intercept: log10 of sigma_v [km/s] at 10^15 h^-1 Msun.
        scatter: Standard deviation of log10 sigma_v about the relation [dex].
        method: How dispersions are measured.
    """

    slope: float
    intercept: float
    scatter: float
    method: Method = "std"

    @classmethod
    def fit(cls, catalogue: Catalogue, *, method: Method = "std") -> Self:
        """Least squares of log10 sigma_v on log10 M.

        Raises:
            ValueError: Fewer than three clusters of known and different masses and positive dispersion.
        """
        log10_sigma, log10_mass = _pairs(catalogue, method)
        slope, intercept, scatter = _line(log10_mass - PIVOT_MASS, log10_sigma)
        return cls(slope, intercept, scatter, method)

    def predict(self, catalogue: Catalogue) -> Float[np.ndarray, "cluster"]:
        """log10 M of each cluster [dex]."""
        return PIVOT_MASS + (_log10_dispersion(catalogue, self.method) - self.intercept) / self.slope


@final
@dataclass(frozen=True)
class InverseMSigma:
    """log10 M = intercept + slope (log10 sigma_v - 3), fitted in mass: the best straight line to predict masses with.

    Its scatter in mass is the least of all lines, on clusters distributed in mass as those it was fitted to; at fixed
    true mass it is drawn towards their mean.

    Attributes:
        slope: d log10 M / d log10 sigma_v.
        intercept: log10 M [dex] at 1000 km/s.
        scatter: Standard deviation of log10 M about the relation [dex].
        method: How dispersions are measured.
    """

    slope: float
    intercept: float
    scatter: float
    method: Method = "std"

    @classmethod
    def fit(cls, catalogue: Catalogue, *, method: Method = "std") -> Self:
        """Least squares of log10 M on log10 sigma_v.

        Raises:
            ValueError: Fewer than three clusters of known mass and different positive dispersions.
        """
        log10_sigma, log10_mass = _pairs(catalogue, method)
        slope, intercept, scatter = _line(log10_sigma - PIVOT_DISPERSION, log10_mass)
        return cls(slope, intercept, scatter, method)

    def predict(self, catalogue: Catalogue) -> Float[np.ndarray, "cluster"]:
        """log10 M of each cluster [dex]."""
        return self.intercept + self.slope * (_log10_dispersion(catalogue, self.method) - PIVOT_DISPERSION)


def evrard2008(redshift: float, cosmology: Cosmology = MDPL2, *, method: Method = "std") -> MSigma:
    """Dark matter in N-body haloes: sigma = 1082.9 km/s (h(z) M / 10^15 Msun)^.3361, scatter .0426 in ln sigma.

    h(z) M with M in Msun is E(z) M with M in h^-1 Msun. Of all particles in the halo, a third of the three-dimensional
    variance, no interlopers: a bound, not what a cylinder of galaxies shows.

    Args:
        redshift: Of the clusters [1].
        cosmology: For E(z).
        method: How dispersions are measured where the relation is used.

    References:
        Evrard et al. 2008, ApJ 672, 122.
    """
    slope = 0.3361
    expansion = float(cosmology.hubble(redshift)) / 100
    return MSigma(slope, float(np.log10(1082.9) + slope * np.log10(expansion)), float(0.0426 / np.log(10)), method)


def _log10_dispersion(catalogue: Catalogue, method: Method) -> Float[np.ndarray, "cluster"]:
    sigma = velocity_dispersion((catalogue.galaxies(i)[1] for i in range(len(catalogue))), method=method)
    return np.log10(np.where(sigma > 0, sigma, np.nan))


def _pairs(catalogue: Catalogue, method: Method) -> tuple[Float[np.ndarray, "pair"], Float[np.ndarray, "pair"]]:
    """log10 sigma_v and log10 M of the clusters that have both."""
    log10_sigma, log10_mass = _log10_dispersion(catalogue, method), catalogue.log10_mass
    known = np.isfinite(log10_sigma) & np.isfinite(log10_mass)
    return log10_sigma[known], log10_mass[known]


def _line(x: Float[np.ndarray, "pair"], y: Float[np.ndarray, "pair"]) -> tuple[float, float, float]:
    """Slope, intercept and scatter of y about the least-squares line."""
    if len(x) < 3 or np.ptp(x) < NARROWEST:
        found = f"{len(x)} clusters" if len(x) < 3 else "all of them alike"
        raise ValueError(f"M-sigma needs three or more clusters of different known mass and dispersion, found {found}.")
    slope, intercept = np.polyfit(x, y, 1)
    scatter = np.sqrt(np.sum((y - intercept - slope * x) ** 2) / (len(x) - 2))
    return float(slope), float(intercept), float(scatter)
