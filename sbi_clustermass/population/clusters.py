"""The clusters that a population is fitted to: mass posteriors, redshifts and further observables."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, final

import numpy as np
from jaxtyping import Float

from clustermocks.io.registry import lookup
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
        repeated: What to do with several clusters of one name, which are the same halo: "refuse" them, or "weight" each
            line of sight by the inverse of their number. Taken for different haloes they would halve errors.

    Raises:
        ValueError: Lengths differ, a redshift is negative or not finite, or names repeat and are to be refused.
    """

    posteriors: MassPosteriors
    redshift: Float[np.ndarray, "cluster"] | None = None
    observables: Mapping[str, Observed] = field(default_factory=dict)
    repeated: Literal["refuse", "weight"] = "refuse"

    def __post_init__(self) -> None:
        n = len(self.posteriors)
        if n == 0:
            raise ValueError("population: no posteriors, so no population. Pass those of at least one cluster.")
        for name, observed in self.observables.items():
            if not hasattr(observed, "log_likelihood"):
                kind = type(observed).__name__
                raise TypeError(f"population: {name!r} is a {kind}.\n  try:    Observable(values, errors)")
            if len(observed) != n:
                raise ValueError(f"population: {len(observed)} values of {name!r} for {n} mass posteriors.")
        self._refuse_repeated()
        if self.redshift is None:
            return
        object.__setattr__(self, "redshift", _checked_redshifts(self.redshift, n))

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

    @property
    def weights(self) -> Float[np.ndarray, "cluster"]:
        """Weight of each cluster in the likelihood: 1 over the number of clusters of its name [1]."""
        number = Counter(self.posteriors.names)
        return np.array([1 / number[name] for name in self.posteriors.names])

    def _refuse_repeated(self) -> None:
        lookup("treatment of repeated clusters", self.repeated, dict.fromkeys(("refuse", "weight")))
        number = Counter(self.posteriors.names)
        if self.repeated == "refuse" and len(number) < len(self):
            name, times = number.most_common(1)[0]
            raise ValueError(
                f"population: {len(self)} clusters have {len(number)} names; {name!r} comes {times} times. Several "
                "lines of sight to one halo are not independent, and would make errors too small.\n"
                '  try:    one of each, or repeated="weight"'
            )


def as_clusters(clusters: MassPosteriors | ObservedClusters) -> ObservedClusters:
    """Wrap posteriors as clusters of which nothing else is known; `ObservedClusters` are returned unchanged."""
    return clusters if isinstance(clusters, ObservedClusters) else ObservedClusters(clusters)


def _checked_redshifts(given: object, n: int) -> Float[np.ndarray, "cluster"]:
    redshift = np.asarray(given, float)
    if redshift.shape != (n,):
        raise ValueError(f"population: needs {n} redshifts, one for each cluster, found shape {redshift.shape}.")
    bad = np.flatnonzero(~(np.isfinite(redshift) & (redshift >= 0)))
    if bad.size:
        raise ValueError(
            f"population: {bad.size} of {n} redshifts are negative or not finite, the first {redshift[bad[0]]} in row "
            f"{bad[0]}.\n  try:    leave these clusters out"
        )
    return redshift
