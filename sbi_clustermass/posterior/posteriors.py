"""Mass posteriors of many clusters on one grid, with the prior they were trained under.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are per dex; `log_` is natural.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self, final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from sbi_clustermass.posterior import hdr as regions, mixtures, parquet as files, tabulated as cells
from sbi_clustermass.posterior.indexing import rows_of


@final
@dataclass(frozen=True, eq=False)
class MassPosteriors:
    """One posterior a cluster, q(log10 M | galaxies), tabulated on a shared mass grid.

    Integrals take the log density between two masses as a cubic, which is exact for a (truncated) Gaussian. On 256
    masses over 2.6 dex, a Gaussian of width .03 to .5 dex anywhere in the grid or piled up at its edge (its centre up
    to two widths outside) has its likelihood, mean and std right to 1e-8, its quantiles to 1e-4 dex, and its PIT to
    3e-4, at the edge 3e-3. Where the table does not resolve a density, it is linear between masses. Samples,
    quantiles and PIT follow one distribution exactly: in each cell the density is linear, scaled to the cell's
    probability.

    Attributes:
        grid: Log10 mass [dex], rising, (mass,).
        log_prob: Natural log of each normalised posterior density [1/dex], (cluster, mass).
        log_prior: Natural log of the effective training prior's density [1/dex], (mass,): the mass density of the
            training set over P(selected | mass). Only its shape matters.
        names: A name for each cluster.
        epistemic_std: Of a `mixture`: standard deviation between its members' means [dex], (cluster,).
        leakage: Mean share of the probability that the estimator put outside its prior's support, and that was cut
            off; 0 where it was trained to be cut off there. A population fit refuses more than 1 %.
    """

    grid: Float[np.ndarray, "mass"]
    log_prob: Float[np.ndarray, "cluster mass"]
    log_prior: Float[np.ndarray, "mass"]
    names: tuple[str, ...]
    epistemic_std: Float[np.ndarray, "cluster"] | None = None
    leakage: float = 0.0

    def __post_init__(self) -> None:
        shape, size = self.log_prob.shape, self.grid.shape
        rising = len(size) == 1 and size[0] > 1 and np.all(np.diff(self.grid) > 0)
        if not rising or shape != (len(self.names), *size) or self.log_prior.shape != size:
            raise ValueError(
                f"log_prob {shape} must be (cluster, mass): {len(self.names)} names, a rising grid of two masses or "
                f"more, found {size}; log_prior {self.log_prior.shape} must match the grid."
            )

    @classmethod
    def from_log_prob(
        cls,
        grid: Float[np.ndarray, "mass"],
        log_prob: Float[np.ndarray, "cluster mass"],
        *,
        log_prior: Float[np.ndarray, "mass"] | None = None,
        names: tuple[str, ...] | None = None,
        epistemic_std: Float[np.ndarray, "cluster"] | None = None,
        leakage: float = 0.0,
    ) -> Self:
        """Normalise densities on the grid; a missing prior is flat.

        Raises:
            ValueError: A cluster's density is zero everywhere, or not a number somewhere.
        """
        grid, log_prob = np.asarray(grid, float), np.asarray(log_prob, float)
        bad = np.flatnonzero(~np.isfinite(log_prob.max(axis=1, initial=-np.inf)))
        if bad.size:
            raise ValueError(
                f"{bad.size} posteriors are zero on the whole grid or not finite somewhere, first at row {bad[0]}."
            )
        flat = np.full(grid.shape, -np.log(grid[-1] - grid[0]))
        names = tuple(str(i) for i in range(len(log_prob))) if names is None else names
        prior = flat if log_prior is None else np.asarray(log_prior, float)
        raw = cls(grid, log_prob, prior, names, epistemic_std, leakage)
        return replace(raw, log_prob=log_prob - raw._integrals.log_area[:, None])

    @classmethod
    def from_normal(cls, mean: ArrayLike, std: ArrayLike, grid: Float[np.ndarray, "mass"]) -> Self:
        """Gaussian mass estimates from elsewhere (lensing, X-ray), read as posteriors under a flat prior on the grid.

        Args:
            mean: Log10 mass [dex], (cluster,).
            std: Error [dex], (cluster,).
            grid: Log10 mass [dex], (mass,).

        Raises:
            ValueError: An error is not positive, or a value is not finite.
        """
        mean, std = np.broadcast_arrays(np.atleast_1d(np.asarray(mean, float)), np.asarray(std, float))
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            raise ValueError("means must be finite and errors positive.")
        return cls.from_log_prob(grid, -0.5 * ((grid - mean[:, None]) / std[:, None]) ** 2)

    @classmethod
    def mixture(cls, members: Sequence["MassPosteriors"], weights: ArrayLike | None = None) -> "MassPosteriors":
        """The members of an ensemble as one posterior a cluster: the weighted sum of their densities.

        Args:
            members: Posteriors of the same clusters, on one grid, under one effective prior.
            weights: Of the members; equal by default, need not sum to 1.

        Returns:
            The mixture, with the variance between members in `epistemic_std`: its variance is
            epistemic_std^2 + the members' weighted mean variance.

        Raises:
            ValueError: No members, members that do not belong together, or weights that are none.
        """
        mixtures.check_members(members)
        share = mixtures.checked_weights(weights, len(members))
        log_prob, spread = mixtures.log_mixture(members, share), mixtures.spread_of_means(members, share)
        leakage = float(share @ [member.leakage for member in members])
        return replace(members[0], log_prob=log_prob, epistemic_std=spread, leakage=leakage)

    def __repr__(self) -> str:
        return f"MassPosteriors({len(self)} clusters on {self.grid.size} masses, {self.grid[0]:g} to {self.grid[-1]:g})"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, which: ArrayLike | slice | str) -> Self:
        """Some of the clusters, by name, position, slice or mask; a list of names or positions gives them in its order.

        Raises:
            KeyError: No cluster of that name.
            IndexError: No such position, or a mask of another length.
        """
        rows = rows_of(which, self.names)
        spread = None if self.epistemic_std is None else self.epistemic_std[rows]
        names = tuple(self.names[i] for i in rows)
        return replace(self, log_prob=self.log_prob[rows], names=names, epistemic_std=spread)

    # ---- summaries, each (cluster,) ---------------------------------------------------------------------------------

    @cached_property
    def _integrals(self) -> cells.Integrals:
        return cells.integrate(self.grid, self.log_prob)

    @property
    def prob(self) -> Float[np.ndarray, "cluster mass"]:
        """Posterior density [1/dex]."""
        return np.exp(self.log_prob)

    @property
    def cdf(self) -> Float[np.ndarray, "cluster mass"]:
        """Share of each posterior below each mass of the grid [1]."""
        return self._integrals.cdf

    @property
    def mean(self) -> Float[np.ndarray, "cluster"]:
        """Posterior mean of log10 mass [dex]: the point estimate."""
        return self._integrals.mean

    @property
    def std(self) -> Float[np.ndarray, "cluster"]:
        """Posterior standard deviation of log10 mass [dex]."""
        return self._integrals.std

    @property
    def mode(self) -> Float[np.ndarray, "cluster"]:
        """Mass of highest density [dex], by the parabola through the highest point and its neighbours."""
        return cells.modes(self.grid, self.log_prob)

    def quantile(self, level: ArrayLike) -> Float[np.ndarray, "*level cluster"]:
        """Log10 mass below which a share `level` of each posterior lies [dex].

        Args:
            level: One level in [0, 1], or several: `low, middle, high = posteriors.quantile([0.16, 0.5, 0.84])`.

        Returns:
            (cluster,) for one level, (level, cluster) for several.

        Raises:
            ValueError: A level is not in [0, 1].
        """
        levels = _checked_levels(level)
        wanted = np.broadcast_to(levels.ravel(), (len(self), levels.size))
        return cells.inverse_cdf(self.grid, self.prob, self.cdf, wanted).T.reshape(*levels.shape, len(self))

    def hdr(self, level: float) -> tuple[Float[np.ndarray, "interval 2"], ...]:
        """Highest-density region of each posterior: the smallest set of masses that holds a share `level` of it.

        Where many masses have the same density, as in a flat posterior, it holds all of them.

        Returns:
            For each cluster the lower and upper ends of its intervals [dex], several where it has several modes.

        Raises:
            ValueError: `level` is not in [0, 1].
        """
        return regions.highest_density(self.grid, self.prob, self.cdf, float(_checked_levels(level)))

    def hdr_level(self, log10_mass: ArrayLike) -> Float[np.ndarray, "cluster"]:
        """Level of the highest-density region on whose edge a mass lies [1]: uniform over clusters when calibrated.

        Args:
            log10_mass: One for each cluster, or one for all [dex]; outside the grid the level is 1.

        Raises:
            ValueError: There are neither one nor as many masses as clusters.
        """
        masses, row = self._one_each(log10_mass), np.arange(len(self))
        cell, t = cells.place(self.grid, masses)
        prob = self.prob
        density = (1 - t) * prob[row, cell] + t * prob[row, cell + 1]
        outside = (masses < self.grid[0]) | (masses > self.grid[-1])
        return np.where(outside, 1.0, regions.share_above(prob, np.diff(self.cdf), density))

    def pit(self, log10_mass: ArrayLike) -> Float[np.ndarray, "cluster"]:
        """Share of each posterior below a mass [1]: uniform over clusters when posteriors are calibrated.

        Args:
            log10_mass: One for each cluster, or one for all [dex].

        Raises:
            ValueError: There are neither one nor as many masses as clusters.
        """
        return cells.share_below(self.grid, self.prob, self.cdf, self._one_each(log10_mass))

    def log_prob_at(self, log10_mass: ArrayLike) -> Float[np.ndarray, "cluster"]:
        """Natural log of each posterior density at a mass [1/dex]; -inf outside the grid.

        Args:
            log10_mass: One for each cluster, or one for all [dex].

        Raises:
            ValueError: There are neither one nor as many masses as clusters.
        """
        return cells.log_prob_at(self.grid, self.log_prob, self._one_each(log10_mass))

    def sample(self, n: int, *, seed: int) -> Float[np.ndarray, "cluster sample"]:
        """Draw log10 masses [dex] by the inverse of the cumulative distribution."""
        level = np.random.default_rng(seed).random((len(self), n))
        return cells.inverse_cdf(self.grid, self.prob, self.cdf, level)

    def _one_each(self, log10_mass: ArrayLike) -> Float[np.ndarray, "cluster"]:
        masses = np.asarray(log10_mass, float)
        if masses.shape not in ((), (len(self),)):
            raise ValueError(f"one mass for each of {len(self)} clusters, or one for all; found shape {masses.shape}.")
        return np.broadcast_to(masses, (len(self),))

    # ---- priors -----------------------------------------------------------------------------------------------------

    def log_likelihood(self) -> Float[np.ndarray, "cluster mass"]:
        """Natural log of p(galaxies | log10 M) up to a constant a cluster: the effective training prior divided out."""
        return self.log_prob - self.log_prior

    def with_prior(self, log_prior: Float[np.ndarray, "mass"]) -> Self:
        """The same clusters under another prior, given on the grid, e.g. the mass function of a test set.

        A prior that is not zero outside the grid is cut off there: a posterior says nothing beyond its training
        prior's support. What a mixture knew of its members' spread is lost.
        """
        log_prob = self.log_likelihood() + log_prior
        return self.from_log_prob(self.grid, log_prob, log_prior=log_prior, names=self.names, leakage=self.leakage)

    # ---- files ------------------------------------------------------------------------------------------------------

    def to_parquet(self, path: str | Path) -> None:
        """Write a row a cluster: name, mean, std, percentiles and log_prob; grid and prior go into the metadata."""
        files.write(self, Path(path))

    @classmethod
    def from_parquet(cls, path: str | Path) -> Self:
        """Read what `to_parquet` wrote; densities come back in float32 precision and are normalised again.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is not Parquet, is damaged, or holds something else.
        """
        return cls.from_log_prob(**files.read(Path(path)))


def _checked_levels(level: ArrayLike) -> Float[np.ndarray, "*level"]:
    levels = np.asarray(level, float)
    bad = levels[~((levels >= 0) & (levels <= 1))]
    if bad.size:
        raise ValueError(f"a level is a share of the probability, from 0 to 1; found {bad[0]}.")
    return levels
