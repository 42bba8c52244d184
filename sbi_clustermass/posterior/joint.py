"""Joint posteriors of several parameters of many clusters, as samples, and what follows from each sample.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s]; `log_` is natural.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from clustermocks.haloes import nfw
from clustermocks.haloes.cosmology import MDPL2, Cosmology
from clustermocks.io.paths import as_path
from clustermocks.io.registry import lookup
from sbi_clustermass.posterior import exports, parquet
from sbi_clustermass.posterior.indexing import row_indices
from sbi_clustermass.posterior.posteriors import checked_levels

if TYPE_CHECKING:
    from arviz import InferenceData
    from getdist import MCSamples

_ROUNDING = 1e-5  # of the support's width, by which float32 may lie outside
_PERCENTILES = {"p16": 0.16, "p50": 0.5, "p84": 0.84}


@final
@dataclass(frozen=True, eq=False)
class Posteriors:
    """Independent samples from one joint posterior per cluster, q(theta | galaxies), inside a box.

    Attributes:
        parameters: Names of the parameters, such as log10_mass [dex], log10_c200c [dex] and beta [1].
        samples: Samples, all of equal weight, (cluster, sample, parameter).
        low: Lower ends of the support, (parameter,).
        high: Upper ends of the support, (parameter,).
        names: Name of each cluster.
        log_prob: Natural log of the joint density at each sample, normalised inside the support, (cluster, sample).
        redshift: Redshift of each cluster, which radii and velocities need, (cluster,).

    Example:
        >>> rng = np.random.default_rng(1)
        >>> samples = np.stack([rng.normal(14.5, 0.1, (1, 1000)), rng.normal(0.6, 0.1, (1, 1000))], axis=-1)
        >>> one = Posteriors(
        ...     ("log10_mass", "log10_c200c"), samples, np.array([13.0, 0.0]), np.array([16.0, 1.5]), ("Coma",)
        ... )
        >>> one.mean.round(1)
        array([[14.5,  0.6]])
        >>> np.median(one.log10_m500c, axis=1).round(1)
        array([14.3])
    """

    parameters: tuple[str, ...]
    samples: Float[np.ndarray, "cluster sample parameter"]
    low: Float[np.ndarray, "parameter"]
    high: Float[np.ndarray, "parameter"]
    names: tuple[str, ...]
    log_prob: Float[np.ndarray, "cluster sample"] | None = None
    redshift: Float[np.ndarray, "cluster"] | None = None

    def __post_init__(self) -> None:
        n, size, shape = len(self.names), len(self.parameters), self.samples.shape
        fits = len(shape) == 3 and shape[::2] == (n, size) and shape[1] > 1
        fits &= self.low.shape == self.high.shape == (size,) and bool(np.all(self.low < self.high))
        fits &= self.log_prob is None or self.log_prob.shape == shape[:2]
        fits &= self.redshift is None or self.redshift.shape == (n,)
        if not fits:
            raise ValueError(
                f"samples {shape} must be (cluster, sample, parameter): {n} names, parameters {self.parameters}, two "
                f"samples or more; log_prob (cluster, sample), redshift (cluster,), and low {self.low} below high "
                f"{self.high}, (parameter,)."
            )
        slack = _ROUNDING * (self.high - self.low)
        outside = ~((self.samples >= self.low - slack) & (self.samples <= self.high + slack)).all(axis=2)
        if outside.any():
            raise ValueError(
                f"{outside.sum()} samples are not finite or outside the support {self.low} to {self.high} of "
                f"{', '.join(self.parameters)}, first of cluster {self.names[np.argwhere(outside)[0, 0]]!r}."
            )

    def __repr__(self) -> str:
        return f"Posteriors({len(self)} clusters, {self.samples.shape[1]} samples of {', '.join(self.parameters)})"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, which: ArrayLike | slice | str) -> Self:
        """Select clusters by name, position, slice or mask; a list of names or positions keeps its order.

        Raises:
            KeyError: No cluster has that name.
            IndexError: A position is out of range, or a mask has another length.
        """
        rows = row_indices(which, self.names)
        return replace(
            self,
            samples=self.samples[rows],
            names=tuple(self.names[i] for i in rows),
            log_prob=None if self.log_prob is None else self.log_prob[rows],
            redshift=None if self.redshift is None else self.redshift[rows],
        )

    def column(self, name: str) -> Float[np.ndarray, "cluster sample"]:
        """Samples of one parameter.

        Raises:
            ValueError: There is no such parameter.
        """
        return self.samples[..., lookup("parameter", name, {each: i for i, each in enumerate(self.parameters)})]

    # ---- summaries --------------------------------------------------------------------------------------------------

    @property
    def mean(self) -> Float[np.ndarray, "cluster parameter"]:
        """Posterior mean of each parameter."""
        return self.samples.mean(axis=1, dtype=float)

    @property
    def std(self) -> Float[np.ndarray, "cluster parameter"]:
        """Posterior standard deviation of each parameter."""
        return self.samples.std(axis=1, ddof=1, dtype=float)

    @property
    def covariance(self) -> Float[np.ndarray, "cluster parameter parameter"]:
        """Posterior covariance of the parameters."""
        centred = self.samples - self.mean[:, None]
        return np.einsum("csp,csq->cpq", centred, centred) / (self.samples.shape[1] - 1)

    def quantile(self, level: ArrayLike) -> Float[np.ndarray, "*level cluster parameter"]:
        """Values below which a share `level` of each marginal posterior lies.

        Args:
            level: One level in [0, 1], or several: `low, middle, high = posteriors.quantile([0.16, 0.5, 0.84])`.

        Returns:
            (cluster, parameter) for one level, (level, cluster, parameter) for several.

        Raises:
            ValueError: A level is not in [0, 1].
        """
        return np.quantile(self.samples, checked_levels(level), axis=1)

    # ---- what follows from the mass and the concentration of each sample --------------------------------------------

    @property
    def log10_m500c(self) -> Float[np.ndarray, "cluster sample"]:
        """Log10 M500c [dex, h^-1 Msun] of each sample, from its log10_mass and log10_c200c."""
        return self.column("log10_mass") + np.log10(nfw.mass_ratio(10.0 ** self.column("log10_c200c"), 500))

    def radius_500c(self, cosmology: Cosmology = MDPL2) -> Float[np.ndarray, "cluster sample"]:
        """r500c of each sample [comoving h^-1 Mpc]; divided by h (1 + z) it is in physical Mpc."""
        return nfw.radius_500c(*self._haloes(), cosmology)

    def enclosed_mass(
        self, radius: Float[np.ndarray, "radius"], cosmology: Cosmology = MDPL2
    ) -> Float[np.ndarray, "cluster sample radius"]:
        """Mass inside spheres, M(< r) [h^-1 Msun], of each sample.

        Args:
            radius: Radii [comoving h^-1 Mpc].
            cosmology: Background, of r200c.

        Example:
            >>> band = np.quantile(posteriors.enclosed_mass(radius), [0.16, 0.5, 0.84], axis=1)  # doctest: +SKIP
        """
        mass, c_200c, redshift = (each[..., None] for each in self._haloes())
        return nfw.enclosed_mass(radius, mass, c_200c, redshift, cosmology)

    def escape_velocity(
        self, radius: Float[np.ndarray, "radius"], cosmology: Cosmology = MDPL2
    ) -> Float[np.ndarray, "cluster sample radius"]:
        """Velocity that escapes to infinity from radii [comoving h^-1 Mpc], of each sample [km/s]."""
        mass, c_200c, redshift = (each[..., None] for each in self._haloes())
        return nfw.escape_velocity(radius, mass, c_200c, redshift, cosmology)

    def _haloes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """M200c [h^-1 Msun], c200c [1] and redshift [1], each (cluster, sample) or (cluster, 1)."""
        if self.redshift is None:
            raise ValueError("radii and velocities need the clusters' redshifts; these posteriors have none.")
        return 10.0 ** self.column("log10_mass"), 10.0 ** self.column("log10_c200c"), self.redshift[:, None]

    # ---- files and other libraries ----------------------------------------------------------------------------------

    def to_parquet(self, path: str | Path) -> None:
        """Write one row per cluster: name, redshift, mean, std and percentiles of each parameter, and its samples."""
        columns: dict[str, Any] = {"name": list(self.names)}
        columns |= {} if self.redshift is None else {"redshift": self.redshift}
        summaries = {"mean": self.mean, "std": self.std}
        summaries |= dict(zip(_PERCENTILES, self.quantile(list(_PERCENTILES.values())), strict=True))
        for i, name in enumerate(self.parameters):
            columns |= {f"{name}_{what}": values[:, i] for what, values in summaries.items()}
        support = {name: (float(a), float(b)) for name, a, b in zip(self.parameters, self.low, self.high, strict=True)}
        parquet.write_samples(as_path(path), columns, support=support, samples=self.samples, log_prob=self.log_prob)

    @classmethod
    def from_parquet(cls, path: str | Path) -> Self:
        """Read what `to_parquet` wrote.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is not Parquet, is damaged, or holds something else.
        """
        return cls(**parquet.read_samples(as_path(path)))

    def to_arviz(self) -> "InferenceData":
        """All clusters as `arviz.InferenceData`, one chain: posterior with dimension cluster, sample_stats with lp."""
        return exports.to_arviz(self.parameters, self.names, self.samples, self.log_prob)

    def to_getdist(self, cluster: str | int) -> "MCSamples":
        """One cluster, by name or position, as `getdist.MCSamples` that knows labels and the support's ends."""
        one, support = self[cluster], zip(self.low, self.high, strict=True)
        log_prob = None if one.log_prob is None else one.log_prob[0]
        ranges = dict(zip(self.parameters, support, strict=True))
        return exports.to_getdist(one.samples[0], log_prob, ranges, one.names[0])

    def to_chainconsumer(self, cluster: str | int) -> Any:
        """One cluster, by name or position, as `chainconsumer.Chain` (`pip install "sbi-clustermass[chains]"`)."""
        one = self[cluster]
        log_prob = None if one.log_prob is None else one.log_prob[0]
        return exports.to_chainconsumer(self.parameters, one.samples[0], log_prob, one.names[0])
