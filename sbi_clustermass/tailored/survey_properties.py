"""Properties of a survey, measured from its clusters before mocks are made for them.

Distances are comoving [h^-1 Mpc], velocities [km/s], "dex" is log10.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

from clustermocks import MDPL2, Cosmology, Observation
from clustermocks.catalogue.provenance import Cleaning
from sbi_clustermass.observations.tables import ObservedCluster, Unreadable
from sbi_clustermass.tailored.features import features
from sbi_clustermass.tailored.mock_comparison import MockComparison, compare
from sbi_clustermass.tailored.reference_mocks import ReferenceMocks
from sbi_clustermass.tailored.rounding import rounding_error

_REFERENCE = 1500  # mocks, simulated in a second
_NARROW, _OUTSIDE = 0.5, 0.1  # share of narrow fields that shrinks the aperture, and share still too narrow then
_STEP, _SMALLEST = 0.05, 0.3  # of apertures [h^-1 Mpc]
_QUANTILES = np.linspace(0, 1, 41)
FEWEST = 5  # galaxies of a cluster that can be measured
_CLEANED, _RARE = 0.6, 0.01  # ratio of fast galaxies to those expected, and its chance, below which a table is cleaned


class Span(NamedTuple):
    """Quantiles of a quantity: 5, 50 and 95 % of the clusters."""

    low: float
    middle: float
    high: float


@final
@dataclass(frozen=True)
class SurveyProperties:
    """Properties of a survey of clusters.

    Attributes:
        clusters: Number of clusters that were measured.
        unreadable: Number of clusters that could not be measured.
        reasons: Messages about these, at most three.
        poor: Number of measured clusters with fewer galaxies than the default richness cut.
        redshifts: 41 quantiles of the redshifts, lowest to highest [1]; empty if none is known.
        aperture: 1.6, or if half of the fields end inside, the radius that nine of ten fields fill [h^-1 Mpc].
        narrow: Number of clusters whose field ends inside 1.6 h^-1 Mpc.
        richness: Fewest, median and most galaxies in the cylinder.
        velocity_error: Median error of a cluster's galaxies in the table [km/s]; None if it has none.
        rounding: Standard deviation that rounding adds to velocities, median of the clusters [km/s].
        comparison: Comparison with mocks of similar velocity dispersion.
        cosmology: Cosmology of the distances.
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
    comparison: MockComparison
    cosmology: Cosmology

    @property
    def redshift(self) -> float:
        """Median redshift [1]; that of `Observation()` if none is known."""
        return self.redshifts[len(self.redshifts) // 2] if self.redshifts else Observation.redshift

    @property
    def looks_cleaned(self) -> bool:
        """Whether fast galaxies are missing, so that interlopers seem to have been removed from the table."""
        found = self.comparison
        return found.fast < _CLEANED * found.fast_expected and found.fast_chance < _RARE


class _Cluster(NamedTuple):
    """Data of one cluster that are kept, some kilobytes."""

    R_proj: np.ndarray
    v_los: np.ndarray
    redshift: float
    reach: float
    velocity_error: float


class _MockSettings(NamedTuple):
    """Settings of the mocks with which the clusters are compared."""

    cosmology: Cosmology
    cleaning: Cleaning | None
    seed: int

    def at(self, observation: Observation) -> ReferenceMocks:
        return ReferenceMocks.simulate(
            observation, self.cosmology, n=_REFERENCE, seed=self.seed, cleaning=self.cleaning
        )


def measure_clusters(
    clusters: Iterable[ObservedCluster | Unreadable],
    *,
    cosmology: Cosmology = MDPL2,
    cleaning: Cleaning | None = None,
    seed: int = 1,
) -> SurveyProperties:
    """Measure one or more clusters, and compare them with mocks at their median redshift.

    Args:
        clusters: Clusters in the default cylinder, as `read_clusters` yields them; read one at a time.
        cosmology: Cosmology of the mocks, with which the clusters were read.
        cleaning: How interlopers were removed from the table; the same is done to the mocks.
        seed: Seed of the mocks.

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
    return _measured(seen, (failed, tuple(reasons)), _MockSettings(cosmology, cleaning, seed))


def _seen(cluster: ObservedCluster) -> _Cluster:
    R_proj, v_los = cluster.catalogue.galaxies(0)
    reach = Observation.aperture
    if cluster.narrow is not None:  # the outermost of n galaxies spread evenly over a disc is at 2n / (2n + 1) of it
        reach = min(reach, cluster.narrow.reach * (1 + 0.5 / cluster.n_galaxies))
    return _Cluster(np.array(R_proj), np.array(v_los), cluster.redshift, reach, cluster.velocity_error)


def _measured(seen: Sequence[_Cluster], failed: tuple[int, tuple[str, ...]], mocks: _MockSettings) -> SurveyProperties:
    aperture = _aperture([each.reach for each in seen])
    inside = [(each.R_proj[each.R_proj < aperture], each.v_los[each.R_proj < aperture]) for each in seen]
    inside = [pair for pair in inside if len(pair[0]) >= 2]
    measured = features(inside, aperture)
    redshifts, errors = (np.array([each[i] for each in seen]) for i in (2, 4))
    known = redshifts[np.isfinite(redshifts)]
    middle = float(np.quantile(known, 0.5)) if known.size else Observation.redshift
    observation = Observation(redshift=middle, aperture=aperture)
    counted = measured.number[measured.number >= observation.min_galaxies]
    return SurveyProperties(
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
        comparison=compare(measured, mocks.at(observation), seed=mocks.seed),
        cosmology=mocks.cosmology,
    )


def _aperture(reaches: Sequence[float]) -> float:
    """The default aperture, or if half of the fields end inside, the one that 90 % fill, in steps of .05 [h^-1 Mpc]."""
    if np.mean(np.asarray(reaches) < Observation.aperture) < _NARROW:
        return Observation.aperture
    reach = float(np.quantile(reaches, _OUTSIDE, method="lower"))
    return max(round(_STEP * float(np.floor(reach / _STEP + 1e-9)), 2), _SMALLEST)


def _span(values: np.ndarray) -> Span | None:
    known = values[np.isfinite(values)]
    return Span(*np.quantile(known, (0.05, 0.5, 0.95)).tolist()) if known.size else None
