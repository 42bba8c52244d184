"""How fast HaloModel simulates, in what memory, and how near its mocks come to the published ones.

`python benchmarks/mocks.py` prints tables; with `--full` the time against number goes to 100 000 clusters. Masses are
flat in 13.5 to 15.3, clusters have N >= 10 (Ho et al. 2019, ApJ 887, 25).
"""

import os
import resource
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"  # one core is what is measured

import numpy as np

from clustermocks.catalogue import Catalogue
from clustermocks.masses import FlatMasses, HaloMassFunction
from clustermocks.simulator import HaloModel

CLUSTERS = 10_000
M_SIGMA = "{:<28} {:>6.3f} {:>6.3f} {:>6.0f} {:>7.3f}   {:>6.3f} {:>6.3f}"


def by_cluster(catalogue: Catalogue) -> list[np.ndarray]:
    """Velocities of each cluster's galaxies [km/s]."""
    return [catalogue.galaxies(i)[1].astype(float) for i in range(len(catalogue))]


def m_sigma(catalogue: Catalogue, low: float = 13.5, high: float = 15.3) -> tuple[float, ...]:
    """Slope, norm at 10^15 [dex, km/s] and scatter [dex] of sigma; mean and scatter [dex] of its masses in 14-15."""
    part = catalogue.select((catalogue.log10_mass > low) & (catalogue.log10_mass < high))
    x, y = part.log10_mass - 15, np.log10([v.std(ddof=1) for v in by_cluster(part)])
    slope, norm = np.polyfit(x, y, 1)
    error = (y - norm) / slope - x
    weight = HaloMassFunction(high=15.7).density(part.log10_mass) * (x > -1) * (x < 0)
    mean = np.average(error, weights=weight)
    scatter = np.sqrt(np.average((error - mean) ** 2, weights=weight))
    return tuple(float(value) for value in (slope, norm, 10**norm, np.std(y - slope * x - norm), mean, scatter))


def contents(catalogue: Catalogue) -> None:
    """Print how many galaxies stand in the cylinder, and how many of them are members."""
    member = np.array([catalogue.is_member(i).sum() for i in range(len(catalogue))])
    for log10_mass in (13.5, 14.0, 14.5, 15.0):
        near = np.abs(catalogue.log10_mass - max(log10_mass, 13.55)) < 0.05
        N, f = catalogue.n_galaxies[near], (member / catalogue.n_galaxies)[near].mean()
        other = N - member[near]
        print(
            f"  {log10_mass:<6} N {N.mean():6.1f} (median {np.median(N):4.0f})   member fraction {f:.2f}   "
            f"interlopers {other.mean():5.1f} ± {other.std():4.1f}"
        )


def run(name: str, model: HaloModel) -> None:
    """Time one model and print its table."""
    masses = FlatMasses(13.5, 15.3).draw(CLUSTERS, seed=1)
    model.simulate(masses[:10], seed=0)  # builds the tables
    wall, cpu = time.perf_counter(), time.process_time()
    mocks = model.simulate(masses, seed=1)
    wall, cpu = CLUSTERS / (time.perf_counter() - wall), CLUSTERS / (time.process_time() - cpu)
    print(f"\n{name}: {cpu:.0f} clusters per second of one core ({wall:.0f} by the clock; at least 1000)")
    print(f"{'':<28} {'slope':>6} {'norm':>6} {'km/s':>6} {'scatter':>7}   {'mass 14-15: mean, scatter [dex]'}")
    print(M_SIGMA.format("pure", *m_sigma(mocks.pure())))
    print(M_SIGMA.format("contaminated", *m_sigma(mocks)))
    print(M_SIGMA.format("contaminated, 13.5 to 14.5", *m_sigma(mocks, 13.5, 14.5)))
    contents(mocks)


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
    print(M_SIGMA.format("Ho et al. 2019, pure", 0.366, 3.036, 1087, 0.069, 0.017, 0.183))
    print(M_SIGMA.format("Ho et al. 2019, contaminated", 0.241, 3.001, 1002, 0.104, -0.059, 0.369))
    run("HaloModel()", HaloModel())
    print(
        "N-body, all tracers: slope .06±.04, norm 2.90±.03, scatter .116±.015; inside r200c .33/.49/.63 (13.5/14/14.5)"
    )
