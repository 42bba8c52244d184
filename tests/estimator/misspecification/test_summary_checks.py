"""Statistics are those of scipy, and percentiles those of the distribution that was drawn from."""

import numpy as np
import pytest
from scipy.stats import kurtosis as scipy_kurtosis, norm, skew

from clustermocks import MDPL2, Catalogue, Observation
from sbi_clustermass.estimator.misspecification.percentiles import Percentiles
from sbi_clustermass.estimator.misspecification.summary_statistics import STATISTICS, PaddedGalaxies, compute_statistics

NAMES = list(STATISTICS)


def cluster_of(R_proj, v_los) -> Catalogue:
    return Catalogue.from_arrays(
        Observation(),
        MDPL2,
        clusters={"log10_mass": np.array([np.nan]), "host_id": np.zeros(1, int)},
        galaxies={"R_proj": np.asarray(R_proj), "v_los": np.asarray(v_los)},
        offsets=np.array([0, len(R_proj)]),
    )


def test_statistics_are_those_of_scipy_and_numpy(mocks):
    some = mocks.select(np.arange(40))
    found = dict(zip(NAMES, compute_statistics(some), strict=True))
    for row in range(len(some)):
        R, v = (each.astype(float) for each in some.galaxies(row))
        i = np.arange(1.0, len(v))
        gaps = np.sqrt(i * (len(v) - i) * (np.sort(v)[1:] - np.sort(v)[:-1]))
        truth = {
            "richness": len(v),
            "dispersion": v.std(ddof=1),
            "kurtosis": scipy_kurtosis(v, fisher=False),
            "skewness": skew(v),
            "mean_velocity": v.mean() / v.std(ddof=1) * np.sqrt(len(v)),
            "fast_galaxies": (np.abs(v) > 1500).sum(),
            "wings": (np.abs(v - v.mean()) > 2 * v.std(ddof=1)).sum(),
            "fastest": np.abs(v).max() / 2500,
            "median_distance": np.median(R),
            "inner_share": (R < 0.4).mean(),
            "outermost": R.max() / 1.6,
        }
        # numpy sums the same numbers, in another order
        assert {name: found[name][row] for name in truth} == pytest.approx(truth, rel=1e-9, abs=1e-9)
        middle = np.sort(gaps)[len(gaps) // 4 : -(len(gaps) // 4)]
        # the middle half of 10 gaps or more: which galaxy belongs to it is a matter of rounding
        assert found["largest_gap"][row] == pytest.approx(gaps.max() / middle.mean(), rel=0.15)


def test_two_clumps_have_a_gap_and_little_kurtosis_and_fast_galaxies_outside_are_told():
    rng = np.random.default_rng(0)
    clumps = cluster_of(rng.uniform(0, 1.6, 200), np.concatenate([rng.normal(v, 100, 100) for v in (-800, 800)]))
    outside = cluster_of(np.linspace(0, 1.5, 100), np.concatenate([rng.normal(0, 100, 95), np.full(5, 2000.0)]))
    two, five = (dict(zip(NAMES, compute_statistics(each)[:, 0], strict=True)) for each in (clumps, outside))
    assert two["kurtosis"] < 1.3  # 1 for two spikes
    assert two["largest_gap"] > 10
    assert five["wing_distance"] == pytest.approx(10 * np.corrcoef(np.arange(100), np.arange(100) > 94)[0, 1])


def test_galaxies_that_are_all_alike_have_finite_statistics():
    same = cluster_of(np.zeros(12), np.full(12, 300.0))
    scaled = [kind.scaled(row) for kind, row in zip(STATISTICS.values(), compute_statistics(same), strict=True)]
    assert np.isfinite(scaled).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_scale_of_a_statistic_has_a_way_back(name, mocks):
    kind = STATISTICS[name]
    values = kind.measure(PaddedGalaxies.from_catalogue(mocks.select(np.arange(30))))
    # a gap of less than a thousandth to the end of a range counts as a thousandth
    np.testing.assert_allclose(kind.back(kind.scaled(values)), values, rtol=1e-9, atol=1e-3)
    assert kind.words.format(kind.write(float(values[0])))


def test_percentiles_are_those_of_the_distribution_that_was_drawn_from():
    """Mean and spread that change with mass and richness, in closed form; Gaussian in units of the spread."""
    rng = np.random.default_rng(1)
    where = np.stack([rng.uniform(13.5, 15, 8000), rng.uniform(1.2, 2.6, 8000)])
    mean, spread = 2 + 0.5 * (where[0] - 14), 10 ** (-0.5 * where[1])
    scaled = np.tile(mean + spread * rng.standard_normal(8000), (len(NAMES), 1))
    found = Percentiles.fit(scaled, where)
    statistic = NAMES.index("kurtosis")
    test = np.array([[14.0, 14.9], [1.4, 2.5]])
    for sigmas in (-2.0, 0.0, 1.0):
        value = 2 + 0.5 * (test[0] - 14) + sigmas * 10 ** (-0.5 * test[1])
        below, above = (each[statistic] for each in found.shares(np.tile(value, (len(NAMES), 1)), where=test))
        np.testing.assert_allclose(below, norm.cdf(sigmas), atol=0.02)  # 8000 draws: .005; the spread: 10 %
        np.testing.assert_allclose(below + above, 1, atol=1e-9 if abs(sigmas) < 2 else 0.02)
    low, high = found.central_95(test)[:, statistic]
    np.testing.assert_allclose(
        (high - low) / 10 ** (-0.5 * test[1]), 2 * 1.96, rtol=0.1
    )  # 8 terms from 8000 logs that scatter by 1.1


def test_rounded_velocities_do_not_make_a_gap_of_thousands():
    rng = np.random.default_rng(1)
    v = rng.normal(0, 700, 100)
    exact, rounded = (
        dict(zip(NAMES, compute_statistics(cluster_of(rng.uniform(0, 1.6, 100), each))[:, 0], strict=True))
        for each in (v, 300 * np.round(v / 300))
    )
    # of 99 gaps some twelve are a step and the others 0: five times the largest over the mean, where it was 10^5
    assert exact["largest_gap"] < rounded["largest_gap"] < 5 * 99 / 5
