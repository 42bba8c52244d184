"""Numbers that a person would look at in a cluster's projected phase space, for many clusters at once.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from clustermocks import Catalogue
from sbi_clustermass.flows.evaluation import batches_of

FAST = 0.6  # of the velocity cut: 1500 km/s, hardly any members of all but the most massive clusters
INNER = 0.25  # of the aperture: 0.4 h^-1 Mpc
_SLOWEST = 1.0  # [km/s], a dispersion below which none is taken: velocities of a catalogue may all be equal
_EMPTY = 1e-3  # share of the range, a gap to its end below which none is taken
Values = Float[np.ndarray, "cluster"]


@final
@dataclass(frozen=True)
class Galaxies:
    """Galaxies of clusters, a row a cluster, padded with NaN.

    Attributes:
        R: Projected distances [h^-1 Mpc], (cluster, galaxy).
        v: Velocities [km/s], (cluster, galaxy).
        n: Numbers of galaxies, (cluster,).
        aperture: Of the observation [h^-1 Mpc].
        v_cut: Of the observation [km/s].
    """

    R: Float[np.ndarray, "cluster galaxy"]
    v: Float[np.ndarray, "cluster galaxy"]
    n: Values
    aperture: float
    v_cut: float

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Galaxies":
        """Those of a catalogue, every cluster with at least one."""
        x = catalogue.padded().astype(float)
        R, v = (np.where(x[..., 2] > 0, x[..., i], np.nan) for i in (0, 1))
        observation = catalogue.observation
        return cls(R, v, catalogue.n_galaxies.astype(float), observation.aperture, observation.v_cut)

    @property
    def centred(self) -> Float[np.ndarray, "cluster galaxy"]:
        """Velocities relative to their mean [km/s]."""
        return self.v - np.nanmean(self.v, axis=1, keepdims=True)


def richness(galaxies: Galaxies) -> Values:
    """Number of galaxies."""
    return galaxies.n


def dispersion(galaxies: Galaxies) -> Values:
    """Standard deviation of the velocities, interlopers included [km/s]."""
    return np.maximum(np.sqrt(np.nansum(galaxies.centred**2, axis=1) / np.maximum(galaxies.n - 1, 1)), _SLOWEST)


def kurtosis(galaxies: Galaxies) -> Values:
    """Fourth moment of the velocities over the square of the second [1]: 3 for a Gaussian, 1 for two spikes."""
    return np.maximum(_moment(galaxies, 4), 1.0)


def skewness(galaxies: Galaxies) -> Values:
    """Third moment of the velocities over the second's power 3/2 [1]."""
    return _moment(galaxies, 3)


def _moment(galaxies: Galaxies, order: int) -> Values:
    width = np.maximum(np.sqrt(np.nanmean(galaxies.centred**2, axis=1)), _SLOWEST)
    return np.nanmean((galaxies.centred / width[:, None]) ** order, axis=1)


def mean_velocity(galaxies: Galaxies) -> Values:
    """Mean velocity over its standard error [1]."""
    return np.nanmean(galaxies.v, axis=1) / dispersion(galaxies) * np.sqrt(galaxies.n)


def largest_gap(galaxies: Galaxies) -> Values:
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
    return np.maximum(np.nanmax(weighted, axis=1) / np.maximum(typical, _SLOWEST), 1.0)


def fast_galaxies(galaxies: Galaxies) -> Values:
    """Number of galaxies beyond .6 of the velocity cut: mostly interlopers."""
    return (np.abs(galaxies.v) > FAST * galaxies.v_cut).sum(axis=1).astype(float)


def wings(galaxies: Galaxies) -> Values:
    """Number of galaxies more than two dispersions from the mean velocity."""
    return _beyond_two(galaxies).sum(axis=1).astype(float)


def fastest(galaxies: Galaxies) -> Values:
    """Largest |v| over the velocity cut [1]."""
    return np.nanmax(np.abs(galaxies.v), axis=1) / galaxies.v_cut


def median_distance(galaxies: Galaxies) -> Values:
    """Distance within which half of the galaxies lie [h^-1 Mpc]."""
    return np.maximum(np.nanmedian(galaxies.R, axis=1), _EMPTY * galaxies.aperture)


def inner_share(galaxies: Galaxies) -> Values:
    """Share of the galaxies within a quarter of the aperture [1]."""
    return (galaxies.R / galaxies.aperture < INNER).sum(axis=1) / galaxies.n


def outermost(galaxies: Galaxies) -> Values:
    """Largest distance over the aperture [1]."""
    return np.nanmax(galaxies.R, axis=1) / galaxies.aperture


def wing_distance(galaxies: Galaxies) -> Values:
    """How much farther out galaxies beyond two dispersions stand than the others, in standard errors [1].

    The correlation with the rank in distance, times the root of the number of galaxies; 0 without such galaxies.
    """
    real = np.isfinite(galaxies.R)
    rank = np.argsort(np.argsort(galaxies.R, axis=1), axis=1)  # NaN sorts to the end
    wing = np.where(real, _beyond_two(galaxies), np.nan)
    rank, wing = (each - np.nanmean(each, axis=1, keepdims=True) for each in (np.where(real, rank, np.nan), wing))
    scale = np.sqrt(np.nansum(rank**2, axis=1) * np.nansum(wing**2, axis=1))
    return np.nansum(rank * wing, axis=1) / np.where(scale > 0, scale, 1) * np.sqrt(galaxies.n)


def _beyond_two(galaxies: Galaxies) -> Bool[np.ndarray, "cluster galaxy"]:
    return np.abs(galaxies.centred) > 2 * dispersion(galaxies)[:, None]


def _to_end(share: ArrayLike) -> Values:
    """Grows by a like step each time that the gap to the end of a range halves."""
    return -np.log(np.maximum(1 - np.asarray(share), _EMPTY))


def _from_end(scaled: ArrayLike) -> Values:
    return 1 - np.exp(-np.asarray(scaled))


def _root(count: ArrayLike) -> Values:
    """Of a Poisson number, a value with a standard deviation of about 1 (Anscombe 1948, Biometrika 35, 246)."""
    return 2 * np.sqrt(np.maximum(np.asarray(count) + 0.375, 0))


def _square(scaled: ArrayLike) -> Values:
    return np.maximum(np.maximum(np.asarray(scaled), 0) ** 2 / 4 - 0.375, 0)


def _as_is(values: ArrayLike) -> Values:
    return np.asarray(values, float)


@final
@dataclass(frozen=True)
class Statistic:
    """A number of each cluster, how it is written, and a scale on which its distribution is nearly symmetric.

    Attributes:
        measure: Galaxies -> (cluster,).
        words: With {} where the value goes.
        form: Of the value, for `format`.
        scaled: To the scale.
        back: From the scale.
    """

    measure: Callable[[Galaxies], Values]
    words: str
    form: str
    scaled: Callable[[ArrayLike], Values]
    back: Callable[[ArrayLike], Values]

    def write(self, value: float) -> str:
        """The value as text."""
        return format(value, self.form)


STATISTICS: dict[str, Statistic] = {
    "richness": Statistic(richness, "{} galaxies", ".0f", np.log, np.exp),
    "dispersion": Statistic(dispersion, "velocity dispersion {} km/s", ".0f", np.log, np.exp),
    "kurtosis": Statistic(kurtosis, "velocity kurtosis {}", ".1f", np.log, np.exp),
    "skewness": Statistic(skewness, "velocity skewness {}", ".2f", _as_is, _as_is),
    "mean_velocity": Statistic(
        mean_velocity, "mean velocity {} standard errors from the cluster's", ".1f", _as_is, _as_is
    ),
    "largest_gap": Statistic(
        largest_gap, "largest weighted gap in velocity {} times the usual", ".1f", np.log, np.exp
    ),
    "fast_galaxies": Statistic(
        fast_galaxies, "{} galaxies beyond 0.6 of the velocity cut", ".0f", _root, _square
    ),
    "wings": Statistic(wings, "{} galaxies beyond two velocity dispersions", ".0f", _root, _square),
    "fastest": Statistic(fastest, "fastest galaxy at {} of the velocity cut", ".0%", _to_end, _from_end),
    "median_distance": Statistic(
        median_distance, "half of the galaxies within {} h^-1 Mpc", ".2f", np.log, np.exp
    ),
    "inner_share": Statistic(
        inner_share, "{} of the galaxies within a quarter of the aperture", ".0%", _as_is, _as_is
    ),
    "outermost": Statistic(outermost, "outermost galaxy at {} of the aperture", ".0%", _to_end, _from_end),
    "wing_distance": Statistic(
        wing_distance,
        "galaxies beyond two velocity dispersions farther out than the others by {} standard errors",
        ".1f", _as_is, _as_is,
    ),
}  # fmt: skip


def measured(catalogue: Catalogue) -> Float[np.ndarray, "statistic cluster"]:
    """Every statistic of every cluster, in the order of `STATISTICS`."""
    found = np.empty((len(STATISTICS), len(catalogue)))
    for rows, galaxies in _in_parts(catalogue):
        found[:, rows] = [each.measure(galaxies) for each in STATISTICS.values()]
    return found


def _in_parts(catalogue: Catalogue) -> Iterator[tuple[np.ndarray, Galaxies]]:
    for rows in batches_of(catalogue.n_galaxies):
        yield rows, Galaxies.of(catalogue.select(rows))
