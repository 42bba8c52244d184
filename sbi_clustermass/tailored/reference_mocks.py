"""Mocks with which data are compared: number, distances and velocities of galaxies at similar dispersions.

Masses are M200c [h^-1 Msun], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Self, final

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from clustermocks import Catalogue, Cosmology, FlatMasses, HaloModel, Observation
from clustermocks.catalogue.provenance import Cleaning
from clustermocks.perturbations import cleaned, thinned
from sbi_clustermass.tailored.features import Features, features

_LOW, _HIGH = 13.0, 15.6  # dex
_LIKE = 40  # mocks with which a cluster is compared: 3 % of them, a tenth of a dex in mass
_FEWEST = 200  # mocks that a thinning must leave


@final
@dataclass(frozen=True, eq=False)
class ReferenceMocks:
    """Mocks with complete redshifts down to the default density, and the same mocks thinned.

    Attributes:
        mocks: Complete mocks.
        cleaning: How interlopers are removed; None to keep them.
        share: Share of the galaxies in the thinned mocks [1].
        seen: Features of the thinned mocks.
        complete: Number of galaxies of the same clusters, cleaned but not thinned, (cluster,).
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
        """Simulate mocks with `HaloModel()`, flat in log10 mass.

        Args:
            observation: Redshift and cylinder.
            cosmology: Cosmology of distances and haloes.
            n: Number of mocks.
            seed: Seed of masses and mocks.
            cleaning: How interlopers are removed, as in `clustermocks.perturbations.cleaned`.
        """
        return cls._from_mocks(_simulated(observation, cosmology, n, seed), cleaning, 1.0)

    @classmethod
    def _from_mocks(cls, mocks: Catalogue, cleaning: Cleaning | None, share: float) -> Self:
        whole, some = mocks, mocks if share >= 1 else thinned(mocks, share, seed=1)
        if cleaning is not None:
            whole, some = cleaned(whole, cleaning), cleaned(some, cleaning)
            some = some.select(np.flatnonzero(np.isin(some.host_id, whole.host_id)))
        if len(some) < _FEWEST and share < 1:
            return cls._from_mocks(mocks, cleaning, min(1.5 * share, 1.0))
        order = np.argsort(whole.host_id)
        rows = order[np.searchsorted(whole.host_id, some.host_id, sorter=order)]
        pairs = (some.galaxies(i) for i in range(len(some)))
        seen = features(pairs, mocks.observation.aperture)
        return cls(mocks, cleaning, share, seen, whole.n_galaxies[rows].astype(float), KDTree(seen.speeds))

    def thinned_to(self, share: float) -> Self:
        """Return the same mocks with another share of their galaxies [1], at most all of them."""
        return type(self)._from_mocks(self.mocks, self.cleaning, min(share, 1.0))

    def like(self, clusters: Features) -> Int[np.ndarray, "cluster mock"]:
        """Indices of the thinned mocks whose velocity dispersions are nearest to each cluster's."""
        return np.asarray(self._tree.query(clusters.speeds, k=min(_LIKE, len(self.complete)))[1])

    def as_fast(self, clusters: Features) -> Int[np.ndarray, "cluster mock"]:
        """Indices of the thinned mocks with the nearest inner dispersions, which interlopers affect least."""
        tree = KDTree(self.seen.speeds[:, 2:])
        return np.asarray(tree.query(clusters.speeds[:, 2:], k=min(_LIKE, len(self.complete)))[1])


@lru_cache(maxsize=4)
def _simulated(observation: Observation, cosmology: Cosmology, n: int, seed: int) -> Catalogue:
    model = HaloModel(observation=observation, cosmology=cosmology)
    return model.simulate(FlatMasses(_LOW, _HIGH).draw(n, seed), seed=seed)
