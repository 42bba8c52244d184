"""Why the mass of an observed cluster should not be trusted: it is unlike those that the network was trained on.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue
from sbi_clustermass.estimator.mass_bias import error_shift, redshift_shift
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

_EDGE = 0.05  # of the prior, in dex and as a share of the posterior
_TOLD, _HOPELESS = 0.02, 0.3  # dex that a mass is off: a fifth of the scatter of good data, and three times that
_CURE = "clustermass train --for TABLE makes an estimator for such clusters"
_RANGE = r"\(([\d.e+-]+), ([\d.e+-]+)\)"


@final
@dataclass(frozen=True)
class Trained:
    """What the training clusters were like, as an estimator's provenance tells it.

    Attributes:
        redshifts: Of the training clusters, rising [1].
        velocity_error: Largest that any of them had [km/s].
        cleaning: How interlopers were removed from them; "" for not at all.
    """

    redshifts: tuple[float, ...]
    velocity_error: float
    cleaning: str

    @classmethod
    def of(cls, estimator: "MassEstimator") -> Self:
        """Read it; what is not there is taken as the simulator's default."""
        told = estimator.provenance
        shells = sorted(float(z) for z in told["redshifts"].split(",")) if "redshifts" in told else []
        cleaned = re.search(r"cleaned by (\w+)", told.get("changed", ""))
        return cls(
            redshifts=tuple(shells) or (estimator.observation.redshift,),
            velocity_error=_largest_error(told),
            cleaning=cleaned[1] if cleaned else "",
        )


def _largest_error(told: Mapping[str, str]) -> float:
    """Errors of the simulator, and those that a training added, in quadrature [km/s]."""
    added = re.search(rf"velocity_error={_RANGE}", told.get("training", ""))
    ours = re.fullmatch(r"[\d.]+ to ([\d.]+)", told.get("velocity_error_range", ""))
    simulated = re.fullmatch(r"[\d.]+", told.get("velocity_error", ""))
    found = [float(added[2]) if added else 0.0, float(ours[1]) if ours else 0.0]
    return float(np.linalg.norm([*found, float(simulated[0]) if simulated else 0.0]))


def doubts(estimator: "MassEstimator", catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
    """Doubts with numbers for each cluster; empty where there are none.

    Raises:
        ValueError: A cluster is so far outside the training that its mass would be off by more than .3 dex.
    """
    low, high = estimator.support
    edges = (
        posteriors.pit(np.full(len(posteriors), low + _EDGE)),
        1 - posteriors.pit(np.full(len(posteriors), high - _EDGE)),
    )
    trained, unlike = Trained.of(estimator), _of_alarm(estimator, catalogue, posteriors)
    redshift, error = (_optional(catalogue, name) for name in ("redshift", "velocity_error"))
    found = []
    for i, n in enumerate(catalogue.n_galaxies):
        outside = (
            *_of_training(estimator, trained),
            *_of_number(estimator, int(n)),
            *_of_redshift(estimator, trained, float(redshift[i])),
            *_of_errors(trained, float(error[i]), catalogue.galaxies(i)[1]),
        )
        found.append((*outside, *_of_edges(estimator, edges[0][i], edges[1][i]), *unlike[i]))
    return found


def _optional(catalogue: Catalogue, name: str) -> Float[np.ndarray, "cluster"]:
    return catalogue.column(name) if name in catalogue.columns else np.full(len(catalogue), np.nan)


def _of_alarm(estimator: "MassEstimator", catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
    if estimator.alarm is None:
        return [()] * len(catalogue)
    return estimator.alarm.warnings(estimator.network, catalogue, posteriors)


def _of_training(estimator: "MassEstimator", trained: Trained) -> list[str]:
    found = []
    if estimator.provenance.get("sample") == "members":
        found.append("trained on true members only; galaxies of an observed cluster include interlopers")
    if trained.cleaning:
        found.append(f"trained on clusters cleaned of interlopers by {trained.cleaning}: right for tables that are")
    if estimator.counts_galaxies:
        found.append("the number of galaxies counts: right only for spectroscopy as complete as that of the mocks")
    return found


def _of_number(estimator: "MassEstimator", n_galaxies: int) -> list[str]:
    fewest, most = estimator.richness
    if fewest <= n_galaxies <= most:
        return []
    said = f"{n_galaxies} galaxies; the training clusters had {fewest} to {most}"
    if n_galaxies < fewest:
        return [said]
    return [f"{said}: the redshifts go {n_galaxies / most:.1f} times deeper than the mocks', or more; {_CURE}"]


def _of_redshift(estimator: "MassEstimator", trained: Trained, redshift: float) -> list[str]:
    """What self-similar scaling does to the mass of a cluster at another redshift."""
    low, high = trained.redshifts[0], trained.redshifts[-1]
    middle = estimator.observation.redshift
    inside = low <= redshift <= high and low < high
    stood = f"at {low:.3f}" if low == high else f"at {low:.3f} to {high:.3f}"
    if not redshift > -1:  # unknown
        return []
    shift = redshift_shift(redshift, middle, estimator.cosmology)
    said = f"redshift {redshift:.3f}; the training clusters stood {stood}: by E(z) the mass is off by {shift:+.2f} dex"
    if abs(shift) > _HOPELESS:
        raise ValueError(f"{said}, too much for a mass.\n  try:    {_CURE}")
    if abs(shift) < _TOLD:
        return []
    return [f"{said}, as it is not told where the cluster stands" if inside else said]


def _of_errors(trained: Trained, error: float, v_los: Float[np.ndarray, "galaxy"]) -> list[str]:
    """What velocity errors larger than any in the training add to the dispersion, and so to the mass."""
    from clustermocks.kinematics.dispersion import velocity_dispersion

    if not error > trained.velocity_error:
        return []
    sigma = float(velocity_dispersion([v_los], method="clipped")[0])
    shift = error_shift(sigma, error, trained.velocity_error)
    most = f"the training clusters' were {trained.velocity_error:.0f} at most"
    said = f"velocity errors of {error:.0f} km/s, {most}: the mass is off by {shift:+.2f} dex"
    if shift > _HOPELESS:
        raise ValueError(f"{said}, too much for a mass.\n  try:    {_CURE}")
    return [said] if shift >= _TOLD else []


def _of_edges(estimator: "MassEstimator", below: float, above: float) -> list[str]:
    low, high = estimator.support
    return [
        f"{share:.0%} of the posterior lies within {_EDGE} dex of the {side} end of the prior, {edge}"
        for share, edge, side in ((below, low, "low"), (above, high, "high"))
        if share > _EDGE
    ]
