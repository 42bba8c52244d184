"""Percentiles of clusters among mocks: uniform if the clusters are such mocks."""

import numpy as np
from scipy.stats import kstest

from benchmarks.prior_predictive import percentiles
from clustermocks import FlatMasses, HaloModel
from sbi_clustermass.estimator.misspecification.summary_statistics import STATISTICS


def test_percentiles_of_mocks_among_mocks_are_uniform():
    mocks = HaloModel().with_clustering().simulate(FlatMasses(13.8, 14.8).draw(1200, seed=1), seed=2)
    # the number of galaxies of mocks that are compared depends on that of the cluster, so that these are typical ones
    typical = np.flatnonzero((mocks.n_galaxies[:200] > 60) & (mocks.n_galaxies[:200] < 120))
    others = mocks.select(np.arange(200, len(mocks)))
    found = np.array([percentiles(mocks.select([int(row)]), others)[0] for row in typical])
    for name in ("kurtosis", "skewness", "median_distance", "largest_gap"):
        values = found[:, list(STATISTICS).index(name)] / 100
        assert kstest(values, "uniform").pvalue > 1e-3, name  # failure rate of each, had the seed not been fixed
