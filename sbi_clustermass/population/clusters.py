"""The clusters that a population is fitted to: mass posteriors, redshifts and further observables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, final

import numpy as np
from jaxtyping import Float

from sbi_clustermass.population.observables import Observed
from sbi_clustermass.posterior import MassPosteriors


@final
@dataclass(frozen=True, eq=False)
class ObservedClusters:
    """Independent clusters: one line of sight for each host halo.

    Attributes:
        posteriors: Mass posteriors; their training prior is divided out. If only observables are known,
            `ObservedClusters.without_masses` makes flat posteriors.
        redshift: Redshift of each cluster [1]; needed for several shells and for relations that evolve.
        observables: Observables of all clusters, by name.

    Raises:
        ValueError: Lengths differ, or a redshift is negative or not finite.
    """

    posteriors: MassPosteriors
    redshift: Float[np.ndarray, "cluster"] | None = None
    observables: Mapping[str, Observed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.posteriors)
        if n == 0:
            raise ValueError("population: no posteriors, so no population. Pass those of at least one cluster.")
        for name, observed in self.observables.items():
            if len(observed) != n:
                raise ValueError(f"population: {len(observed)} values of {name!r} for {n} mass posteriors.")
        if self.redshift is None:
            return
        redshift = np.asarray(self.redshift, float)
        if redshift.shape != (n,) or not (np.isfinite(redshift) & (redshift >= 0)).all():
            raise ValueError(f"population: needs {n} finite redshifts of at least 0, found {self.redshift}.")
        object.__setattr__(self, "redshift", redshift)

    @classmethod
    def without_masses(
        cls,
        observables: Mapping[str, Observed],
        *,
        redshift: Float[np.ndarray, "cluster"] | None = None,
        masses: tuple[float, float] = (13.0, 16.0),
        step: float = 0.01,
    ) -> Self:
        """Make clusters of which only observables are known: their mass posteriors are flat.

        Args:
            observables: Observables of all clusters, by name; at least one.
            redshift: Redshift of each cluster [1].
            masses: Lowest and highest log10 mass that the clusters may have [dex].
            step: Step of the grid of masses [dex].

        Raises:
            ValueError: There are no observables.
        """
        if not observables:
            raise ValueError("population: clusters without masses need at least one observable.")
        grid = np.linspace(*masses, round((masses[1] - masses[0]) / step) + 1)
        n = len(next(iter(observables.values())))
        return cls(MassPosteriors.from_log_prob(grid, np.zeros((n, grid.size))), redshift, observables)

    def __len__(self) -> int:
        return len(self.posteriors)


def as_clusters(clusters: MassPosteriors | ObservedClusters) -> ObservedClusters:
    """Wrap posteriors as clusters of which nothing else is known; `ObservedClusters` are returned unchanged."""
    return clusters if isinstance(clusters, ObservedClusters) else ObservedClusters(clusters)
