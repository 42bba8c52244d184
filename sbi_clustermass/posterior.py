"""Mass posteriors of many clusters on one grid, with the prior they were trained under.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are per dex; `log_` is natural.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from numpy.typing import ArrayLike

from clustermocks.files import replacing

_FORMAT = b"sbi_clustermass.MassPosteriors/1"


@final
@dataclass(frozen=True)
class MassPosteriors:
    """One posterior a cluster, q(log10 M | galaxies), tabulated on a shared mass grid.

    Between grid points a density is linear; integrals use the trapezoid rule.

    Attributes:
        grid: Log10 mass [dex], rising, (mass,).
        log_prob: Natural log of each normalised posterior density [1/dex], (cluster, mass).
        log_prior: Natural log of the effective training prior's density [1/dex], (mass,): the mass density of the
            training set over P(selected | mass). Only its shape matters.
        names: A name for each cluster.
    """

    grid: Float[np.ndarray, "mass"]
    log_prob: Float[np.ndarray, "cluster mass"]
    log_prior: Float[np.ndarray, "mass"]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        shape, size = self.log_prob.shape, self.grid.shape
        if shape != (len(self.names), *size) or self.log_prior.shape != size or np.any(np.diff(self.grid) <= 0):
            raise ValueError(
                f"log_prob {shape} must be (cluster, mass): {len(self.names)} names, rising grid of {size[0]}; "
                f"log_prior {self.log_prior.shape} must match the grid."
            )

    @classmethod
    def from_log_prob(
        cls,
        grid: Float[np.ndarray, "mass"],
        log_prob: Float[np.ndarray, "cluster mass"],
        *,
        log_prior: Float[np.ndarray, "mass"] | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Self:
        """Normalise densities on the grid; a missing prior is flat.

        Raises:
            ValueError: A cluster's density is zero or not finite everywhere.
        """
        grid, log_prob = np.asarray(grid, float), np.asarray(log_prob, float)
        peak = log_prob.max(axis=1, keepdims=True)
        bad = np.flatnonzero(~np.isfinite(peak[:, 0]))
        if bad.size:
            raise ValueError(f"{bad.size} posteriors are zero or not finite on the whole grid, first at row {bad[0]}.")
        area = np.log(np.trapezoid(np.exp(log_prob - peak), grid, axis=1))[:, None] + peak
        flat = np.full(grid.shape, -np.log(grid[-1] - grid[0]))
        names = tuple(str(i) for i in range(len(log_prob))) if names is None else names
        return cls(grid, log_prob - area, flat if log_prior is None else log_prior, names)

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

    def __repr__(self) -> str:
        return f"MassPosteriors({len(self)} clusters on {self.grid.size} masses, {self.grid[0]:g} to {self.grid[-1]:g})"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, which: ArrayLike | slice) -> Self:
        """Some of the clusters, by index, slice or mask."""
        rows = np.atleast_1d(np.arange(len(self))[which if isinstance(which, slice) else np.asarray(which)])
        return replace(self, log_prob=self.log_prob[rows], names=tuple(self.names[i] for i in rows))

    # ---- summaries, each (cluster,) ---------------------------------------------------------------------------------

    @property
    def prob(self) -> Float[np.ndarray, "cluster mass"]:
        """Posterior density [1/dex]."""
        return np.exp(self.log_prob)

    @property
    def mean(self) -> Float[np.ndarray, "cluster"]:
        """Posterior mean of log10 mass [dex]: the point estimate."""
        return np.trapezoid(self.prob * self.grid, self.grid, axis=1)

    @property
    def std(self) -> Float[np.ndarray, "cluster"]:
        """Posterior standard deviation of log10 mass [dex]."""
        offset = self.grid - self.mean[:, None]
        return np.sqrt(np.trapezoid(self.prob * offset**2, self.grid, axis=1))

    @property
    def mode(self) -> Float[np.ndarray, "cluster"]:
        """Grid point of highest density [dex]."""
        return self.grid[self.log_prob.argmax(axis=1)]

    def quantile(self, level: float) -> Float[np.ndarray, "cluster"]:
        """Log10 mass below which a share `level` of the posterior lies [dex].

        Raises:
            ValueError: `level` is not in [0, 1].
        """
        if not 0 <= level <= 1:
            raise ValueError(f"a quantile's level lies in [0, 1], got {level}.")
        return self._inverse_cdf(np.full((len(self), 1), level))[:, 0]

    def pit(self, log10_mass: Float[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster"]:
        """Share of each posterior below a mass [1]: uniform over clusters when posteriors are calibrated."""
        cdf = self._cdf
        return np.array([np.interp(m, self.grid, row) for m, row in zip(log10_mass, cdf, strict=True)])

    def sample(self, n: int, *, seed: int) -> Float[np.ndarray, "cluster sample"]:
        """Draw log10 masses [dex] by the inverse of the cumulative distribution."""
        return self._inverse_cdf(np.random.default_rng(seed).random((len(self), n)))

    @property
    def _cdf(self) -> Float[np.ndarray, "cluster mass"]:
        prob = self.prob
        steps = 0.5 * (prob[:, 1:] + prob[:, :-1]) * np.diff(self.grid)
        cdf = np.concatenate([np.zeros((len(prob), 1)), np.cumsum(steps, axis=1)], axis=1)
        return cdf / cdf[:, -1:]

    def _inverse_cdf(self, level: Float[np.ndarray, "cluster n"]) -> Float[np.ndarray, "cluster n"]:
        cdf = self._cdf
        return np.stack([np.interp(row, c, self.grid) for row, c in zip(level, cdf, strict=True)])

    # ---- priors -----------------------------------------------------------------------------------------------------

    def log_likelihood(self) -> Float[np.ndarray, "cluster mass"]:
        """Natural log of p(galaxies | log10 M) up to a constant a cluster: the effective training prior divided out."""
        return self.log_prob - self.log_prior

    def with_prior(self, log_prior: Float[np.ndarray, "mass"]) -> Self:
        """The same clusters under another prior, given on the grid, e.g. the mass function of a test set.

        A prior that is not zero outside the grid is cut off there: a posterior says nothing beyond its training
        prior's support.
        """
        fresh = MassPosteriors.from_log_prob(self.grid, self.log_likelihood() + log_prior)
        return replace(self, log_prob=fresh.log_prob, log_prior=np.asarray(log_prior, float))

    # ---- files ------------------------------------------------------------------------------------------------------

    def to_parquet(self, path: str | Path) -> None:
        """Write a row a cluster: name, mean, std, percentiles and log_prob; grid and prior go into the metadata."""
        columns = {"name": list(self.names), "log10_mass_mean": self.mean, "log10_mass_std": self.std}
        columns |= {f"log10_mass_p{level}": self.quantile(level / 100) for level in (16, 50, 84)}
        width = self.grid.size
        values = pa.array(self.log_prob.ravel(), pa.float32())
        table = pa.table({**columns, "log_prob": pa.FixedSizeListArray.from_arrays(values, width)})
        header = {b"format": _FORMAT, b"grid": self.grid.astype("<f8").tobytes()}
        header[b"log_prior"] = self.log_prior.astype("<f8").tobytes()
        with replacing(Path(path)) as temporary:
            pq.write_table(table.replace_schema_metadata(header), temporary, compression="zstd")

    @classmethod
    def from_parquet(cls, path: str | Path) -> Self:
        """Read what `to_parquet` wrote; densities come back in float32 precision and are normalised again.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is not Parquet, is damaged, or holds something else.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"{path}: no such file.")
        try:
            table = pq.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{path}: not a readable Parquet file, or damaged ({error}).") from error
        header = table.schema.metadata or {}
        if header.get(b"format") != _FORMAT:
            raise ValueError(f"{path}: a Parquet file, but not mass posteriors of a format this version reads.")
        grid, log_prior = (np.frombuffer(header[key], "<f8") for key in (b"grid", b"log_prior"))
        log_prob = table["log_prob"].combine_chunks().flatten().to_numpy().reshape(-1, grid.size)
        names = tuple(table["name"].to_pylist())
        return cls.from_log_prob(grid, log_prob.astype(float), log_prior=log_prior, names=names)
