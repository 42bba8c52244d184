"""Velocity dispersions of clusters [km/s].

`velocity_dispersion` measures one cluster after another by a method of choice; `robust_dispersions` measures many at
once by the gapper after 3-sigma clipping, with errors from resampled galaxies.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, final

import numpy as np
from jaxtyping import Float, Int

from clustermocks.io.registry import lookup
from clustermocks.kinematics.clipping import clipped_range, sigma_clipping
from clustermocks.kinematics.membership import REMOVALS, Clusters, Removal, kept_galaxies
from clustermocks.kinematics.padding import padded_rows, parts

Method = Literal["std", "gapper", "biweight", "clipped"]
Velocities: TypeAlias = Float[np.ndarray, "galaxy"]
RESAMPLINGS = 100  # an error is known to 7 %
MOST = 10_000  # galaxies to resample; of more, so many are drawn, and the error falls with the root of the number
_AT_ONCE = 2_000_000  # velocities


def gapper(v_los: Velocities) -> float:
    r"""Dispersion from the gaps g_i between ordered velocities, $\sqrt\pi / (n (n - 1)) \sum_i i (n - i) g_i$ [km/s].

    References:
        Wainer & Thissen 1976; Beers, Flynn & Gebhardt 1990, AJ 100, 32, eq. 8.
    """
    n = np.array([len(v_los)])
    rising = np.sort(v_los)
    return float(_gapper_of_range((rising - rising[:1])[None], np.zeros_like(n), n)[0])


def _std(v_los: Velocities) -> float:
    return float(np.std(v_los, ddof=1))


def _biweight(v_los: Velocities) -> float:
    from astropy.stats import biweight_scale

    return float(biweight_scale(v_los))


def _clipped(v_los: Velocities) -> float:
    return _std(v_los[sigma_clipping(v_los, np.array([len(v_los)]))])


DISPERSIONS: dict[str, Callable[[Velocities], float]] = {
    "std": _std,
    "gapper": gapper,
    "biweight": _biweight,
    "clipped": _clipped,
}


def velocity_dispersion(v_los: Iterable[Velocities], *, method: Method = "std") -> Float[np.ndarray, "cluster"]:
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

    def __call__(self, clusters: Clusters) -> Float[np.ndarray, "cluster"]:
        """Log10 sigma [dex of km/s]; NaN where a cluster has fewer than two galaxies, or all of one velocity."""
        return self.with_number(clusters)[0]

    def with_number(self, clusters: Clusters) -> tuple[Float[np.ndarray, "cluster"], Float[np.ndarray, "cluster"]]:
        """Log10 sigma [dex of km/s] and the number of galaxies behind it."""
        v_los = [v for _, v in kept_galaxies(clusters, self.interlopers)]
        sigma = velocity_dispersion(v_los, method=self.method)
        return np.log10(np.where(sigma > 0, sigma, np.nan)), np.array([len(v) for v in v_los], float)


@final
@dataclass(frozen=True)
class Dispersion:
    """Velocity dispersion of one cluster.

    Attributes:
        value: Gapper after 3-sigma clipping [km/s]; NaN for fewer than two galaxies.
        error: Standard error, clipping included [km/s].
        n_galaxies: Number of galaxies that the clipping keeps.
    """

    value: float
    error: float
    n_galaxies: int


def robust_dispersions(v_los: Sequence[Velocities], seeds: Sequence[int]) -> list[Dispersion]:
    """Gapper dispersion of each cluster after 3-sigma clipping.

    The error is the standard deviation over clusters whose galaxies are drawn with replacement and clipped anew (Efron
    1979, Annals of Statistics 7, 1); it does not account for interlopers inside 3 sigma.

    Args:
        v_los: Velocities of each cluster's galaxies [km/s], in the cluster's frame.
        seeds: Seed of each cluster's resampling: an error depends on no other cluster.
    """
    found: list[Dispersion] = []
    for rows in parts([RESAMPLINGS * min(len(v), MOST) for v in v_los], _AT_ONCE):
        found += _dispersions_of_part(v_los[rows], seeds[rows])
    return found


def _dispersions_of_part(v_los: Sequence[Velocities], seeds: Sequence[int]) -> list[Dispersion]:
    sigma, left = _measured(v_los)
    drawn = [row for v, seed in zip(v_los, seeds, strict=True) for row in _resampled(v, seed)]
    again = _measured(drawn)[0].reshape(len(v_los), RESAMPLINGS)
    share = np.array([min(len(v), MOST) / max(len(v), 1) for v in v_los])
    errors = np.std(again, axis=1, ddof=1) * np.sqrt(share)
    return [Dispersion(float(s), float(e), int(n)) for s, e, n in zip(sigma, errors, left, strict=True)]


def _resampled(v: Velocities, seed: int) -> Float[np.ndarray, "resampling galaxy"]:
    if len(v) < 2:
        return np.zeros((RESAMPLINGS, 0))
    return v[np.random.default_rng(seed).integers(len(v), size=(RESAMPLINGS, min(len(v), MOST)))]


def _measured(v_los: Sequence[Velocities]) -> tuple[Float[np.ndarray, "row"], Int[np.ndarray, "row"]]:
    """Dispersion of each row of velocities after clipping, and how many are left."""
    n = np.array([len(v) for v in v_los])
    rows = padded_rows(np.concatenate(v_los).astype(np.float32), n)
    rows.sort(axis=1)
    low, high = clipped_range(rows, n)
    return _gapper_of_range(rows, low, high), high - low


def _gapper_of_range(
    v: Float[np.ndarray, "row galaxy"], low: Int[np.ndarray, "row"], high: Int[np.ndarray, "row"]
) -> Float[np.ndarray, "row"]:
    """Gapper of the ordered velocities from `low` to `high` [km/s], summed by parts: each velocity times 2k - n - 1."""
    n, place = high - low, np.arange(v.shape[1])
    inside = (place >= low[:, None]) & (place < high[:, None])
    order = 2 * (place - low[:, None] + 1) - n[:, None] - 1
    total = np.where(inside, order * np.where(inside, v, 0.0), 0.0).sum(axis=1)
    some = np.maximum(n, 2)
    return np.where(n > 1, np.sqrt(np.pi) / (some * (some - 1)) * total, np.nan)
