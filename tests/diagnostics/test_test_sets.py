"""When calibration is promised: flat-trained posteriors on a mass function, and what reweighting them cures."""

import numpy as np
import pytest
from scipy import stats

from clustermocks import FlatMasses, HaloMassFunction, SphericalJeans
from sbi_clustermass import MassPosteriors
from sbi_clustermass.diagnostics.calibration import LEVELS, coverages
from sbi_clustermass.diagnostics.reliability import by_richness, reliability
from sbi_clustermass.diagnostics.residuals import Measured, residuals
from sbi_clustermass.diagnostics.test_sets import (
    COVERAGE_TOLERANCE,
    HeldOut,
    Mark,
    mark,
    reweighted,
)

GRID = np.linspace(13.5, 15.3, 256)
MASSES = HaloMassFunction(low=13.5, high=15.3)
SIGMA = 0.2


def gaussian_set(masses=MASSES, n=10_000, seed=1, cut=-np.inf):
    """Masses, and the exact posteriors under a flat prior of those whose datum d = M + N(0, .2) exceeds a cut."""
    truth = masses.draw(n, seed=seed)
    datum = truth + np.random.default_rng(1000 + seed).normal(0, SIGMA, n)
    kept = datum > cut
    return MassPosteriors.from_normal(datum[kept], SIGMA, GRID), truth[kept]


@pytest.fixture(scope="module")
def paper():
    """The published protocol: trained on flat masses, tested on the mass function."""
    return HeldOut(*gaussian_set(), drawn_from_prior=False)


def expected_of_flat_posteriors():
    """Mean residual [dex] and coverage of the central 50 % interval on the mass function, by quadrature over M and d.

    Posteriors are scipy's truncated normals.
    """
    mass = np.linspace(13.5, 15.3, 361)
    datum = np.linspace(12.3, 16.5, 701)
    exact = stats.truncnorm((13.5 - datum) / SIGMA, (15.3 - datum) / SIGMA, datum, SIGMA)
    joint = MASSES.density(mass)[:, None] * stats.norm.pdf(datum, mass[:, None], SIGMA)
    joint[[0, -1]] /= 2  # trapezium over masses
    joint /= joint.sum()
    inside = np.abs(exact.cdf(mass[:, None]) - 0.5) < 0.25
    return (joint * (exact.mean() - mass[:, None])).sum(), (joint * inside).sum()


def all_covered(clusters, *, errors):
    """Whether every coverage, of both kinds, is right within so many errors."""
    found = coverages(clusters.posteriors, clusters.log10_mass)
    return all(
        abs(kind.value - each.level) < errors * kind.error for each in found for kind in (each.central, each.highest)
    )


def test_flat_posteriors_on_a_mass_function_are_off_by_what_quadrature_says(paper):
    offset, share = expected_of_flat_posteriors()
    assert offset > 0.05  # the design's +.06 dex and 47 %, here of a Gaussian likelihood
    assert share < 0.48
    mean, _ = residuals(paper.posteriors.mean, paper.log10_mass)
    assert abs(mean.value - offset) < 4 * mean.error  # each fails once in 16 000 seeds
    found = coverages(paper.posteriors, paper.log10_mass, (0.5,))[0].central
    assert abs(found.value - share) < 4 * found.error


def test_reweighting_to_the_mass_function_makes_them_right(paper):
    right = paper.under(MASSES)
    assert right.drawn_from_prior
    assert all_covered(right, errors=4)  # ten numbers: fails once in 1600 seeds
    mean, _ = residuals(right.posteriors.mean, right.log10_mass)
    assert abs(mean.value) < 4 * mean.error


def test_the_prior_of_a_selected_test_set_is_the_mass_function_without_the_selection():
    clusters = HeldOut(*gaussian_set(n=20_000, seed=2, cut=13.9), drawn_from_prior=False)
    right = clusters.under(MASSES)
    assert 2000 < len(right) < 10_000  # the cut matters
    assert all_covered(right, errors=4)
    log_selected = stats.norm.logsf(13.9, right.posteriors.grid, SIGMA)
    twice = right.posteriors.with_prior(right.posteriors.log_prior + log_selected)
    assert not all_covered(HeldOut(twice, right.log10_mass, drawn_from_prior=True), errors=10)


def test_exact_posteriors_of_jeans_clusters_drawn_from_the_mass_function_are_calibrated_after_reweighting():
    """With a richness cut that one in seven fails, and a likelihood of any cluster, selected or not."""
    model = SphericalJeans()
    mocks = model.simulate(MASSES.draw(1500, seed=3), seed=3)
    assert len(mocks) < 1400
    grid = np.linspace(13.5, 15.3, 129)
    flat = MassPosteriors.from_log_prob(grid, model.log_likelihood(mocks, grid))
    right = HeldOut.from_catalogue(flat, mocks, drawn_from_prior=False).under(MASSES)
    assert all_covered(right, errors=4)  # fails once in 1600 seeds
    mean, _ = residuals(right.posteriors.mean, right.log10_mass)
    assert abs(mean.value) < 4 * mean.error
    before, _ = residuals(flat.mean, mocks.log10_mass)
    assert before.value > 4 * before.error
    # 13 bins at 4 errors: once in 1000 seeds; the exact posterior knows the richness
    assert all(abs(each.coverage_68.value - 0.68) < 4 * each.coverage_68.error for each in by_richness(right))
    assert all(abs(each.ratio.value - 1) < 4 * each.ratio.error for each in reliability(right))


def test_limits_between_masses_of_the_grid_cut_posteriors_off_exactly():
    """A flat density between 13.7321 and 14.8765 makes truncated normals, whose moments scipy knows."""

    class Box:
        low, high = 13.7321, 14.8765

        @staticmethod
        def density(log10_mass):
            return np.ones_like(np.asarray(log10_mass, float))

    datum = np.array([13.4, 13.7, 14.2, 14.9, 15.2])
    cut = reweighted(MassPosteriors.from_normal(datum, SIGMA, GRID), Box())
    exact = stats.truncnorm((Box.low - datum) / SIGMA, (Box.high - datum) / SIGMA, datum, SIGMA)
    assert (cut.grid[0], cut.grid[-1]) == (Box.low, Box.high)
    # a cubic through the first mass, where the step is another
    np.testing.assert_allclose(cut.mean, exact.mean(), atol=1e-6)
    np.testing.assert_allclose(cut.std, exact.std(), atol=1e-6)


def test_reweighting_undoes_any_prior_that_the_posteriors_carry(paper):
    few = paper.posteriors[np.arange(50)]
    tilted = few.with_prior(2.0 * (GRID - 14))
    np.testing.assert_allclose(reweighted(tilted, MASSES).mean, reweighted(few, MASSES).mean, atol=1e-8)


def test_clusters_off_the_grid_are_left_out_with_their_richness():
    truth = np.array([13.0, 14.0, 14.2, 15.5])
    posteriors = MassPosteriors.from_normal(truth, SIGMA, GRID)
    clusters = HeldOut(posteriors, truth, np.array([10, 20, 30, 40]), drawn_from_prior=False)
    right = clusters.under(HaloMassFunction())
    assert right.posteriors.names == ("1", "2")
    np.testing.assert_array_equal(right.n_galaxies, [20, 30])


def test_a_promise_is_never_made_by_default_and_not_for_masses_off_the_prior():
    posteriors = MassPosteriors.from_normal([14.0, 14.2], SIGMA, GRID)
    with pytest.raises(TypeError, match="drawn_from_prior"):
        HeldOut(posteriors, np.array([14.0, 14.2]))
    with pytest.raises(ValueError, match="1 of 2 true masses lie outside"):
        HeldOut(posteriors, np.array([14.0, 13.2]), drawn_from_prior=True)
    with pytest.raises(ValueError, match="as many finite masses"):
        HeldOut(posteriors, np.array([14.0]), drawn_from_prior=False)
    with pytest.raises(ValueError, match="has nothing of"):
        reweighted(posteriors, HaloMassFunction(low=12.5, high=13.4))
    with pytest.raises(ValueError, match="no true mass lies between"):
        HeldOut(posteriors, np.array([13.0, 13.2]), drawn_from_prior=False).under(MASSES)


def test_marks_at_the_rates_that_are_stated():
    """Marks of binomial shares at 50 %, over 4000 test sets of each size; the rates are those of a normal one."""
    rng = np.random.default_rng(4)

    def rates(truth, n):
        error = np.sqrt(0.25 / n)
        marks = [mark(Measured(k / n, error), 0.5, COVERAGE_TOLERANCE) for k in rng.binomial(n, truth, 4000)]
        return {each: marks.count(each) / len(marks) for each in Mark}

    assert rates(0.5, 4445)[Mark.PASSES] == pytest.approx(0.955, abs=0.015)  # 2 errors; 4 of .0033
    assert rates(0.5, 20_000)[Mark.FAILS] == 0  # 6 errors
    assert rates(0.5, 100)[Mark.FAILS] < 0.05
    assert rates(0.5, 4000)[Mark.PASSES] == 0  # too few to tell
    assert rates(0.53, 4445)[Mark.PASSES] == pytest.approx(0.023, abs=0.01)
    assert rates(0.56, 20_000)[Mark.FAILS] > 0.999  # 12 errors off


@pytest.mark.parametrize(("width", "shift"), [(1.0, 0.0), (0.8, 0.0), (1.25, 0.0), (1.0, 0.1)])
def test_right_posteriors_pass_every_mark_and_wrong_ones_fail(width, shift):
    truth = FlatMasses(13.5, 15.3).draw(20_000, seed=5)
    datum = truth + np.random.default_rng(6).normal(0, SIGMA, len(truth))
    posteriors = MassPosteriors.from_normal(datum + shift, width * SIGMA, GRID[::3])
    found = coverages(posteriors, truth)
    marks = [mark(kind, each.level, COVERAGE_TOLERANCE) for each in found for kind in (each.central, each.highest)]
    assert len(marks) == 2 * len(LEVELS)
    if (width, shift) == (1.0, 0.0):
        assert set(marks) == {Mark.PASSES}  # at 50 % 4 errors lie within the tolerance
    else:
        assert Mark.FAILS in marks
        assert marks[0] != Mark.PASSES
