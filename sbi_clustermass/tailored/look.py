"""What is measured of the clusters at hand before mocks are made for them.

Distances are comoving [h^-1 Mpc], velocities [km/s], "dex" is log10.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

from clustermocks import MDPL2, Cosmology, Observation
from clustermocks.perturbations import Cleaning
from sbi_clustermass.observations.tables import ObservedCluster, Unreadable
from sbi_clustermass.tailored.compared import Compared, compare
from sbi_clustermass.tailored.features import features
from sbi_clustermass.tailored.reference import Reference
from sbi_clustermass.tailored.rounding import rounding_error

_REFERENCE = 1500  # mocks: a second
_NARROW, _OUTSIDE = 0.5, 0.1  # share of narrow fields that makes the aperture smaller, and of those then still outside
_STEP, _SMALLEST = 0.05, 0.3  # h^-1 Mpc: of apertures
_QUANTILES = np.linspace(0, 1, 41)
FEWEST = 5  # galaxies that say anything
_CLEANED, _RARE = 0.6, 0.01  # fast galaxies over those expected, and the chance of so few


class Span(NamedTuple):
    """Low, middle and high of a number: 5, 50 and 95 % of the clusters."""

    low: float
    middle: float
    high: float


@final
@dataclass(frozen=True)
class DataLook:
    """What was measured of some clusters.

    Attributes:
        clusters: How many were measured.
        unreadable: How many were not.
        reasons: Why not, at most three.
        poor: Measured ones with fewer galaxies than a mass needs by default.
        redshifts: 41 quantiles of their redshifts, lowest to highest [1]; empty where none is known.
        aperture: 1.6, or where half of the fields end inside, what nine of ten of them fill [h^-1 Mpc].
        narrow: Clusters whose field ends inside 1.6 h^-1 Mpc.
        richness: Galaxies in that cylinder: fewest, median, most.
        velocity_error: Median error of a cluster's galaxies, from the table [km/s]; None where it gives none.
        rounding: What rounding adds to velocities, median of the clusters [km/s].
        compared: The clusters beside mocks that move like them.
        cosmology: Of the distances.
    """

    clusters: int
    unreadable: int
    reasons: tuple[str, ...]
    poor: int
    redshifts: tuple[float, ...]
    aperture: float
    narrow: int
    richness: Span
    velocity_error: Span | None
    rounding: float
    compared: Compared
    cosmology: Cosmology

    @property
    def redshift(self) -> float:
        """Median redshift [1]; that of `Observation()` where none is known."""
        return self.redshifts[len(self.redshifts) // 2] if self.redshifts else Observation.redshift

    @property
    def looks_cleaned(self) -> bool:
        """Whether fast galaxies are missing: somebody removed interlopers from the table."""
        found = self.compared
        return found.fast < _CLEANED * found.fast_expected and found.fast_chance < _RARE


class _Seen(NamedTuple):
    """What is kept of one cluster: some kilobytes."""

    R_proj: np.ndarray
    v_los: np.ndarray
    redshift: float
    reach: float
    velocity_error: float


class _Mocks(NamedTuple):
    """Which mocks the clusters are held against."""

    cosmology: Cosmology
    cleaning: Cleaning | None
    seed: int

    def at(self, observation: Observation) -> Reference:
        return Reference.simulate(observation, self.cosmology, n=_REFERENCE, seed=self.seed, cleaning=self.cleaning)


def look_at(
    clusters: Iterable[ObservedCluster | Unreadable],
    *,
    cosmology: Cosmology = MDPL2,
    cleaning: Cleaning | None = None,
    seed: int = 1,
) -> DataLook:
    """Measure clusters, one or many, and hold them against mocks at their median redshift.

    Args:
        clusters: As `read_clusters` gives them, in the default cylinder, one after the other; of each only
            distances and velocities are kept.
        cosmology: Of the mocks: that by which the clusters were read.
        cleaning: How interlopers were removed from the table, to be done to the mocks likewise.
        seed: Of the mocks.

    Raises:
        ValueError: No cluster has enough galaxies; the message gives the first reasons.
    """
    seen, reasons, failed = [], [], 0
    for cluster in clusters:
        if isinstance(cluster, Unreadable) or not len(cluster.catalogue):
            failed += 1
            reasons = [*reasons, cluster.reason or f"{cluster.name}: no galaxies"][:3]
        else:
            seen.append(_seen(cluster))
    if not seen:
        raise ValueError("\n".join(["no cluster to fit an estimator to.", *(f"  found:  {text}" for text in reasons)]))
    return _measured(seen, (failed, tuple(reasons)), _Mocks(cosmology, cleaning, seed))


def _seen(cluster: ObservedCluster) -> _Seen:
    R_proj, v_los = cluster.catalogue.galaxies(0)
    reach = Observation.aperture
    if (
        cluster.narrow is not None
    ):  # the outermost of n galaxies spread evenly over a disc stands at 2n / (2n + 1) of it
        reach = min(reach, cluster.narrow.reach * (1 + 0.5 / cluster.n_galaxies))
    return _Seen(np.array(R_proj), np.array(v_los), cluster.redshift, reach, cluster.velocity_error)


def _measured(seen: Sequence[_Seen], failed: tuple[int, tuple[str, ...]], mocks: _Mocks) -> DataLook:
    aperture = _aperture([each.reach for each in seen])
    inside = [(each.R_proj[each.R_proj < aperture], each.v_los[each.R_proj < aperture]) for each in seen]
    inside = [pair for pair in inside if len(pair[0]) >= 2]
    measured = features(inside, aperture)
    redshifts, errors = (np.array([each[i] for each in seen]) for i in (2, 4))
    known = redshifts[np.isfinite(redshifts)]
    middle = float(np.quantile(known, 0.5)) if known.size else Observation.redshift
    observation = Observation(redshift=middle, aperture=aperture)
    counted = measured.number[measured.number >= observation.min_galaxies]
    return DataLook(
        clusters=len(seen),
        unreadable=failed[0],
        reasons=failed[1],
        poor=int(len(seen) - len(counted)),
        redshifts=tuple(np.quantile(known, _QUANTILES).tolist()) if known.size else (),
        aperture=aperture,
        narrow=int(sum(each.reach < Observation.aperture for each in seen)),
        richness=Span(*(float(f(measured.number)) for f in (np.min, np.median, np.max))),
        velocity_error=_span(errors),
        rounding=float(np.median([rounding_error(each.v_los, each.redshift) for each in seen])),
        compared=compare(measured, mocks.at(observation), seed=mocks.seed),
        cosmology=mocks.cosmology,
    )


def _aperture(reaches: Sequence[float]) -> float:
    """The full one, or where half of the fields end inside, what nine of ten fill, in steps of .05 [h^-1 Mpc]."""
    if np.mean(np.asarray(reaches) < Observation.aperture) < _NARROW:
        return Observation.aperture
    reach = float(np.quantile(reaches, _OUTSIDE, method="lower"))
    return max(round(_STEP * float(np.floor(reach / _STEP + 1e-9)), 2), _SMALLEST)


def _span(values: np.ndarray) -> Span | None:
    known = values[np.isfinite(values)]
    return Span(*np.quantile(known, (0.05, 0.5, 0.95)).tolist()) if known.size else None
