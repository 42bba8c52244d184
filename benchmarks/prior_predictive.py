"""Observed clusters among mocks of their conditions: the percentile of each summary statistic.

    python benchmarks/prior_predictive.py TABLES --clusters centres.csv --seed 1

For each cluster mocks are simulated at its redshift and in its field, of masses flat from 10^13 to 10^15.6, with all
else that is not known of its survey and of its galaxies drawn from `SurveyPrior` and `PhysicsPrior`. Of these, the ones
with as many galaxies, within a factor 1.5, are those that the cluster could be. Statistics of a cluster outside 99 % of
them are marked: no mock looks like that.
"""

import argparse
from pathlib import Path

import numpy as np

from clustermocks import Catalogue, FlatMasses, HaloModel, Observation, PhysicsPrior, SurveyPrior
from sbi_clustermass.estimator.misspecification.summary_statistics import STATISTICS, compute_statistics
from sbi_clustermass.observations.tables import (
    ObservedCluster,
    TableOptions,
    Unreadable,
    read_cluster_list,
    read_clusters,
)

FACTOR = 1.5  # between numbers of galaxies
MARKED = 0.5  # percentiles at either end
FEWEST, FEW = 200, 20  # mocks with as many galaxies, from which such percentiles can be told; few
BEYOND = 1.2  # largest radius of a field over that of its outermost galaxy


def field(cluster: ObservedCluster) -> tuple[float, float]:
    """Least and largest radius of the field [h^-1 Mpc]: somewhat larger than that of the outermost galaxy."""
    usual = cluster.catalogue.observation.aperture
    reach = float(cluster.catalogue.galaxy_column("R_proj").max())
    return reach, min(BEYOND * reach, usual)


def mocks_for(cluster: ObservedCluster, n: int, seed: int) -> Catalogue:
    """Mocks at the redshift and in the field of a cluster."""
    surveys = SurveyPrior().narrowed(redshift=cluster.redshift, aperture=field(cluster), v_cut=Observation.v_cut)
    model = HaloModel(dominant=True).with_clustering()
    masses = FlatMasses(13.0, 15.6).draw(n, seed)
    return model.simulate(masses, seed=seed, surveys=surveys, physics=PhysicsPrior())


def percentiles(cluster: Catalogue, mocks: Catalogue) -> tuple[np.ndarray, int]:
    """Percentile of each statistic among mocks with as many galaxies, and the number of these."""
    number = mocks.n_galaxies / int(cluster.n_galaxies[0])
    similar = mocks.select(np.flatnonzero((number < FACTOR) & (number > 1 / FACTOR)))
    if not len(similar):
        return np.full(len(STATISTICS), np.nan), 0
    own, others = compute_statistics(cluster), compute_statistics(similar)
    return 100 * ((others < own).mean(axis=1) + (others == own).mean(axis=1) / 2), len(similar)


def main() -> None:
    """Print a line for each cluster, then what no mock looks like."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--clusters", type=Path, help="table of clusters with centres and redshifts")
    parser.add_argument("--n", type=int, default=6000, help="mocks for each cluster")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    known = TableOptions(clusters=None if options.clusters is None else read_cluster_list(options.clusters))
    names = [name for name in STATISTICS if name != "richness"]
    print(f"{'':16}{'z':>6}{'N':>6}{'mocks':>7} " + " ".join(f"{name[:9]:>9}" for name in names))
    unlike = []
    for path in options.tables:
        for cluster in read_clusters(path, options=known):
            if isinstance(cluster, Unreadable) or cluster.reason is not None:
                continue
            found, n = percentiles(cluster.catalogue, mocks_for(cluster, options.n, options.seed))
            own = dict(zip(STATISTICS, found, strict=True))
            marked = [name for name in names if n >= FEWEST and min(own[name], 100 - own[name]) < MARKED]
            cells = [f"{own[name]:8.1f}{'*' if name in marked else ' '}" for name in names]
            print(
                f"{cluster.name:16}{cluster.redshift:6.3f}{int(cluster.catalogue.n_galaxies[0]):6}{n:7} "
                + " ".join(cells)
            )
            unlike += [f"{cluster.name}: {', '.join(marked)}"] if marked else []
            unlike += [f"{cluster.name}: its number of galaxies"] if n < FEW else []
    print("\nno mock, or hardly one, looks like:" if unlike else "\nmocks look like all of them.", *unlike, sep="\n  ")


if __name__ == "__main__":
    main()
