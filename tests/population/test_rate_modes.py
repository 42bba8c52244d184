"""Sample variance against linear theory and mock surveys; errors of a measured selection, photometric redshifts."""

import warnings

import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from clustermocks.haloes.cosmology import CRITICAL_DENSITY, MDPL2, correlation_function, growth_factor, mass_variance
from clustermocks.selection import fit_selection
from sbi_clustermass.population import (
    CosmologyMassFunction,
    KnownSelection,
    Laplace,
    MassFunction,
    MeasuredSelection,
    ObservedClusters,
    Population,
    Problem,
    Survey,
    fit,
)
from sbi_clustermass.population.rate_modes import effective_attempts, sample_variance, selection_errors
from sbi_clustermass.population.sample_variance import Cap, density_covariance
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.6, 131)
CUT = KnownSelection(lambda m: expit((m - 14.1) / 0.1), of_data=True)


def exact(masses, width=0.02):
    return MassPosteriors.from_normal(masses, width, np.linspace(13.0, 15.8, 561))


# ---- sample variance ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [20.0, 100.0, 270.0])
def test_variance_of_a_sphere_is_that_of_linear_theory(radius):
    """A shell from the observer over the whole sky is a sphere, whose variance the power spectrum gives directly."""
    found = density_covariance((Cap(0.0, radius, 4 * np.pi, 0.3),), MDPL2)[0, 0] ** 0.5
    mass = 4 * np.pi / 3 * radius**3 * MDPL2.Om0 * CRITICAL_DENSITY
    expected = mass_variance(np.array([mass]), MDPL2)[0][0] * float(growth_factor(0.3, MDPL2))
    assert found == pytest.approx(expected, rel=0.01)  # the smoothing of .5 h^-1 Mpc, and 48 nodes


def test_covariance_of_two_shells_is_the_correlation_between_random_points():
    shells = tuple(Cap(low, low + 60.0, 0.2, 0.2) for low in (400.0, 460.0))
    found = density_covariance(shells, MDPL2) / float(growth_factor(0.2, MDPL2)) ** 2
    rng = np.random.default_rng(1)

    def points(shell, n):
        r = np.cbrt(rng.uniform(shell.low**3, shell.high**3, n))
        cosine, angle = rng.uniform(1 - shell.area / (2 * np.pi), 1, n), rng.uniform(0, 2 * np.pi, n)
        sine = np.sqrt(1 - cosine**2)
        return r[:, None] * np.stack([sine * np.cos(angle), sine * np.sin(angle), cosine], 1)

    for (s, t), value in np.ndenumerate(found):
        distance = np.linalg.norm(points(shells[s], 400_000) - points(shells[t], 400_000), axis=1)
        each = correlation_function(np.maximum(distance, 1e-2), 0.0, MDPL2)
        assert abs(value - each.mean()) < 4 * each.std() / 400_000**0.5 + 0.01 * abs(value), (s, t)  # Monte Carlo


def test_parts_of_the_sky_share_the_density_of_their_redshifts():
    """Two halves of a survey in one patch fluctuate as the whole does, not as two surveys would."""
    whole = Survey.of_sky(1000, [0.1, 0.2, 0.3])
    halves = Survey.joined(Survey.of_sky(500, [0.1, 0.2, 0.3]), Survey.of_sky(500, [0.1, 0.2, 0.3]))
    places, number = halves.places()
    assert number.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(density_covariance(places, MDPL2), density_covariance(whole.places()[0], MDPL2))


def test_expected_numbers_scatter_as_the_bias_says_about_the_same_mean():
    """The review has 3.5 % in the number of clusters for 8.18e7 (h^-1 Mpc)^3, Poisson's is 1.7 %."""
    survey = Survey.of_volume(8.18e7)
    population = Population(MassFunction(), selection=KnownSelection(lambda m: expit((m - 13.9) / 0.1), of_data=True))
    problem = Problem.from_clusters(population, ObservedClusters(exact([14.3])), survey, counts=True)
    centre = population.coordinates.parameters(population.coordinates.centre)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        drawn = problem.modes[0].prior.sample((4000,))
    numbers = problem.expected_numbers({**{k: v.expand(4000) for k, v in centre.items()}, "density_contrast": drawn})
    mean = float(problem.expected_numbers(centre))
    assert numbers.std() / mean == pytest.approx(0.035, rel=0.1)  # of a slightly other cut
    assert float(numbers.mean()) == pytest.approx(mean, rel=4 * 0.037 / 4000**0.5)


def test_shells_so_thin_that_they_share_their_density_have_a_prior():
    thin = Survey.of_sky(1000, np.linspace(0.1, 0.101, 11))
    covariance = sample_variance(thin, np.linspace(13.0, 15.0, 3)).prior.covariance_matrix
    share = covariance / covariance.diagonal().sqrt().outer(covariance.diagonal().sqrt())
    assert float(share.min()) > 0.85
    assert float(torch.linalg.eigvalsh(covariance)[0]) > 0


def test_a_periodic_box_does_not_fluctuate():
    clusters = ObservedClusters(exact([14.3]))
    assert not Problem.from_clusters(Population(selection=CUT), clusters, None, counts=False).modes
    box = Survey.of_volume(1e8, sample_variance=False)
    assert not Problem.from_clusters(Population(selection=CUT), clusters, box, counts=True).modes


@pytest.mark.slow
def test_pulls_of_the_density_are_standard_in_a_universe_that_fluctuates():
    """Thirty surveys of 8e7 (h^-1 Mpc)^3: Poisson alone is more than twice too sure of the number."""
    pulls = {True: [], False: []}
    rng = np.random.default_rng(1)
    population = Population(MassFunction(), selection=CUT)
    centre = population.coordinates.parameters(population.coordinates.centre)
    survey = Survey.of_volume(8e7)
    maker = Problem.from_clusters(population, ObservedClusters(exact([14.3])), survey, counts=True)
    masses = maker.likelihood.log10_mass.numpy()
    for _ in range(30):
        delta = torch.tensor(rng.normal(0, float(maker.modes[0].prior.covariance_matrix) ** 0.5, 1))
        log_rate = maker.log_selected_rate({**centre, "density_contrast": delta})[0]
        number = rng.poisson(np.exp(log_rate.numpy()) * maker.likelihood.weights.numpy())
        found = np.repeat(masses, number)
        for known in (True, False):
            with_or_without = Survey.of_volume(8e7, sample_variance=known)
            idata = fit(population, exact(found), with_or_without, sampler=Laplace(num_samples=500, seed=1))
            draws = idata["posterior"]["log10_density"].values
            pulls[known].append((draws.mean() - float(centre["log10_density"])) / draws.std())
    assert 0.7 < np.std(pulls[True]) < 1.4, pulls  # 30 pulls: an error of 13 %
    assert np.std(pulls[False]) > 1.5


# ---- the error of a measured selection ------------------------------------------------------------------------------


def measured(n, seed):
    rng = np.random.default_rng(seed)
    masses = rng.uniform(12.8, 15.6, n)
    return fit_selection(masses, rng.random(n) < expit((masses - 14.1) / 0.1))


def test_errors_of_the_spline_are_those_of_repeated_measurements():
    grid = np.linspace(13.5, 15.0, 31)
    logs = np.array([measured(8000, seed).log(grid) for seed in range(60)])
    stated = np.sqrt((measured(8000, 99).log_errors(grid) ** 2).sum(0))
    ratio = stated / logs.std(axis=0)
    # 60 repetitions know a deviation to 9 %; the penalty takes the log odds for straight, where most are
    assert 0.85 < np.median(ratio) < 1.3, ratio
    shares = expit((grid - 14.1) / 0.1) * 10 ** (-2 * (grid - 14))
    shares /= shares.sum()
    total = np.sqrt(((measured(8000, 99).log_errors(grid) @ shares) ** 2).sum())
    assert total == pytest.approx((logs @ shares).std(), rel=0.25)


def test_a_number_is_as_uncertain_as_the_selection():
    """If nothing is known of clusters but that they were selected, variances of Poisson and of the selection add up."""
    shape = MassFunction(log10_m_star=(14.18, 1e-4), alpha=(-1.90, 1e-4), beta=(0.69, 1e-4))
    survey, variances = Survey.of_volume(8e7, sample_variance=False), {}
    for name, selection in (("known", CUT), ("measured", MeasuredSelection(measured(20_000, 1)))):
        population = Population(shape, selection=selection, mass_range=(GRID[0], GRID[-1]))
        log_selected = selection.bind(GRID, survey, {})({}).numpy()
        posteriors = MassPosteriors.from_log_prob(GRID, np.repeat(log_selected, 5000, axis=0))
        problem = Problem.from_clusters(population, ObservedClusters(posteriors), survey, counts=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            draws = fit(population, posteriors, survey, sampler=Laplace(num_samples=4000, seed=1))["posterior"]
        variances[name] = np.var(np.log(10) * draws["log10_density"].values) - 1 / 5000
        warned = any("selection is known no better" in str(one.message) for one in caught)
        assert warned == (name == "measured")
    centre = population.coordinates.parameters(population.coordinates.centre)
    expected = 1 / effective_attempts(problem.log_errors, problem.selected_shares(centre))
    assert expected > 0.5 / 5000
    assert abs(variances["known"]) < 0.15 / 5000  # 4000 draws with weights know a variance to 4 %
    assert variances["measured"] == pytest.approx(expected, rel=0.2)


def test_a_selection_of_many_attempts_needs_no_parameters():
    shells = Survey.of_volume(1e7, sample_variance=False)
    many = MeasuredSelection(measured(400_000, 1))
    problem = Problem.from_clusters(
        Population(selection=many), ObservedClusters(exact([14.3] * 1)), shells, counts=True
    )
    assert not problem.modes
    centre = problem.coordinates.parameters(problem.coordinates.centre)
    # Farr's number of attempts: those of 400 000 that lie where the clusters are, weighted by how many these are
    assert 10_000 < effective_attempts(problem.log_errors, problem.selected_shares(centre)) < 400_000


def test_components_that_are_left_out_shift_nothing():
    """The kept components carry all but a hundredth of a squared error of the whole covariance."""
    rng = np.random.default_rng(1)
    errors = 0.05 * rng.normal(size=(5, 2, 20)) * 10.0 ** -np.arange(5)[:, None, None]
    expected = rng.uniform(0, 10, (2, 20))
    kept = selection_errors(errors, expected)
    whole, some = (np.einsum("jsm,jtn->smtn", part, part) for part in (errors, kept.tables.numpy()))
    root = np.sqrt(expected)
    left = np.einsum("sm,smtn,tn->smtn", root, whole - some, root).reshape(40, 40)
    assert np.linalg.eigvalsh(left).max() < 0.0101
    assert 1 <= len(kept.tables) < 5


@pytest.mark.parametrize("make", [lambda e: KnownSelection(CUT.function, of_data=True, threshold_error=e),
                                  lambda e: MeasuredSelection(measured(400_000, 3), threshold_error=e)])  # fmt: skip
def test_an_error_of_the_threshold_shifts_the_selection_in_mass(make):
    grid, survey = np.linspace(13.0, 15.5, 251), Survey.of_volume(1e8)
    error = make(0.02).log_errors(grid, survey)[0, 0]
    shifted = np.log(expit((grid + 0.001 - 14.1) / 0.1)) - np.log(expit((grid - 0.001 - 14.1) / 0.1))
    inside = slice(60, 200)
    np.testing.assert_allclose(error[inside], 10 * shifted[inside], atol=0.03)  # the slope of a spline of measured odds


# ---- photometric redshifts ------------------------------------------------------------------------------------------


def test_expected_numbers_in_observed_shells_are_an_integral_over_true_redshifts():
    survey = Survey.of_sky(1000, [0.2, 0.3, 0.4], redshift_error=0.02, sample_variance=False)
    assert len(survey) == 4
    population = Population(CosmologyMassFunction(), mass_range=(14.0, 15.5))
    clusters = ObservedClusters(exact([14.5]), np.array([0.25]))
    problem = Problem.from_clusters(population, clusters, survey, counts=True)
    values = {"Om0": torch.tensor(MDPL2.Om0).double(), "sigma8": torch.tensor(MDPL2.sigma8).double()}
    rate = problem.log_rate(values).exp() @ problem.likelihood.weights
    comoving = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0)
    found = problem.expected_numbers(values).numpy()

    def integrand(z, low, high):
        """Haloes per redshift, at the density of their shell, that are observed between two redshifts."""
        number = next(i for i, s in enumerate(survey.shells) if s.low <= z < s.high)
        volume = comoving.differential_comoving_volume(z).value * 1000 * (np.pi / 180) ** 2
        first, last = ((end - z) / (0.02 * (1 + z)) for end in (low, high))
        return float(rate[number]) / survey.shells[number].volume * volume * (norm.cdf(last) - norm.cdf(first))

    for t, ends in ((1, (0.2, 0.3)), (2, (0.3, 0.4))):
        expected = sum(quad(integrand, shell.low, shell.high * (1 - 1e-12), ends)[0] for shell in survey.shells)
        assert found[t] == pytest.approx(expected, rel=5e-3)  # sixteen parts of a shell
    assert found[0] == found[3] == 0


def test_small_redshift_errors_leave_a_fit_as_it_is():
    rng = np.random.default_rng(1)
    masses, redshift = rng.uniform(14.0, 15.0, 30), rng.uniform(0.105, 0.295, 30)
    clusters = ObservedClusters(exact(masses), redshift)
    found = []
    for error in (0.0, 1e-5):
        survey = Survey.of_sky(1000, [0.1, 0.2, 0.3], redshift_error=error, sample_variance=False)
        population = Population(CosmologyMassFunction(), mass_range=(13.0, 15.8))
        problem = Problem.from_clusters(population, clusters, survey, counts=True)
        centre = problem.coordinates.centre
        found.append([float(problem.potential(centre + shift)) for shift in (0.0, 0.3)])
    sharp, blurred = np.diff(found, axis=1)[:, 0]
    assert sharp == pytest.approx(blurred, rel=1e-3)  # densities of redshifts, and shells of 4e-5 more


def test_redshift_errors_exchange_haloes_between_shells_and_the_margins():
    survey = Survey.of_sky(4000, [0.05, 0.1, 0.15], redshift_error=0.02, sample_variance=False)
    mixing = survey.mixing
    np.testing.assert_allclose(mixing[[0, -1]], 0)
    assert mixing[1, 2] > 0.05
    assert mixing[2, 1] > mixing[1, 2] * 0.3
    assert (mixing.sum(0) <= 1 + 1e-12).all()


@pytest.mark.parametrize("error", [-0.1, 0.3])
def test_impossible_redshift_errors_are_refused(error):
    with pytest.raises(ValueError, match="redshift_error"):
        Survey.of_sky(1000, [0.1, 0.2], redshift_error=error)
