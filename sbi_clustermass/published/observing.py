"""Mock clusters seen through incomplete and imprecise spectroscopy, once and for all.

`Augmentation` draws this anew at every weight update; drawn once, what an embedding without weights makes of the
galaxies need be computed only once, which trains several times faster. Velocities in [km/s].
"""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from clustermocks import Catalogue
from clustermocks.columns import GALAXY_TYPES
from clustermocks.ragged import with_column


@final
@dataclass(frozen=True)
class Spectroscopy:
    """Which galaxies have velocities, and how good these are.

    Attributes:
        completeness: Lowest and highest share of a cluster's galaxies with a velocity [1], drawn evenly.
        velocity_error: Smallest and largest standard deviation of a cluster's velocity errors [km/s], drawn evenly.
    """

    completeness: tuple[float, float] = (0.2, 1.0)
    velocity_error: tuple[float, float] = (0.0, 150.0)

    def __post_init__(self) -> None:
        for name, most in (("completeness", 1.0), ("velocity_error", 5000.0)):
            low, high = getattr(self, name)
            if not 0 <= low <= high <= most:
                raise ValueError(f"Spectroscopy: {name} is ({low}, {high}); it rises from 0 to {most:g} at most.")

    def observe(self, mocks: Catalogue, *, seed: int) -> Catalogue:
        """Thin every cluster and blur its velocities; those left with too few galaxies become attempts only.

        A galaxy that an error carries beyond the velocity cut is lost. The effective prior stays what it was, as
        `Augmentation` explains, because attempts count the galaxies that are left.

        Args:
            mocks: Mock clusters, all of the attempts that passed the cut in their order.
            seed: Of all that is drawn.

        Raises:
            ValueError: Clusters were taken out of the catalogue, or put into another order.
        """
        rng, n = np.random.default_rng(seed), len(mocks)
        share, size = rng.uniform(*self.completeness, n), rng.uniform(*self.velocity_error, n)
        cluster = np.repeat(np.arange(n), mocks.n_galaxies)
        v_los = mocks.galaxy_column("v_los") + size[cluster] * rng.standard_normal(len(cluster))
        seen = (rng.random(len(cluster)) < share[cluster]) & (np.abs(v_los) < mocks.observation.v_cut)
        return replace(
            _with_galaxies(mocks, v_los, seen, np.bincount(cluster[seen], minlength=n)), metadata=self._told(mocks)
        )

    def _told(self, mocks: Catalogue) -> dict[str, str]:
        """What the catalogue tells of itself; the ranges are read again where warnings are made."""
        ranges = {"completeness_range": self.completeness, "velocity_error_range": self.velocity_error}
        return {**mocks.metadata, **{name: f"{low:g} to {high:g}" for name, (low, high) in ranges.items()}}


def _with_galaxies(
    mocks: Catalogue,
    v_los: Float[np.ndarray, "galaxy"],
    seen: Bool[np.ndarray, "galaxy"],
    left: Int[np.ndarray, "cluster"],
) -> Catalogue:
    """The clusters with those of their galaxies that are seen, and the attempts with their numbers."""
    columns = {name: mocks.galaxy_column(name) for name in ("R_proj", "is_member") if name in mocks.columns}
    thinned = Catalogue.from_arrays(
        mocks.observation,
        mocks.cosmology,
        clusters={name: mocks.column(name) for name in mocks.columns if name not in GALAXY_TYPES},
        galaxies={name: values[seen] for name, values in (columns | {"v_los": v_los}).items()},
        offsets=np.concatenate([[0], np.cumsum(left)]),
    )
    counts, passed = mocks.attempts["n_galaxies"].to_numpy().copy(), mocks._attempted_selected()
    if not np.array_equal(mocks.attempts["host_id"].to_numpy()[passed], mocks.host_id):
        raise ValueError("Spectroscopy.observe: these are not all the mocks that were kept, in their order.")
    counts[passed] = left
    return replace(thinned, attempts=with_column(mocks.attempts, "n_galaxies", pa.array(counts)))
