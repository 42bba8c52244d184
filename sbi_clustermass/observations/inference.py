"""Masses of clusters that were read from tables, some hundred at once.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias, TypeGuard

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue, Cosmology
from clustermocks.haloes.mass_distributions import HaloMassFunction
from clustermocks.kinematics.dispersion import Dispersion, robust_dispersions
from clustermocks.perturbations import about_another_centre
from sbi_clustermass.baselines import evrard2008
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.verdict import Grade, Reason, ranked
from sbi_clustermass.observations.results import LEVELS, TAIL, ClusterResult, MassResult, Mode, NoMassResult
from sbi_clustermass.observations.tables import ObservedCluster, Unreadable
from sbi_clustermass.observations.tables.warnings import field_reasons
from sbi_clustermass.posterior import MassPosteriors

BATCH = 256  # clusters
_MASSES, _EACH = 32, 8  # draws of a cluster's mass, and of what is inferred given each
_MIDDLE = (0.16, 0.5, 0.84)
_LOW_TAIL = 1e-3  # of the posterior, for a 16th percentile under another prior
_HIGHEST = 17.0  # log10 mass at which the mass function's fit is still evaluated
_GALAXIES = 200_000  # at once: a batch of rich clusters is smaller
_ERRORS = (ValueError, ArithmeticError, RuntimeError, LookupError)  # caught per cluster: the others still get masses

Read: TypeAlias = ObservedCluster | Unreadable


def infer_clusters(
    clusters: Iterable[Read], estimator: MassEstimator, *, batch: int = BATCH
) -> Iterator[ClusterResult]:
    """Infer the mass of each cluster that was read, in memory that does not grow with their number."""
    waiting: list[Read] = []
    n = galaxies = 0
    for cluster in clusters:
        waiting.append(cluster)
        if _is_good(cluster):
            n, galaxies = n + 1, galaxies + cluster.n_galaxies
        if n in (0, batch) or galaxies >= _GALAXIES:  # 0: only failures, which need no network
            yield from _results(waiting, estimator)
            waiting, n, galaxies = [], 0, 0
    yield from _results(waiting, estimator)


def infer_cluster(cluster: ObservedCluster, estimator: MassEstimator) -> MassResult:
    """Infer the mass of one cluster that has enough galaxies.

    Raises:
        ValueError: The estimator refuses it.
    """
    return _masses([cluster], estimator)[0]


def _is_good(cluster: Read) -> TypeGuard[ObservedCluster]:
    return isinstance(cluster, ObservedCluster) and not cluster.reason


def _results(clusters: Sequence[Read], estimator: MassEstimator) -> Iterator[ClusterResult]:
    good = [each for each in clusters if _is_good(each)]
    found = iter(_masses_or_reasons(good, estimator))
    for each in clusters:
        if isinstance(each, Unreadable):
            yield NoMassResult(each.name, each.reason)
        elif each.reason:
            yield NoMassResult(each.name, each.reason, each)
        else:
            yield next(found)


def _masses_or_reasons(clusters: Sequence[ObservedCluster], estimator: MassEstimator) -> Sequence[ClusterResult]:
    """Infer a batch; where a cluster makes it fail, infer its halves, until that cluster is alone."""
    if not clusters:
        return []
    try:
        return _masses(clusters, estimator)
    except _ERRORS as error:
        if len(clusters) == 1:
            return [NoMassResult(clusters[0].name, f"{clusters[0].name}: {error}", clusters[0])]
        half = len(clusters) // 2
        parts = (clusters[:half], clusters[half:])
        return [result for part in parts for result in _masses_or_reasons(part, estimator)]


def _masses(clusters: Sequence[ObservedCluster], estimator: MassEstimator) -> list[MassResult]:
    catalogue = Catalogue.concatenate([cluster.catalogue for cluster in clusters])
    posteriors = estimator.posterior(catalogue)
    modes = _modes(posteriors)
    reasons = _reasons(clusters, estimator, posteriors, modes)
    for found, outside in zip(reasons, estimator.reasons(catalogue, posteriors), strict=True):
        found.extend(outside)
    v_los = [catalogue.galaxies(i)[1] for i in range(len(catalogue))]
    seeds = [zlib.crc32(np.ascontiguousarray(v).tobytes()) for v in v_los]  # whatever the cluster is called
    sigma = robust_dispersions(v_los, seeds)
    quantiles = posteriors.quantile(LEVELS).T.tolist()
    draws = estimator.given_mass_or_prior.draw(posteriors, catalogue, _MASSES, each=_EACH, seeds=seeds)
    abundant = _where_certain(posteriors, under_mass_function(posteriors, clusters, estimator).quantile(_MIDDLE))
    return [
        MassResult(
            cluster=cluster,
            posterior=posteriors[[i]],
            mean=float(posteriors.mean[i]),
            std=float(posteriors.std[i]),
            quantiles=tuple(quantiles[i]),
            under_mass_function=abundant[i],
            modes=modes[i],
            draws=draws[[i]],
            inferred=estimator.parameters[1:],
            dispersion=sigma[i],
            log10_mass_m_sigma=_m_sigma(sigma[i], cluster, estimator),
            reasons=ranked(reasons[i]),
        )
        for i, cluster in enumerate(clusters)
    ]


def under_mass_function(
    posteriors: MassPosteriors, clusters: Sequence[ObservedCluster], estimator: MassEstimator
) -> MassPosteriors:
    """Compute posteriors with the mass function of Tinker et al. 2008 as prior.

    The mass function is that of each cluster's redshift, or of the mocks' where it is NaN, within the support of the
    estimator's own prior. Since the clusters have no prior in common, that of the result is nominal.
    """
    (low, high), grid = estimator.support, tuple(posteriors.grid.tolist())
    redshifts = (estimator.observation.redshift if np.isnan(each.redshift) else each.redshift for each in clusters)
    prior = [_log_abundance(low, min(high, _HIGHEST), round(z, 3), estimator.cosmology, grid) for z in redshifts]
    return MassPosteriors.from_log_prob(
        posteriors.grid, posteriors.log_likelihood() + np.array(prior), names=posteriors.names
    )


@lru_cache(maxsize=2000)
def _log_abundance(
    low: float, high: float, redshift: float, cosmology: Cosmology, grid: tuple[float, ...]
) -> Float[np.ndarray, "mass"]:
    """Natural log of the mass function on a grid; a redshift rounded to .001 changes it by .02 at most."""
    abundance = HaloMassFunction(low=low, high=high, redshift=redshift, cosmology=cosmology)
    with np.errstate(divide="ignore"):
        return np.log(abundance.density(np.array(grid)))


def _where_certain(
    posteriors: MassPosteriors, quantiles: Float[np.ndarray, "level cluster"]
) -> list[tuple[float, float, float]]:
    """Percentiles under another prior, NaN for those that hang on a tail of the posterior."""
    shares = np.stack([posteriors.pit(each) for each in quantiles])
    certain = shares >= np.array([_LOW_TAIL, TAIL, TAIL])[:, None]
    return [(low, middle, high) for low, middle, high in np.where(certain, quantiles, np.nan).T.tolist()]


def _modes(posteriors: MassPosteriors) -> list[tuple[Mode, ...]]:
    return [
        () if np.isnan(share) else (Mode(float(low), float(share)), Mode(float(high), float(1 - share)))
        for low, high, share in zip(*posteriors.two_modes(), strict=True)
    ]


def _m_sigma(sigma: Dispersion, cluster: ObservedCluster, estimator: MassEstimator) -> float:
    if not sigma.value > 0:
        return np.nan
    return float(evrard2008(cluster.redshift, estimator.cosmology).inverse(np.log10(sigma.value)))


def _reasons(
    clusters: Sequence[ObservedCluster],
    estimator: MassEstimator,
    posteriors: MassPosteriors,
    modes: Sequence[tuple[Mode, ...]],
) -> list[list[Reason]]:
    """Collect what is doubtful about each table, and about the shape of each posterior."""
    seen, surveys = estimator.observation, estimator.provenance.mocks.surveys
    centre, spread, found = _centre_shifts(clusters, estimator, posteriors), posteriors.epistemic_std, []
    for i, cluster in enumerate(clusters):
        width = float(posteriors.std[i])
        field = field_reasons(cluster.narrow, cluster.covered, aperture=seen.aperture, surveys=surveys)
        found.append([*cluster.reasons, *field])
        if i in centre:
            text = f"the centre is known to {cluster.centre_error:.2f} h^-1 Mpc, by which the mass is uncertain to"
            found[i].append(Reason.measured(f"{text} {centre[i]:.2f} dex: choose with --centre", centre[i], width))
        if modes[i]:
            low, high = (f"{mode.log10_mass:.2f} ({mode.share:.0%})" for mode in modes[i])
            apart = modes[i][1].log10_mass - modes[i][0].log10_mass
            found[i].append(Reason(f"two masses are possible, {low} and {high}", Grade.CARE, apart))
        if spread is not None and spread[i] > width / 2:
            found[i].append(Reason.measured("the networks of the ensemble disagree", float(spread[i]), width))
    return found


def _centre_shifts(
    clusters: Sequence[ObservedCluster], estimator: MassEstimator, posteriors: MassPosteriors
) -> dict[int, float]:
    """Error of the median from that of an estimated centre [dex], by the cluster's position among them.

    The centre is moved by its error to the north and to the east; the two changes add in quadrature.
    """
    errors = {i: each.centre_error for i, each in enumerate(clusters) if each.centre_error > 0}
    if not errors:
        return {}
    there = Catalogue.concatenate([clusters[i].catalogue for i in errors])
    before, changes = posteriors.quantile(0.5)[list(errors)], []
    for axis in np.eye(2):
        about = about_another_centre(there, np.outer(list(errors.values()), axis))
        changes.append(estimator.posterior(about).quantile(0.5) - before)
    return dict(zip(errors, np.hypot(*changes).tolist(), strict=True))
