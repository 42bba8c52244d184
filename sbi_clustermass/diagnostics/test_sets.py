"""Test sets on which calibration is promised: clusters drawn from the prior that the posteriors carry.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, Self, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from clustermocks.catalogue.catalogue import Catalogue
from sbi_clustermass.diagnostics.residuals import Measured
from sbi_clustermass.posterior import MassPosteriors

COVERAGE_TOLERANCE = 0.015  # share of the clusters
MEAN_TOLERANCE = 0.01  # dex
_SAME = 1e-9  # dex: rounding of a limit that lies on the grid


class MassDistribution(Protocol):
    """A density of masses between two limits, such as `HaloMassFunction`."""

    @property
    def low(self) -> float:
        """Lower limit of log10 mass [dex]."""
        ...

    @property
    def high(self) -> float:
        """Upper limit of log10 mass [dex]."""
        ...

    def density(self, log10_mass: ArrayLike) -> np.ndarray:
        """Evaluate the number per dex, in any unit."""
        ...


def reweighted(posteriors: MassPosteriors, masses: MassDistribution) -> MassPosteriors:
    r"""Posteriors under the prior of a test set whose masses were drawn from `masses`, before the cuts.

    Test clusters are drawn from a density φ(M) and kept if their data d pass the training set's cuts. That cut is a
    function of d, so a cluster that passed has $p(M | d, \mathrm{selected}) \propto \varphi(M)\,p(d | M)$: the right
    prior is φ itself, not the density $\varphi(M)\,P(\mathrm{selected} | M)$ of the selected masses. The likelihood is
    $p(d | M) \propto q(M | d) / \pi(M)$ with the effective prior $\pi = n_\mathrm{train} /
    P_\mathrm{train}(\mathrm{selected} | M)$, where P is already divided out. The result is $q \varphi / \pi$, without
    P.

    The prior of any other set, such as one thinned by mass after the cuts, is measured by `fit_effective_prior`:
    `posteriors.with_prior(fit_effective_prior(test_set, support).log_density(posteriors.grid))`.

    Args:
        posteriors: Posteriors under any prior.
        masses: Distribution from which the test masses were drawn. Its limits truncate the posteriors, also between
            points of the grid. Test clusters beyond the grid must be excluded (`HeldOut.under`).

    Raises:
        ValueError: The limits and the grid do not overlap.
    """
    grid = posteriors.grid
    low, high = max(grid[0], masses.low), min(grid[-1], masses.high)
    if not low < high:
        raise ValueError(
            f"the posteriors' grid, {grid[0]:g} to {grid[-1]:g}, has nothing of {masses.low:g} to {masses.high:g}."
        )
    inside = (grid > low + _SAME) & (grid < high - _SAME)
    cut_grid = np.concatenate([[low], grid[inside], [high]])
    ends = posteriors.log_prob_at(low), posteriors.log_prob_at(high)
    cut = MassPosteriors.from_log_prob(
        cut_grid,
        np.column_stack([ends[0], posteriors.log_prob[:, inside], ends[1]]),
        log_prior=np.interp(cut_grid, grid, posteriors.log_prior),
        names=posteriors.names,
        leakage=posteriors.leakage,
    )
    return cut.with_prior(np.log(masses.density(cut_grid)))


@final
@dataclass(frozen=True, eq=False)
class HeldOut:
    """Posteriors of test clusters of known mass, and whether calibration is promised for these clusters.

    It is promised if masses were drawn from the prior that the posteriors carry, and clusters passed the training set's
    cuts: for held-out clusters of the training draw, or for any others after `under`. It is not promised for posteriors
    trained on flat masses and a test set drawn from the mass function, however good they are. That is the published
    protocol (Kodi Ramanah et al. 2020, section 4), which is reported without marks.

    Attributes:
        posteriors: Posteriors of the test clusters.
        log10_mass: True masses [dex], (cluster,). Errors assume independent clusters: one line of sight per host.
        n_galaxies: Numbers of galaxies, if known, (cluster,).
        drawn_from_prior: Whether calibration is promised. There is no default, because only the caller knows.
    """

    posteriors: MassPosteriors
    log10_mass: Float[np.ndarray, "cluster"]
    n_galaxies: Int[np.ndarray, "cluster"] | None = None
    drawn_from_prior: bool = field(kw_only=True)

    def __post_init__(self) -> None:
        n, masses, grid = len(self.posteriors), self.log10_mass, self.posteriors.grid
        shapes = {np.shape(each) for each in (masses, self.n_galaxies) if each is not None}
        if shapes != {(n,)} or not np.isfinite(masses).all():
            raise ValueError(f"held-out clusters: {n} posteriors need as many finite masses and richnesses.")
        outside = (masses < grid[0]) | (masses > grid[-1])
        if self.drawn_from_prior and outside.any():
            raise ValueError(
                f"{outside.sum()} of {n} true masses lie outside {grid[0]:g} to {grid[-1]:g}, where the posteriors' "
                "prior is zero: they were not drawn from it.\n"
                "  try:    drawn_from_prior=False, or HeldOut.under(masses) with what they were drawn from"
            )

    @classmethod
    def from_catalogue(cls, posteriors: MassPosteriors, clusters: Catalogue, *, drawn_from_prior: bool) -> Self:
        """Take true masses and numbers of galaxies from the catalogue of the clusters."""
        return cls(posteriors, clusters.log10_mass, clusters.n_galaxies, drawn_from_prior=drawn_from_prior)

    def __len__(self) -> int:
        return len(self.posteriors)

    def under(self, masses: MassDistribution) -> Self:
        """Declare that the masses were drawn from `masses`, and reweight the posteriors to it: calibration is promised.

        Clusters whose true mass lies outside the posteriors' grid are excluded; the others are a draw from `masses`
        truncated there.

        Raises:
            ValueError: No cluster is left, or a mass inside the grid lies outside the limits of `masses`.
        """
        grid = self.posteriors.grid
        known = np.flatnonzero((self.log10_mass >= grid[0]) & (self.log10_mass <= grid[-1]))
        if not known.size:
            raise ValueError(f"no true mass lies between {grid[0]:g} and {grid[-1]:g}, the posteriors' grid.")
        number = None if self.n_galaxies is None else self.n_galaxies[known]
        posteriors = reweighted(self.posteriors[known], masses)
        return type(self)(posteriors, self.log10_mass[known], number, drawn_from_prior=True)


class Mark(StrEnum):
    """Verdict on a promise."""

    PASSES = "passes"
    FAILS = "fails"
    UNDECIDED = "too few clusters"


def mark(found: Measured, promised: float, tolerance: float) -> Mark:
    """Compare a measured number with its promised value, allowing for its Monte Carlo error.

    It fails if the deviation exceeds the tolerance plus two errors; a correct number fails in fewer than one of 20 test
    sets. It passes if the deviation is within the tolerance and the error is at most half of it; a number that is off
    by twice the tolerance passes in fewer than one of 40. Otherwise there are too few clusters: coverage of 50 % needs
    4445.
    """
    off = abs(found.value - promised)
    if off > tolerance + 2 * found.error:
        return Mark.FAILS
    return Mark.PASSES if off <= tolerance and 2 * found.error <= tolerance else Mark.UNDECIDED
