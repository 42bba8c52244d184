"""Mass posteriors of many clusters on one grid, with the prior they were trained under.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are per dex; `log_` is natural.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from clustermocks.io.paths import as_path
from sbi_clustermass.posterior import hdr, modes, parquet, tabulated
from sbi_clustermass.posterior.estimates import checked_estimates
from sbi_clustermass.posterior.indexing import row_indices

_PERCENTILES = ("log10_mass_p16", "log10_mass_p50", "log10_mass_p84")


@final
@dataclass(frozen=True, eq=False)
class MassPosteriors:
    """One posterior per cluster, q(log10 M | galaxies), tabulated on a shared mass grid.

    Integrals interpolate the log density between two masses by a cubic, which is exact for a (truncated) Gaussian. On
    256 masses over 2.6 dex, take a Gaussian of width .03 to .5 dex, anywhere in the grid or piled up at its edge (its
    centre up to two widths outside): likelihood, mean and std are right to 1e-8, quantiles to 1e-4 dex, and the PIT to
    3e-4, at the edge 3e-3. Where the table does not resolve a density, it is linear between masses. Samples,
    quantiles and PIT follow one distribution exactly: in each cell the density is linear, scaled to the cell's
    probability.

    Attributes:
        grid: Log10 mass [dex], rising, (mass,).
        log_prob: Natural log of each normalised posterior density [1/dex], (cluster, mass).
        log_prior: Natural log of the effective training prior's density [1/dex], (mass,): the mass density of the
            training set over P(selected | mass). Only its shape matters.
        names: Name of each cluster.
        epistemic_std: Standard deviation between the means of a `mixture`'s members [dex], (cluster,); None for a
            single network.
        leakage: Mean share of the probability that the estimator put outside its prior's support, and that was cut
            off; 0 for an estimator trained with this truncation. A population fit refuses more than 1 %.
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
    def from_normal(
        cls, mean: ArrayLike, std: ArrayLike, grid: Float[np.ndarray, "mass"], *, names: Sequence[str] | None = None
    ) -> Self:
        """Gaussian mass estimates from elsewhere (lensing, X-ray), read as posteriors under a flat prior on the grid.

        Args:
            mean: Log10 mass [dex], (cluster,).
            std: Error [dex], (cluster,), or one for all: .434 of a relative error.
            grid: Log10 mass [dex], (mass,).
            names: Name of each cluster, by which `combined` matches them; their numbers by default.

        Raises:
            ValueError: A value is not finite, an error not positive or wider than the grid, or an estimate further from
                the grid than it is wide: masses and errors are not in dex.
        """
        grid = np.asarray(grid, float)
        mean, std = checked_estimates(mean, std, grid)
        log_prob = -0.5 * ((grid - mean[:, None]) / std[:, None]) ** 2
        return cls.from_log_prob(grid, log_prob, names=None if names is None else tuple(names))

    @classmethod
    def mixture(cls, members: Sequence["MassPosteriors"], weights: ArrayLike | None = None) -> "MassPosteriors":
        """The members of an ensemble as one posterior per cluster: the weighted sum of their densities.

        Args:
            members: Posteriors of the same clusters, on one grid, under one effective prior.
            weights: Weight of each member; equal by default, need not sum to 1.

        Returns:
            The mixture, with the standard deviation between members in `epistemic_std`: its variance is
            epistemic_std^2 + the members' weighted mean variance.

        Raises:
            ValueError: There are no members, they differ in clusters, grid or prior, or a weight is invalid.
        """
        _check_members(members)
        share = _normalised_weights(weights, len(members))
        means = np.stack([member.mean for member in members])
        return replace(
            members[0],
            log_prob=tabulated.log_mixture([member.log_prob for member in members], share),
            epistemic_std=np.sqrt(share @ (means - share @ means) ** 2),
            leakage=float(share @ [member.leakage for member in members]),
        )

    def __repr__(self) -> str:
        return f"MassPosteriors({len(self)} clusters on {self.grid.size} masses, {self.grid[0]:g} to {self.grid[-1]:g})"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, which: ArrayLike | slice | str) -> Self:
        """Select clusters by name, position, slice or mask; a list of names or positions keeps its order.

        Raises:
            KeyError: No cluster has that name.
            IndexError: A position is out of range, or a mask has another length.
        """
        rows = row_indices(which, self.names)
        spread = None if self.epistemic_std is None else self.epistemic_std[rows]
        names = tuple(self.names[i] for i in rows)
        return replace(self, log_prob=self.log_prob[rows], names=names, epistemic_std=spread)

    # ---- summaries, each (cluster,) ---------------------------------------------------------------------------------

    @cached_property
    def _integrals(self) -> tabulated.Integrals:
        return tabulated.integrate(self.grid, self.log_prob)

    @property
    def prob(self) -> Float[np.ndarray, "cluster mass"]:
        """Posterior density [1/dex]."""
        return np.exp(self.log_prob)

    @property
    def cdf(self) -> Float[np.ndarray, "cluster mass"]:
        """Cumulative distribution of each posterior at each mass of the grid [1]."""
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
        return tabulated.modes(self.grid, self.log_prob)

    def two_modes(self) -> modes.TwoModes:
        """Medians and shares of two modes, where a posterior has two that a deep dip separates; NaN where it has one.

        Example:
            >>> low, high, low_share = posteriors.two_modes()  # doctest: +SKIP
        """
        return modes.two_modes(self.grid, self.prob, self.cdf)

    def quantile(self, level: ArrayLike) -> Float[np.ndarray, "*level cluster"]:
        """Log10 mass below which a share `level` of each posterior lies [dex].

        Args:
            level: One level in [0, 1], or several: `low, middle, high = posteriors.quantile([0.16, 0.5, 0.84])`.

        Returns:
            (cluster,) for one level, (level, cluster) for several.

        Raises:
            ValueError: A level is not in [0, 1].
        """
        levels = checked_levels(level)
        wanted = np.broadcast_to(levels.ravel(), (len(self), levels.size))
        return tabulated.inverse_cdf(self.grid, self.prob, self.cdf, wanted).T.reshape(*levels.shape, len(self))

    def hdr(self, level: float) -> tuple[Float[np.ndarray, "interval 2"], ...]:
        """Highest-density region of each posterior: the smallest set of masses that holds a share `level` of it.

        Where many masses have the same density, as in a flat posterior, it holds all of them.

        Returns:
            For each cluster the lower and upper ends of its intervals [dex], several where it has several modes.

        Raises:
            ValueError: `level` is not in [0, 1].
        """
        return hdr.highest_density(self.grid, self.prob, self.cdf, float(checked_levels(level)))

    def hdr_level(self, log10_mass: ArrayLike) -> Float[np.ndarray, "cluster"]:
        """Level of the highest-density region on whose edge a mass lies [1]: uniform over clusters when calibrated.

        Args:
            log10_mass: One mass per cluster, or one for all [dex]; outside the grid the level is 1.

        Raises:
            ValueError: The number of masses is neither one nor that of the clusters.
        """
        return hdr.level_at(self.grid, self.prob, self.cdf, self._one_each(log10_mass))

    def pit(self, log10_mass: ArrayLike) -> Float[np.ndarray, "cluster"]:
        """Share of each posterior below a mass [1]: uniform over clusters when posteriors are calibrated.

        Args:
            log10_mass: One mass per cluster, or one for all [dex].

        Raises:
            ValueError: The number of masses is neither one nor that of the clusters.
        """
        return tabulated.cdf_at(self.grid, self.prob, self.cdf, self._one_each(log10_mass))

    def log_prob_at(self, log10_mass: ArrayLike) -> Float[np.ndarray, "cluster"]:
        """Natural log of each posterior density at a mass [1/dex]; -inf outside the grid.

        Args:
            log10_mass: One mass per cluster, or one for all [dex].

        Raises:
            ValueError: The number of masses is neither one nor that of the clusters.
        """
        return tabulated.log_prob_at(self.grid, self.log_prob, self._one_each(log10_mass))

    def sample(self, n: int, *, seed: int) -> Float[np.ndarray, "cluster sample"]:
        """Draw log10 masses [dex] by the inverse of the cumulative distribution."""
        level = np.random.default_rng(seed).random((len(self), n))
        return tabulated.inverse_cdf(self.grid, self.prob, self.cdf, level)

    def stratified(self, n: int, seeds: Sequence[int]) -> Float[np.ndarray, "cluster n"]:
        """Draw one log10 mass [dex] from each nth part of each posterior, in random order.

        Args:
            n: Number of masses of each cluster.
            seeds: Seed of each cluster, so that its masses do not depend on the others.
        """
        rngs = map(np.random.default_rng, seeds)
        level = np.stack([(rng.permutation(n) + rng.random(n)) / n for rng in rngs])
        return tabulated.inverse_cdf(self.grid, self.prob, self.cdf, level)

    def _one_each(self, log10_mass: ArrayLike) -> Float[np.ndarray, "cluster"]:
        masses = np.asarray(log10_mass, float)
        if masses.shape not in ((), (len(self),)):
            raise ValueError(f"one mass for each of {len(self)} clusters, or one for all; found shape {masses.shape}.")
        return np.broadcast_to(masses, (len(self),))

    # ---- priors -----------------------------------------------------------------------------------------------------

    def log_likelihood(self) -> Float[np.ndarray, "cluster mass"]:
        """Natural log of p(galaxies | log10 M) up to a constant per cluster: posterior over effective prior."""
        return self.log_prob - self.log_prior

    def with_prior(self, log_prior: Float[np.ndarray, "mass"]) -> Self:
        """The same clusters under another prior, given on the grid, e.g. the mass function of a test set.

        A prior that is not zero outside the grid is cut off there: a posterior says nothing beyond its training
        prior's support. The result has no `epistemic_std`.
        """
        log_prob = self.log_likelihood() + log_prior
        return self.from_log_prob(self.grid, log_prob, log_prior=log_prior, names=self.names, leakage=self.leakage)

    # ---- files ------------------------------------------------------------------------------------------------------

    def to_parquet(self, path: str | Path) -> None:
        """Write one row per cluster: name, mean, std, percentiles and log_prob; the metadata hold grid and prior."""
        with parquet.mass_file(as_path(path)) as add:
            add(self.rows())

    def rows(self) -> parquet.MassRows:
        """Rows of a file that is written part by part."""
        columns: dict[str, Any] = {
            "name": list(self.names), "log10_mass_mean": self.mean, "log10_mass_std": self.std,
            **dict(zip(_PERCENTILES, self.quantile([0.16, 0.5, 0.84]), strict=True)),
        }  # fmt: skip
        if self.epistemic_std is not None:
            columns[parquet.EPISTEMIC] = self.epistemic_std
        return parquet.MassRows(columns, self.grid, self.log_prob, self.log_prior, self.leakage)

    @classmethod
    def from_parquet(cls, path: str | Path) -> Self:
        """Read what `to_parquet` wrote; densities come back in float32 precision and are normalised again.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is not Parquet, is damaged, or holds something else.
        """
        return cls.from_log_prob(**parquet.read(as_path(path)))


def checked_levels(level: ArrayLike) -> Float[np.ndarray, "*level"]:
    """Levels as an array; one that is not in [0, 1] is refused."""
    levels = np.asarray(level, float)
    bad = levels[~((levels >= 0) & (levels <= 1))]
    if bad.size:
        raise ValueError(f"a level is a share of the probability, from 0 to 1; found {bad[0]}.")
    return levels


def _normalised_weights(weights: ArrayLike | None, n: int) -> Float[np.ndarray, "member"]:
    given = np.ones(n) if weights is None else np.asarray(weights, float)
    if given.shape != (n,) or not np.isfinite(given).all() or (given < 0).any() or not given.sum() > 0:
        raise ValueError(f"a mixture of {n} needs {n} weights of at least 0, not all of them 0; found {weights!r}.")
    return given / given.sum()


def _check_members(members: Sequence[MassPosteriors]) -> None:
    """Refuse members that are not the same clusters, on one grid, under one prior."""
    if not members:
        raise ValueError("a mixture needs at least one member; the list is empty.")
    first = members[0]
    for i, other in enumerate(members[1:], 1):
        if not np.array_equal(other.grid, first.grid):
            raise ValueError(f"mixture: member {i} is on another grid ({other!r}) than member 0 ({first!r}).")
        if other.names != first.names:
            raise ValueError(f"mixture: member {i} is of other clusters than member 0, or in another order.")
        shapes = (each.log_prior - each.log_prior.max() for each in (other, first))
        if not np.allclose(*shapes, rtol=0, atol=1e-6, equal_nan=True):
            raise ValueError(
                f"mixture: member {i} has another effective prior than member 0, so their mixture has none.\n"
                "  try:    member.with_prior(members[0].log_prior) for each member"
            )
