"""Mocks to hold data against: how many galaxies, how far out and how fast, in clusters that move like them.

Masses are M200c [h^-1 Msun], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self, final

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from clustermocks import Catalogue, Cosmology, FlatMasses, HaloModel, Observation
from clustermocks.perturbations import Cleaning, cleaned, thinned
from sbi_clustermass.tailored.features import Features, features

_LOW, _HIGH = 13.0, 15.6  # dex
_LIKE = 40  # mocks that a cluster is held against: 3 % of them, a tenth of a dex in mass
_FEWEST = 200  # mocks left after a thinning, below which it is not thinned further


@final
@dataclass(frozen=True, eq=False)
class Reference:
    """Mocks in which every galaxy down to the default density has a redshift, and the same thinned.

    Attributes:
        mocks: All galaxies.
        cleaning: How interlopers are removed from the thinned ones; None for not at all.
        share: Of the galaxies in the thinned ones [1].
        seen: Features of the thinned ones.
        complete: Number of galaxies of the same clusters, cleaned likewise, before the thinning, (cluster,).
    """

    mocks: Catalogue
    cleaning: Cleaning | None
    share: float
    seen: Features
    complete: Float[np.ndarray, "cluster"]
    _tree: KDTree = field(repr=False)

    @classmethod
    def simulate(
        cls, observation: Observation, cosmology: Cosmology, *, n: int, seed: int, cleaning: Cleaning | None = None
    ) -> Self:
        """Simulate mocks as `HaloModel()` makes them, flat in log10 mass.

        Args:
            observation: Redshift and cylinder.
            cosmology: Of distances and haloes.
            n: Number of mocks.
            seed: Of masses and mocks.
            cleaning: How interlopers are removed, as in `diagnostics.perturb.cleaned`.
        """
        return cls._of(_simulated(observation, cosmology, n, seed), cleaning, 1.0)

    @classmethod
    def _of(cls, mocks: Catalogue, cleaning: Cleaning | None, share: float) -> Self:
        whole, some = mocks, mocks if share >= 1 else thinned(mocks, share, seed=1)
        if cleaning is not None:
            whole, some = cleaned(whole, cleaning), cleaned(some, cleaning)
            some = some.select(np.flatnonzero(np.isin(some.host_id, whole.host_id)))
        if len(some) < _FEWEST and share < 1:
            return cls._of(mocks, cleaning, min(1.5 * share, 1.0))
        order = np.argsort(whole.host_id)
        rows = order[np.searchsorted(whole.host_id, some.host_id, sorter=order)]
        pairs = (some.galaxies(i) for i in range(len(some)))
        seen = features(pairs, mocks.observation.aperture)
        return cls(mocks, cleaning, share, seen, whole.n_galaxies[rows].astype(float), KDTree(seen.speeds))

    def thinned_to(self, share: float) -> Self:
        """The same mocks with another share of their galaxies [1]; all of them for 1 and more."""
        return type(self)._of(self.mocks, self.cleaning, min(share, 1.0))

    def like(self, clusters: Features) -> Int[np.ndarray, "cluster mock"]:
        """The thinned mocks whose velocity dispersions are nearest to each cluster's."""
        return np.asarray(self._tree.query(clusters.speeds, k=min(_LIKE, len(self.complete)))[1])

    def as_fast(self, clusters: Features) -> Int[np.ndarray, "cluster mock"]:
        """The thinned mocks whose inner dispersions, which know least of interlopers, are nearest to each cluster's."""
        tree = KDTree(self.seen.speeds[:, 2:])
        return np.asarray(tree.query(clusters.speeds[:, 2:], k=min(_LIKE, len(self.complete)))[1])


@lru_cache(maxsize=4)
def _simulated(observation: Observation, cosmology: Cosmology, n: int, seed: int) -> Catalogue:
    model = HaloModel(observation=observation, cosmology=cosmology)
    return model.simulate(FlatMasses(_LOW, _HIGH).draw(n, seed), seed=seed)
