"""The paper's training and test sets, from the physical simulator: python examples/paper_sets.py [folder] [hosts].

As in Kodi Ramanah et al. 2020, section 2: training flat in log10 mass after selection, every host seen from three
orthogonal sides and those above 10^14.6 from more; a test set drawn from the mass function; no host in both. The
catalogues of `HaloModel.ho2019()` are contaminated; `.pure()` of the same ones is the members only.
"""

import sys
from pathlib import Path

import numpy as np

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel, flatten

LOW, HIGH, MASSIVE = 13.5, 15.3, 14.6


def training_set(n_hosts: int, seed: int) -> Catalogue:
    """Flat after selection: three lines of sight a host, nine above 10^14.6, then as many clusters in every bin."""
    masses = FlatMasses(LOW, HIGH).draw(n_hosts, seed)
    lines = np.where(masses > MASSIVE, 9, 3)
    everything = HaloModel.ho2019().simulate(masses, seed=seed, lines_of_sight=lines, n_jobs=-1)
    return everything.select(flatten(everything.log10_mass, seed, low=LOW, high=HIGH))


def test_set(n_hosts: int, seed: int) -> Catalogue:
    """As the mass function has them, three lines of sight a host."""
    masses = HaloMassFunction(low=LOW, high=HIGH).draw(n_hosts, seed)
    return HaloModel.ho2019().simulate(masses, seed=seed, lines_of_sight=3, n_jobs=-1)


def main(folder: Path, n_hosts: int = 7000, seed: int = 1) -> tuple[Catalogue, Catalogue]:
    """Write both sets, contaminated and pure."""
    folder.mkdir(parents=True, exist_ok=True)
    sets = training_set(n_hosts, seed), test_set(n_hosts, seed + 1)
    for name, catalogue in zip(("training", "test"), sets, strict=True):
        catalogue.to_parquet(folder / f"{name}.parquet")
        pure = catalogue.pure()
        if name == "training":  # members are fewer, so that the poorest drop out: flat again
            pure = pure.select(flatten(pure.log10_mass, seed, low=LOW, high=HIGH))
        pure.to_parquet(folder / f"{name}-pure.parquet")
        hosts = len(np.unique(catalogue.host_id))
        print(f"{name}: {len(catalogue)} clusters of {hosts} hosts")
    return sets


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "sets"), *map(int, sys.argv[2:3]))
