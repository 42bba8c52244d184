"""Speed and memory of HaloModel.

`python benchmarks/mocks.py` prints tables; with `--full` the time against number goes to 100 000 clusters. Masses are
flat in 13.5 to 15.3, clusters have N >= 10 (Ho et al. 2019, ApJ 887, 25). `python benchmarks/acceptance.py`
compares the mocks with N-body ones.
"""

import os
import resource
import sys
import tempfile
import time
from dataclasses import replace

os.environ["OMP_NUM_THREADS"] = "1"  # one core is what is measured

from clustermocks.haloes.mass_distributions import FlatMasses
from clustermocks.mocks.halo_model import HaloModel
from clustermocks.mocks.priors import PhysicsPrior, SurveyPrior

CLUSTERS = 10_000


def run(name: str, model: HaloModel, surveys: SurveyPrior | None = None, physics: PhysicsPrior | None = None) -> None:
    """Time one model, with the settings that its priors draw."""
    masses = FlatMasses(13.5, 15.3).draw(CLUSTERS, seed=1)
    model.simulate(masses[:2000], seed=0, surveys=surveys, physics=physics)  # builds the tables
    wall, cpu = time.perf_counter(), time.process_time()
    model.simulate(masses, seed=1, surveys=surveys, physics=physics)
    wall, cpu = CLUSTERS / (time.perf_counter() - wall), CLUSTERS / (time.process_time() - cpu)
    print(f"{name}: {cpu:.0f} clusters per second of one core ({wall:.0f} by the clock; at least 1000)")


def scaling(numbers: tuple[int, ...]) -> None:
    """Print the time and memory that simulate_to takes against the number of clusters, on one and on two workers."""
    print(
        f"\nHaloModel().simulate_to\n{'clusters':>9} {'workers':>8} {'s':>7} {'clusters/s':>11} {'peak RSS [MB]':>14}"
    )
    for n_jobs in (1, 2):
        for n in numbers:
            masses = FlatMasses(13.5, 15.3).draw(n, seed=1)
            with tempfile.TemporaryDirectory() as folder:
                HaloModel().simulate(masses[:500], seed=0, n_jobs=n_jobs)  # starts the workers, builds the tables
                start = time.perf_counter()
                HaloModel().simulate_to(folder, masses, seed=1, n_jobs=n_jobs)
                wall = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{n:>9} {n_jobs:>8} {wall:>7.1f} {n / wall:>11.0f} {peak:>14.0f}")


if __name__ == "__main__":
    scaling((1000, 10_000, 100_000) if "--full" in sys.argv else (1000, 5000))
    run("HaloModel.ho2019()", HaloModel.ho2019())
    run("HaloModel()", HaloModel())
    clustered = replace(HaloModel(), dominant=True).with_clustering()
    run("HaloModel(dominant=True).with_clustering()", clustered)
    run("the same of any survey and physics", clustered, surveys=SurveyPrior(), physics=PhysicsPrior())
