"""Features of clusters for regression: those published features that follow from R_proj and v_los.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.io.registry import lookup
from sbi_clustermass.embeddings.summary import FLOOR, STATISTICS, SummaryStatistics

BLOCK = 1000  # clusters padded to one width
NEAREST = 1e-3  # [h^-1 Mpc] smallest radius in a logarithm

WITH_RICHNESS = ("log10 N", "log10 standard error of the mean v", "log10 standard error of the mean R")
SHAPES = ("skewness of v, without sign", "skewness of R", "kurtosis of R")
GROUP = (
    "log10 standard deviation of v within the median R",
    "log10 rms R",
    "log10 dynamical mass within the median R",
    "log10 dynamical mass within the rms R",
)
FEATURES = (*STATISTICS, *SHAPES, *GROUP, *WITH_RICHNESS)

ARMITAGE_2019 = (
    "distance of the mean v from 0 [rms v]",
    "log10 standard deviation of v",
    "skewness of v, without sign",
    "log10 fourth moment of v over squared variance",
    "mean R",
    "standard deviation of R",
    "skewness of R",
    "kurtosis of R",
    *WITH_RICHNESS,
)
CALDERON_BERLIND_2019 = ("log10 standard deviation of v", "median R", "largest R", *GROUP, "log10 N")


@final
@dataclass(frozen=True)
class Features:
    """Choice of the features that describe a cluster; calling it computes them.

    `ARMITAGE_2019`: mean, standard error, standard deviation, skewness and kurtosis of v and R, and log10 N, of
    Armitage et al. 2019, MNRAS 484, 1526 (their public example, TomArmitage/ML_Template), without those of positions on
    the sky and stellar masses. `CALDERON_BERLIND_2019`: those group features of Calderon & Berlind 2019, MNRAS 490,
    2367 (vcalderon2009/SDSS_Groups_ML), which need neither luminosity, colour, shape nor neighbours, with dynamical
    masses 3 pi sigma^2 R / (2 G) (Girardi et al. 1998, ApJ 505, 74) as sigma^2 R [km^2 s^-2 h^-1 Mpc].
    Odd moments of v are taken without sign, so that reversing all velocities changes nothing.

    Attributes:
        names: Names from `FEATURES`, in order; all by default, which are the two sets and `SummaryStatistics`.
        richness: Whether to include features that depend on the number of galaxies.
    """

    names: tuple[str, ...] = FEATURES
    richness: bool = True

    def __post_init__(self) -> None:
        for name in self.names:
            lookup("feature", name, dict.fromkeys(FEATURES))
        if not self.columns:
            raise ValueError("Features: no name is left. Name some that do not need the richness, or set it to true.")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features that are computed."""
        return tuple(name for name in self.names if self.richness or name not in WITH_RICHNESS)

    def __call__(self, clusters: Catalogue) -> Float[np.ndarray, "cluster feature"]:
        """Compute the features of each cluster; NaN for fewer than two galaxies, which have no moments."""
        which = [FEATURES.index(name) for name in self.columns]
        table = np.full((len(clusters), len(which)), np.nan)
        for rows, x in padded_blocks(clusters):
            table[rows] = _every(x.astype(float))[:, which]
        return table


def padded_blocks(clusters: Catalogue) -> Iterator[tuple[Int[np.ndarray, "some"], Float[np.ndarray, "some galaxy 3"]]]:
    """Yield blocks of clusters with more than one galaxy, of similar richness: their indices and padded galaxies."""
    rows = np.argsort(clusters.n_galaxies, kind="stable")
    rows = rows[clusters.n_galaxies[rows] > 1]
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        yield block, clusters.select(block).padded()


def of_known_mass(owner: str, mocks: Catalogue, least: int) -> Catalogue:
    """Select the clusters of known mass with more than one galaxy; refuse fewer than `least`, or all of one mass."""
    known = mocks.select(np.isfinite(mocks.log10_mass) & (mocks.n_galaxies > 1))
    if len(known) < least:
        raise ValueError(f"{owner}: found {len(known)} clusters of known mass. Train on at least {least}.")
    if np.ptp(known.log10_mass) == 0:
        raise ValueError(f"{owner}: all {len(known)} clusters have the same mass. Train on different ones.")
    return known


def _every(x: Float[np.ndarray, "cluster galaxy 3"]) -> Float[np.ndarray, "cluster feature"]:
    """Compute all of `FEATURES`."""
    statistics = SummaryStatistics(richness=False)(torch.from_numpy(x)).numpy()
    R, v, real = x[..., 0], x[..., 1], x[..., 2] > 0
    return np.column_stack([statistics, *_shapes(R, v, real), *_group(R, v, real), *_with_richness(R, v, real)])


def _shapes(R: np.ndarray, v: np.ndarray, real: Bool[np.ndarray, "cluster galaxy"]) -> list[np.ndarray]:
    return [np.abs(_moment(v, real, 3)), _moment(R, real, 3), _moment(R, real, 4) - 3]


def _group(R: np.ndarray, v: np.ndarray, real: Bool[np.ndarray, "cluster galaxy"]) -> list[np.ndarray]:
    median = np.nanmedian(np.where(real, R, np.nan), axis=1)
    within = real & (median[:, None] >= R)
    inner, outer = _log10_speed(_std(v, within)), _log10_speed(_std(v, real))
    r_median, r_rms = (np.log10(np.maximum(r, NEAREST)) for r in (median, np.sqrt(_mean(R**2, real))))
    return [inner, r_rms, 2 * inner + r_median, 2 * outer + r_rms]


def _with_richness(R: np.ndarray, v: np.ndarray, real: Bool[np.ndarray, "cluster galaxy"]) -> list[np.ndarray]:
    log10_n = np.log10(real.sum(1))
    errors = _log10_speed(_std(v, real)), np.log10(np.maximum(_std(R, real), NEAREST))
    return [log10_n, *(error - 0.5 * log10_n for error in errors)]


def _mean(values: np.ndarray, among: Bool[np.ndarray, "cluster galaxy"]) -> Float[np.ndarray, "cluster"]:
    return np.where(among, values, 0).sum(1) / np.maximum(among.sum(1), 1)


def _std(values: np.ndarray, among: Bool[np.ndarray, "cluster galaxy"]) -> Float[np.ndarray, "cluster"]:
    return np.sqrt(_mean((values - _mean(values, among)[:, None]) ** 2, among))


def _moment(values: np.ndarray, among: Bool[np.ndarray, "cluster galaxy"], order: int) -> Float[np.ndarray, "cluster"]:
    """Central moment in units of the standard deviation; 0 where that is 0."""
    sigma = _std(values, among)[:, None]
    scaled = (values - _mean(values, among)[:, None]) / np.where(sigma > 0, sigma, 1)
    return _mean(scaled**order, among)


def _log10_speed(speed: Float[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster"]:
    return np.log10(np.maximum(speed, FLOOR))
