"""Reasons to distrust the mass of an observed cluster, because it differs from those of the training set.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from math import hypot
from typing import Self, final

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue, Cosmology, Observation, SurveyPrior
from sbi_clustermass.estimator.mass_bias import error_shift, redshift_shift
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.estimator.trained_estimator import TrainedEstimator
from sbi_clustermass.estimator.verdict import TOO_FAR, Grade, Reason
from sbi_clustermass.posterior import MassPosteriors

_EDGE = 0.05  # of the prior, in dex and as a share of the posterior
_SLOPE = 0.1  # dex next to the edge, over which the density's slope is measured
_NOTICEABLE = 0.02  # bias of a mass [dex]: a fifth of the scatter of good data
_FEW_MOCKS = 1000  # with fewer, not even their own masses are inferred within the error bars
_CURE = "clustermass train --for TABLE makes an estimator for such clusters"


@final
@dataclass(frozen=True)
class TrainingRange:
    """Range of the clusters on which an estimator was trained. Unknown redshifts are taken to be that of `observation`.

    Attributes:
        support: Lowest and highest log10 mass [dex].
        observation: How the clusters were observed.
        cosmology: Cosmology of the clusters.
        richness: Fewest and most galaxies of a cluster.
        provenance: How the clusters were made.
        counts_galaxies: Whether the network sees the number of galaxies.
        takes_conditions: Whether the network is told the redshift.
    """

    support: tuple[float, float]
    observation: Observation
    cosmology: Cosmology
    richness: tuple[int, int]
    provenance: Provenance
    counts_galaxies: bool
    takes_conditions: bool

    @classmethod
    def from_estimator(cls, estimator: TrainedEstimator) -> Self:
        """Range of an estimator's training set."""
        return cls(**{each.name: getattr(estimator, each.name) for each in fields(cls)})

    def reasons(self, catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[Reason, ...]]:
        """List the reasons for each cluster, quantified; refuse one whose mass would be off by more than .3 dex."""
        redshift, error = (_column_or_nan(catalogue, name) for name in ("redshift", "velocity_error"))
        self._check_stated(catalogue)
        width = posteriors.std
        cleaned = (
            catalogue.column("cleaning") == "stated" if "cleaning" in catalogue.columns else [False] * len(catalogue)
        )
        edges = self._prior_edge_reasons(posteriors)
        return [
            (
                *self._training_reasons(is_cleaned=bool(cleaned[i])),
                *self._richness_reasons(int(n)),
                *self._redshift_reasons(float(redshift[i]), float(width[i])),
                *self._error_reasons(float(error[i]), catalogue.galaxies(i)[1], float(width[i])),
                *edges[i],
                *self._size_reasons(),
            )
            for i, n in enumerate(catalogue.n_galaxies)
        ]

    def _check_stated(self, catalogue: Catalogue) -> None:
        """Refuse clusters of which something is stated that no training cluster stated, or the other way round."""
        surveys = self.provenance.mocks.surveys
        if not (surveys and self.takes_conditions):
            return
        _, error, cleaned = catalogue.conditions().T
        stated, removed = surveys.get("stated", 0.5), surveys["cleaned"]
        some_are_zero = stated == 1 and not surveys["velocity_error"][0]
        conditions = (
            ("velocity errors", 0.5 if some_are_zero else stated, error > 0),
            ("a removal of interlopers (--cleaned)", removed if stated or removed == 1 else 0, cleaned > 0),
        )
        for what, share, here in conditions:
            if share in (0, 1) and (here != share).any():
                found = "not stated, unlike for" if share else "stated, unlike for"
                raise ValueError(f"{what}: {found} every training cluster.\n  try:    {_CURE}")

    def _training_reasons(self, *, is_cleaned: bool) -> Iterator[Reason]:
        cleaning = self.provenance.mocks.cleaning
        if self.provenance.mocks.sample == "members":
            yield Reason("trained on true members only; galaxies of an observed cluster include interlopers")
        if cleaning and not is_cleaned:
            yield Reason(f"trained on clusters cleaned of interlopers by {cleaning}: right for tables that are")
        if self.counts_galaxies and not self.provenance.mocks.surveys:
            yield Reason(
                "the number of galaxies counts: right only for spectroscopy as complete as that of the mocks", Grade.USE
            )

    def _size_reasons(self) -> Iterator[Reason]:
        n = self.provenance.training_clusters
        if n is not None and n < _FEW_MOCKS:
            yield Reason(f"trained on {n} mock clusters; its error bars are not reliable with fewer than {_FEW_MOCKS}")

    def _richness_reasons(self, n_galaxies: int) -> Iterator[Reason]:
        fewest, most = self.richness
        found = f"{n_galaxies} galaxies; the training clusters had {fewest} to {most}"
        if n_galaxies < fewest:
            yield Reason(found)
        if n_galaxies > most:
            depth = n_galaxies / most
            text = (
                f"{found}: the redshifts go {depth:.1f} times deeper than the mocks', or more: leave out the faintest"
            )
            yield Reason(text)

    def _redshift_reasons(self, redshift: float, width: float) -> Iterator[Reason]:
        """Give the bias at another redshift, from self-similar scaling; where it is told, at one out of range."""
        low, high = self._redshifts()
        at = f"at {low:.3f}" if low == high else f"at {low:.3f} to {high:.3f}"
        if not redshift > -1:
            if self.takes_conditions:
                yield Reason(f"the redshift is unknown, and taken for {self.observation.redshift:.3f}")
            return
        told = min(max(redshift, low), high) if self.takes_conditions else self.observation.redshift
        shift = redshift_shift(redshift, told, self.cosmology)
        found = (
            f"redshift {redshift:.3f}; the training clusters stood {at}: by E(z) the mass is off by {shift:+.2f} dex"
        )
        if abs(shift) > TOO_FAR:
            raise ValueError(f"{found}, too much for a mass{_cure('redshift', redshift)}")
        if abs(shift) >= _NOTICEABLE:
            inside = low <= redshift <= high and low < high
            found = f"{found}, as it is not told where the cluster stands" if inside else found
            yield Reason.measured(found, shift, width)

    def _redshifts(self) -> tuple[float, float]:
        if surveys := self.provenance.mocks.surveys:
            return tuple(surveys["redshift"])
        redshifts = self.provenance.mocks.redshifts or (self.observation.redshift,)
        return redshifts[0], redshifts[-1]

    def _error_reasons(self, error: float, v_los: Float[np.ndarray, "galaxy"], width: float) -> Iterator[Reason]:
        """Give the bias from velocity errors larger than those in the training, which increase the dispersion."""
        from clustermocks.kinematics.dispersion import velocity_dispersion

        trained = _largest_error(self.provenance)
        if not error > trained:
            return
        sigma = float(velocity_dispersion([v_los], method="clipped")[0])
        shift = error_shift(sigma, error, trained)
        most = f"the training clusters' were {trained:.0f} at most"
        found = f"velocity errors of {error:.0f} km/s, {most}: the mass is off by {shift:+.2f} dex"
        if shift > TOO_FAR:
            raise ValueError(f"{found}, too much for a mass{_cure('velocity_error', error)}")
        if shift >= _NOTICEABLE:
            yield Reason.measured(found, shift, width)

    def _prior_edge_reasons(self, posteriors: MassPosteriors) -> list[tuple[Reason, ...]]:
        """Name posteriors that pile up at an end of the prior, and how much their medians would move without it."""
        low, high = self.support
        n = len(posteriors)
        below, above = posteriors.pit(np.full(n, low + _EDGE)), 1 - posteriors.pit(np.full(n, high - _EDGE))
        found: list[tuple[Reason, ...]] = [()] * n
        for share, edge, side in ((below, low, "low"), (above, high, "high")):
            for i in np.flatnonzero(share > _EDGE):
                size, width = _cut_off(posteriors[[i]], at_high=side == "high"), posteriors.std[i]
                text = (
                    f"{share[i]:.0%} of the posterior lies within {_EDGE} dex of the {side} end of the prior, {edge:g}"
                )
                more = Reason(f"{text}: a limit") if size is None else Reason.measured(text, size, width)
                found[i] = (*found[i], more)
        return found


def _cut_off(posterior: MassPosteriors, *, at_high: bool) -> float | None:
    """Change of one median if the density went on beyond the prior's end, falling as it falls there [dex]; else None.

    The density goes on as an exponential; None where that holds more than half of the posterior, or does not fall.
    """
    edge, inside = (posterior.grid[-1], -_SLOPE) if at_high else (posterior.grid[0], _SLOPE)
    end, before = (float(posterior.log_prob_at(mass)[0]) for mass in (edge, edge + inside))
    beyond = np.exp(end) * _SLOPE / (before - end) if before > end else np.inf
    if beyond > 0.5:
        return None
    level = 0.5 * (1 + beyond) if at_high else 0.5 * (1 - beyond)
    return float(posterior.quantile(level)[0] - posterior.quantile(0.5)[0])


def _cure(name: str, value: float) -> str:
    """Advice for a cluster like which mocks can be drawn; a full stop for another."""
    low, high = getattr(SurveyPrior(), name)
    return f".\n  try:    {_CURE}" if low <= value <= high else "."


def _largest_error(provenance: Provenance) -> float:
    """Quadratic sum of the errors in the simulator and those added later, at their largest [km/s]."""
    training, simulated = provenance.training, provenance.mocks.settings.get("velocity_error", 0.0)
    if surveys := provenance.mocks.surveys:
        simulated = surveys["velocity_error"][1]
    added = provenance.mocks.velocity_error or (0.0, 0.0)
    augmented = training.augmentation.velocity_error if training and training.augmentation else (0.0, 0.0)
    return hypot(simulated, added[1], augmented[1])


def _column_or_nan(catalogue: Catalogue, name: str) -> Float[np.ndarray, "cluster"]:
    return catalogue.column(name) if name in catalogue.columns else np.full(len(catalogue), np.nan)
