"""Why the mass of an observed cluster should not be trusted: it is unlike those that the network was trained on."""

from typing import TYPE_CHECKING

import numpy as np

from clustermocks import Catalogue
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from sbi_clustermass.estimator import MassEstimator

_EDGE = 0.05  # of the prior, in dex and as a share of the posterior
_REDSHIFT_REACH = 0.1


def doubts(estimator: "MassEstimator", catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
    """Doubts with numbers for each cluster; empty where there are none."""
    low, high = estimator.support
    edges = (
        posteriors.pit(np.full(len(posteriors), low + _EDGE)),
        1 - posteriors.pit(np.full(len(posteriors), high - _EDGE)),
    )
    redshift = catalogue.column("redshift") if "redshift" in catalogue.columns else np.full(len(catalogue), np.nan)
    unlike = _of_alarm(estimator, catalogue, posteriors)
    return [
        (*_of_training(estimator, int(n), z), *_of_edges(estimator, below, above), *strange)
        for n, z, below, above, strange in zip(catalogue.n_galaxies, redshift, *edges, unlike, strict=True)
    ]


def _of_alarm(estimator: "MassEstimator", catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
    if estimator.alarm is None:
        return [()] * len(catalogue)
    return estimator.alarm.doubts(estimator, catalogue, posteriors)


def _of_training(estimator: "MassEstimator", n_galaxies: int, redshift: float) -> list[str]:
    (fewest, most), trained_at, found = estimator.richness, estimator.observation.redshift, []
    if estimator.provenance.get("sample") == "members":
        found.append("trained on true members only; galaxies of an observed cluster include interlopers")
    if estimator.counts_galaxies:
        found.append("the number of galaxies counts: right only for spectroscopy as complete as that of the mocks")
    if not fewest <= n_galaxies <= most:
        found.append(f"{n_galaxies} galaxies; the training clusters had {fewest} to {most}")
    if abs(redshift - trained_at) > _REDSHIFT_REACH:
        found.append(f"redshift {redshift:.3f}; the training clusters stood at {trained_at:.3f}")
    return found


def _of_edges(estimator: "MassEstimator", below: float, above: float) -> list[str]:
    low, high = estimator.support
    return [
        f"{share:.0%} of the posterior lies within {_EDGE} dex of the {side} end of the prior, {edge}"
        for share, edge, side in ((below, low, "low"), (above, high, "high"))
        if share > _EDGE
    ]
