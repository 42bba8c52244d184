"""The paper's training and test sets (Kodi Ramanah et al. 2020, section 2), from the physical simulator.

The training set is flat in log10 mass after selection; every host is seen from three orthogonal sides, those above
10^14.6 from nine. The test set is drawn from the mass function. The catalogues of `HaloModel.ho2019()` contain
interlopers; `.pure()` leaves the true members.
"""

import numpy as np

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel, flatten

LOW, HIGH, MASSIVE = 13.5, 15.3, 14.6


def training_set(n_hosts: int, seed: int) -> Catalogue:
    """Simulate a training set with equally many clusters in every bin of log10 mass."""
    masses = FlatMasses(LOW, HIGH).draw(n_hosts, seed)
    lines = np.where(masses > MASSIVE, 9, 3)
    return flat(HaloModel.ho2019().simulate(masses, seed=seed, lines_of_sight=lines, n_jobs=-1), seed)


def test_set(n_hosts: int, seed: int) -> Catalogue:
    """Simulate a test set with masses from the mass function, three lines of sight per host."""
    masses = HaloMassFunction(low=LOW, high=HIGH).draw(n_hosts, seed)
    return HaloModel.ho2019().simulate(masses, seed=seed, lines_of_sight=3, n_jobs=-1)


def flat(clusters: Catalogue, seed: int) -> Catalogue:
    """Select as many clusters as possible with equally many in every bin of log10 mass."""
    return clusters.select(flatten(clusters.log10_mass, seed, low=LOW, high=HIGH))
