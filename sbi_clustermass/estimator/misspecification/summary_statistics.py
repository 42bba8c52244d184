"""Summary statistics of the projected phase space, for many clusters at once.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from clustermocks import Catalogue
from sbi_clustermass.flows.evaluation import batches_of

_FAST = 0.6  # of the velocity cut: 1500 km/s, which only members of the most massive clusters exceed
_INNER = 0.25  # of the aperture: 0.4 h^-1 Mpc
_LEAST_TYPICAL = 0.2  # of the mean gap; five unrounded Gaussian velocities have above .4, more of them .7
_MIN_SPEED = 1.0  # [km/s], the smallest dispersion: all velocities of a cluster may be equal
_MIN_GAP = 1e-3  # smallest gap to the end of a range, as a share of the range
Values = Float[np.ndarray, "cluster"]


@final
@dataclass(frozen=True)
class PaddedGalaxies:
    """Galaxies of clusters, one cluster a row, padded with NaN.

    Attributes:
        R: Projected distances [h^-1 Mpc], (cluster, galaxy).
        v: Velocities [km/s], (cluster, galaxy).
        n: Numbers of galaxies, (cluster,).
        aperture: Aperture of the observation [h^-1 Mpc].
        v_cut: Velocity cut of the observation [km/s].
    """

    R: Float[np.ndarray, "cluster galaxy"]
    v: Float[np.ndarray, "cluster galaxy"]
    n: Values
    aperture: float
    v_cut: float

    @classmethod
    def from_catalogue(cls, catalogue: Catalogue) -> "PaddedGalaxies":
        """Read a catalogue, each of whose clusters has at least one galaxy."""
        x = catalogue.padded().astype(float)
        R, v = (np.where(x[..., 2] > 0, x[..., i], np.nan) for i in (0, 1))
        observation = catalogue.observation
        return cls(R, v, catalogue.n_galaxies.astype(float), observation.aperture, observation.v_cut)

    @property
    def centred(self) -> Float[np.ndarray, "cluster galaxy"]:
        """Velocities relative to their mean [km/s]."""
        return self.v - np.nanmean(self.v, axis=1, keepdims=True)


def richness(galaxies: PaddedGalaxies) -> Values:
    """Number of galaxies."""
    return galaxies.n


def dispersion(galaxies: PaddedGalaxies) -> Values:
    """Standard deviation of the velocities, interlopers included [km/s]."""
    return np.maximum(np.sqrt(np.nansum(galaxies.centred**2, axis=1) / np.maximum(galaxies.n - 1, 1)), _MIN_SPEED)


def kurtosis(galaxies: PaddedGalaxies) -> Values:
    """Fourth moment of the velocities over the square of the second [1]: 3 for a Gaussian, 1 for two spikes."""
    return np.maximum(_moment(galaxies, 4), 1.0)


def skewness(galaxies: PaddedGalaxies) -> Values:
    """Third moment of the velocities over the second's power 3/2 [1]."""
    return _moment(galaxies, 3)


def _moment(galaxies: PaddedGalaxies, order: int) -> Values:
    width = np.maximum(np.sqrt(np.nanmean(galaxies.centred**2, axis=1)), _MIN_SPEED)
    return np.nanmean((galaxies.centred / width[:, None]) ** order, axis=1)


def mean_velocity(galaxies: PaddedGalaxies) -> Values:
    """Mean velocity over its standard error [1]."""
    return np.nanmean(galaxies.v, axis=1) / dispersion(galaxies) * np.sqrt(galaxies.n)


def largest_gap(galaxies: PaddedGalaxies) -> Values:
    r"""Largest weighted gap between ordered velocities, $\sqrt{i (n - i) g_i}$, over the mean of the middle half [1].

    References:
        Wainer & Schacht 1978, Psychometrika 43, 203; Beers, Flynn & Gebhardt 1990, AJ 100, 32.
    """
    gaps = np.diff(np.sort(galaxies.v, axis=1), axis=1)  # NaN sorts to the end
    i = np.arange(1, galaxies.v.shape[1])
    weighted = np.sort(np.sqrt(i * np.maximum(galaxies.n[:, None] - i, 0) * gaps), axis=1)
    m = galaxies.n[:, None] - 1
    middle = (i > m * 0.25) & (i <= np.maximum(m * 0.75, 1))
    typical = np.nanmean(np.where(middle, weighted, np.nan), axis=1)
    typical = np.maximum(typical, _LEAST_TYPICAL * np.nanmean(weighted, axis=1))  # rounded velocities: most gaps are 0
    return np.maximum(np.nanmax(weighted, axis=1) / np.maximum(typical, _MIN_SPEED), 1.0)


def fast_galaxies(galaxies: PaddedGalaxies) -> Values:
    """Number of galaxies beyond .6 of the velocity cut: mostly interlopers."""
    return (np.abs(galaxies.v) > _FAST * galaxies.v_cut).sum(axis=1).astype(float)


def wings(galaxies: PaddedGalaxies) -> Values:
    """Number of galaxies more than two dispersions from the mean velocity."""
    return _beyond_two(galaxies).sum(axis=1).astype(float)


def fastest(galaxies: PaddedGalaxies) -> Values:
    """Largest |v| over the velocity cut [1]."""
    return np.nanmax(np.abs(galaxies.v), axis=1) / galaxies.v_cut


def median_distance(galaxies: PaddedGalaxies) -> Values:
    """Distance within which half of the galaxies lie [h^-1 Mpc]."""
    return np.maximum(np.nanmedian(galaxies.R, axis=1), _MIN_GAP * galaxies.aperture)


def inner_share(galaxies: PaddedGalaxies) -> Values:
    """Share of the galaxies within a quarter of the aperture [1]."""
    return (galaxies.R / galaxies.aperture < _INNER).sum(axis=1) / galaxies.n


def outermost(galaxies: PaddedGalaxies) -> Values:
    """Largest distance over the aperture [1]."""
    return np.nanmax(galaxies.R, axis=1) / galaxies.aperture


def wing_distance(galaxies: PaddedGalaxies) -> Values:
    """How much farther out galaxies beyond two dispersions are than the others, in standard errors [1].

    It is the correlation with the rank in distance, times the root of the number of galaxies; 0 without such galaxies.
    """
    real = np.isfinite(galaxies.R)
    rank = np.argsort(np.argsort(galaxies.R, axis=1), axis=1)  # NaN sorts to the end
    wing = np.where(real, _beyond_two(galaxies), np.nan)
    rank, wing = (each - np.nanmean(each, axis=1, keepdims=True) for each in (np.where(real, rank, np.nan), wing))
    scale = np.sqrt(np.nansum(rank**2, axis=1) * np.nansum(wing**2, axis=1))
    return np.nansum(rank * wing, axis=1) / np.where(scale > 0, scale, 1) * np.sqrt(galaxies.n)


def _beyond_two(galaxies: PaddedGalaxies) -> Bool[np.ndarray, "cluster galaxy"]:
    return np.abs(galaxies.centred) > 2 * dispersion(galaxies)[:, None]


def _to_end(share: ArrayLike) -> Values:
    """Negative log of the gap to the end of a range: it grows by the same step whenever the gap halves."""
    return -np.log(np.maximum(1 - np.asarray(share), _MIN_GAP))


def _from_end(scaled: ArrayLike) -> Values:
    return 1 - np.exp(-np.asarray(scaled))


def anscombe(count: ArrayLike) -> Values:
    """Transform Poisson counts to a standard deviation of about 1 (Anscombe 1948, Biometrika 35, 246)."""
    return 2 * np.sqrt(np.maximum(np.asarray(count) + 0.375, 0))


def inverse_anscombe(scaled: ArrayLike) -> Values:
    """Counts whose `anscombe` transform is given, at least 0."""
    return np.maximum(np.maximum(np.asarray(scaled), 0) ** 2 / 4 - 0.375, 0)


def _identity(values: ArrayLike) -> Values:
    return np.asarray(values, float)


@final
@dataclass(frozen=True)
class Statistic:
    """A summary statistic, its text, and a scale on which its distribution is nearly symmetric.

    Attributes:
        measure: Function from galaxies to values, (cluster,).
        words: Description, with {} in the place of the value.
        form: Format specification of the value.
        scaled: Function from values to the scale.
        back: Inverse of `scaled`.
    """

    measure: Callable[[PaddedGalaxies], Values]
    words: str
    form: str
    scaled: Callable[[ArrayLike], Values]
    back: Callable[[ArrayLike], Values]

    def write(self, value: float) -> str:
        """Format a value."""
        return format(value, self.form)


STATISTICS: dict[str, Statistic] = {
    "richness": Statistic(richness, "{} galaxies", ".0f", np.log, np.exp),
    "dispersion": Statistic(dispersion, "velocity dispersion {} km/s", ".0f", np.log, np.exp),
    "kurtosis": Statistic(kurtosis, "velocity kurtosis {}", ".1f", np.log, np.exp),
    "skewness": Statistic(skewness, "velocity skewness {}", ".2f", _identity, _identity),
    "mean_velocity": Statistic(
        mean_velocity, "mean velocity {} standard errors from the cluster's", ".1f", _identity, _identity
    ),
    "largest_gap": Statistic(
        largest_gap, "largest weighted gap in velocity {} times the usual", ".1f", np.log, np.exp
    ),
    "fast_galaxies": Statistic(
        fast_galaxies, "{} galaxies beyond 0.6 of the velocity cut", ".0f", anscombe, inverse_anscombe
    ),
    "wings": Statistic(wings, "{} galaxies beyond two velocity dispersions", ".0f", anscombe, inverse_anscombe),
    "fastest": Statistic(fastest, "fastest galaxy at {} of the velocity cut", ".0%", _to_end, _from_end),
    "median_distance": Statistic(
        median_distance, "half of the galaxies within {} h^-1 Mpc", ".2f", np.log, np.exp
    ),
    "inner_share": Statistic(
        inner_share, "{} of the galaxies within a quarter of the aperture", ".0%", _identity, _identity
    ),
    "outermost": Statistic(outermost, "outermost galaxy at {} of the aperture", ".0%", _to_end, _from_end),
    "wing_distance": Statistic(
        wing_distance,
        "galaxies beyond two velocity dispersions farther out than the others by {} standard errors",
        ".1f", _identity, _identity,
    ),
}  # fmt: skip


def compute_statistics(catalogue: Catalogue) -> Float[np.ndarray, "statistic cluster"]:
    """Compute every statistic of every cluster, in the order of `STATISTICS`."""
    found = np.empty((len(STATISTICS), len(catalogue)))
    for rows in batches_of(catalogue.n_galaxies):
        galaxies = PaddedGalaxies.from_catalogue(catalogue.select(rows))
        found[:, rows] = [each.measure(galaxies) for each in STATISTICS.values()]
    return found
