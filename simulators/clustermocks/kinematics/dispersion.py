"""Velocity dispersions of clusters [km/s]."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Float

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.io.registry import lookup
from clustermocks.kinematics.membership import REMOVALS, Removal, kept_galaxies, sigma_clipping

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
    anywhere = np.zeros(len(v_los))
    return _std(v_los[sigma_clipping(anywhere, v_los)])


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
    measure = lookup("velocity dispersion", method, DISPERSIONS)
    clusters = (np.asarray(v, float) for v in v_los)
    finite = (v[np.isfinite(v)] for v in clusters)
    return np.array([measure(v) if len(v) > 1 else np.nan for v in finite])


@final
@dataclass(frozen=True)
class LogDispersion:
    """Log10 of a cluster's velocity dispersion.

    Attributes:
        method: How it is measured.
        interlopers: How interlopers are removed before.
    """

    method: Method = "std"
    interlopers: Removal = "none"

    def __post_init__(self) -> None:
        lookup("velocity dispersion", self.method, DISPERSIONS)
        lookup("removal of interlopers", self.interlopers, REMOVALS)

    def __call__(self, clusters: Catalogue) -> Float[np.ndarray, "cluster"]:
        """Log10 sigma [dex of km/s]; NaN where a cluster has fewer than two galaxies, or all of one velocity."""
        return self.with_number(clusters)[0]

    def with_number(self, clusters: Catalogue) -> tuple[Float[np.ndarray, "cluster"], Float[np.ndarray, "cluster"]]:
        """Log10 sigma [dex of km/s] and the number of galaxies behind it."""
        v_los = [v for _, v in kept_galaxies(clusters, self.interlopers)]
        sigma = velocity_dispersion(v_los, method=self.method)
        return np.log10(np.where(sigma > 0, sigma, np.nan)), np.array([len(v) for v in v_los], float)
