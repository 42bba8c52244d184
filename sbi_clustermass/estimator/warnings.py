"""Reasons to distrust the mass of an observed cluster: it is unlike those that the network was trained on.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot
from typing import Self, final

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue, Cosmology, Observation
from sbi_clustermass.estimator.mass_bias import error_shift, redshift_shift
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.posterior import MassPosteriors

_EDGE = 0.05  # of the prior, in dex and as a share of the posterior
_NOTICEABLE, _TOO_FAR = 0.02, 0.3  # bias of a mass [dex]: a fifth of the scatter of good data, and three times that
_CURE = "clustermass train --for TABLE makes an estimator for such clusters"


@final
@dataclass(frozen=True)
class TrainingRange:
    """The clusters that an estimator was trained on.

    Attributes:
        support: Lowest and highest log10 mass [dex].
        observation: How they were observed.
        cosmology: Their cosmology.
        richness: Fewest and most galaxies of a cluster.
        redshifts: Their redshifts, rising [1].
        velocity_error: Largest velocity error of any of them [km/s].
        cleaning: How interlopers were removed from them; empty where they were not.
        members_only: Whether they have true members only.
        counts_galaxies: Whether the network sees the number of galaxies.
    """

    support: tuple[float, float]
    observation: Observation
    cosmology: Cosmology
    richness: tuple[int, int]
    redshifts: tuple[float, ...]
    velocity_error: float
    cleaning: str
    members_only: bool
    counts_galaxies: bool

    @classmethod
    def from_provenance(
        cls,
        provenance: Provenance,
        *,
        support: tuple[float, float],
        observation: Observation,
        cosmology: Cosmology,
        richness: tuple[int, int],
        counts_galaxies: bool,
    ) -> Self:
        """Complete what an estimator holds by facts of its provenance; unknown ones are the simulator's defaults."""
        return cls(
            support=support,
            observation=observation,
            cosmology=cosmology,
            richness=richness,
            redshifts=provenance.mocks.redshifts or (observation.redshift,),
            velocity_error=_largest_error(provenance),
            cleaning=provenance.mocks.cleaning,
            members_only=provenance.mocks.sample == "members",
            counts_galaxies=counts_galaxies,
        )

    def warnings(self, catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
        """List the warnings for each cluster, with numbers; empty where there are none.

        Raises:
            ValueError: A cluster is so far outside the training that its mass would be off by more than .3 dex.
        """
        low, high = self.support
        below = posteriors.pit(np.full(len(posteriors), low + _EDGE))
        above = 1 - posteriors.pit(np.full(len(posteriors), high - _EDGE))
        redshift, error = (_optional(catalogue, name) for name in ("redshift", "velocity_error"))
        return [
            (
                *self._of_training(),
                *self._of_number(int(n)),
                *self._of_redshift(float(redshift[i])),
                *self._of_errors(float(error[i]), catalogue.galaxies(i)[1]),
                *self._of_edges(below[i], above[i]),
            )
            for i, n in enumerate(catalogue.n_galaxies)
        ]

    def _of_training(self) -> Iterator[str]:
        if self.members_only:
            yield "trained on true members only; galaxies of an observed cluster include interlopers"
        if self.cleaning:
            yield f"trained on clusters cleaned of interlopers by {self.cleaning}: right for tables that are"
        if self.counts_galaxies:
            yield "the number of galaxies counts: right only for spectroscopy as complete as that of the mocks"

    def _of_number(self, n_galaxies: int) -> Iterator[str]:
        fewest, most = self.richness
        found = f"{n_galaxies} galaxies; the training clusters had {fewest} to {most}"
        if n_galaxies < fewest:
            yield found
        if n_galaxies > most:
            depth = n_galaxies / most
            yield f"{found}: the redshifts go {depth:.1f} times deeper than the mocks', or more; {_CURE}"

    def _of_redshift(self, redshift: float) -> Iterator[str]:
        """Warn of the bias at another redshift, by self-similar scaling."""
        if not redshift > -1:  # unknown
            return
        low, high = self.redshifts[0], self.redshifts[-1]
        at = f"at {low:.3f}" if low == high else f"at {low:.3f} to {high:.3f}"
        shift = redshift_shift(redshift, self.observation.redshift, self.cosmology)
        found = (
            f"redshift {redshift:.3f}; the training clusters stood {at}: by E(z) the mass is off by {shift:+.2f} dex"
        )
        if abs(shift) > _TOO_FAR:
            raise ValueError(f"{found}, too much for a mass.\n  try:    {_CURE}")
        if abs(shift) >= _NOTICEABLE:
            inside = low <= redshift <= high and low < high
            yield f"{found}, as it is not told where the cluster stands" if inside else found

    def _of_errors(self, error: float, v_los: Float[np.ndarray, "galaxy"]) -> Iterator[str]:
        """Warn of what larger velocity errors than in the training add to the dispersion, and so to the mass."""
        from clustermocks.kinematics.dispersion import velocity_dispersion

        if not error > self.velocity_error:
            return
        sigma = float(velocity_dispersion([v_los], method="clipped")[0])
        shift = error_shift(sigma, error, self.velocity_error)
        most = f"the training clusters' were {self.velocity_error:.0f} at most"
        found = f"velocity errors of {error:.0f} km/s, {most}: the mass is off by {shift:+.2f} dex"
        if shift > _TOO_FAR:
            raise ValueError(f"{found}, too much for a mass.\n  try:    {_CURE}")
        if shift >= _NOTICEABLE:
            yield found

    def _of_edges(self, below: float, above: float) -> Iterator[str]:
        low, high = self.support
        for share, edge, side in ((below, low, "low"), (above, high, "high")):
            if share > _EDGE:
                yield f"{share:.0%} of the posterior lies within {_EDGE} dex of the {side} end of the prior, {edge}"


def _largest_error(provenance: Provenance) -> float:
    """Errors of the simulator and those that were added, in quadrature [km/s]."""
    training, simulated = provenance.training, provenance.mocks.settings.get("velocity_error", 0.0)
    added = provenance.mocks.velocity_error or (0.0, 0.0)
    augmented = training.augmentation.velocity_error if training and training.augmentation else (0.0, 0.0)
    return hypot(simulated, added[1], augmented[1])


def _optional(catalogue: Catalogue, name: str) -> Float[np.ndarray, "cluster"]:
    return catalogue.column(name) if name in catalogue.columns else np.full(len(catalogue), np.nan)
