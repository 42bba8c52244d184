"""One contract over all selections; each against its formula; samples that were cut, with and without their cut."""

import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM
from scipy.special import expit
from scipy.stats import norm

from clustermocks.haloes.cosmology import MDPL2
from clustermocks.selection import fit_selection
from sbi_clustermass.population import (
    AboveCut,
    Everything,
    KnownSelection,
    Laplace,
    MeasuredSelection,
    NormalMasses,
    Observable,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    Significance,
    Survey,
    fit,
    selection,
)
from sbi_clustermass.population.parameters import Unconstrained
from sbi_clustermass.posterior import MassPosteriors
from tests.population.threshold import UncertainThreshold

MASSES = np.linspace(13.0, 15.5, 51)
SHELLS = Survey.joined(
    Survey.of_sky(1000, [0.1, 0.3], offsets={"y": 0.1}), Survey.of_sky(1000, [0.3, 0.5, 0.7], offsets={"x": -0.2})
)
RELATIONS = {
    "y": ScalingRelation("y", (0.2, 0.1), (0.4, 0.1), 0.1, scatter_slope=(0.1, 0.1), evolution=(0.3, 0.1), pivot=14.3),
    "x": ScalingRelation("x", (1.5, 0.1), (3.5, 0.2), 0.3, pivot=14.3),
}
ATTEMPTED = np.random.default_rng(1).uniform(12.8, 15.6, 20_000)
MEASURED = fit_selection(ATTEMPTED, np.random.default_rng(2).random(20_000) < expit((ATTEMPTED - 14.1) / 0.1))
SELECTIONS = {
    "everything": Everything(),
    "known": KnownSelection(lambda m: expit((m - 14.1) / 0.1), of_data=True),
    "known, of redshift": KnownSelection(lambda m, z: expit((m - 14.1 - z) / 0.1), of_redshift=True, of_data=False),
    "measured": MeasuredSelection(MEASURED, threshold_error=0.01),
    "measured in each shell": MeasuredSelection((MEASURED, MEASURED, MEASURED)),
    "uncertain threshold": UncertainThreshold((14.1, 0.1), (0.2, 0.2)),
    "above cut": AboveCut("y", 0.3, error=0.05),
    "above significance": AboveCut("x", 5.0, kind=Significance),
}


# ---- contract -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=SELECTIONS)
def selected(request):
    return SELECTIONS[request.param]


def coordinates_of(selected):
    """Coordinates of the parameters of the relations and of the selection."""
    priors = {name: prior for relation in RELATIONS.values() for name, prior in relation.priors.items()}
    assert not set(priors) & set(selected.priors)
    return Unconstrained(priors | selected.priors)


def some_position(coordinates, *shape):
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(*shape, len(coordinates.centre), generator=generator, dtype=torch.float64)
    return coordinates.centre + 0.1 * noise


def test_every_selection_is_under_contract():
    found = {
        kind
        for kind in vars(selection).values()
        if isinstance(kind, type) and hasattr(kind, "bind") and kind is not selection.SelectionModel
    }
    assert found < {type(one) for one in SELECTIONS.values()}


def test_probabilities_lie_between_zero_and_one_and_rise_with_mass(selected):
    coordinates = coordinates_of(selected)
    found = selected.bind(MASSES, SHELLS, RELATIONS)(coordinates.parameters(some_position(coordinates)))
    assert found.shape in ((1, 51), (3, 51))
    assert found.dtype == torch.float64
    assert float(found.max()) < 1e-12  # float64 round-off
    assert (found.exp() >= 0).all()
    assert (found.diff(dim=-1) > -1e-7).all()  # a Fourier transform's round-off, relative to 1e-7
    assert isinstance(selected.of_data, bool)


def test_each_draw_has_its_own_probabilities(selected):
    coordinates, log_probability = coordinates_of(selected), selected.bind(MASSES, SHELLS, RELATIONS)
    positions = some_position(coordinates, 2, 3)
    together = log_probability(coordinates.parameters(positions))
    alone = log_probability(coordinates.parameters(positions[1, 2]))
    torch.testing.assert_close(together.expand(2, 3, *alone.shape)[1, 2], alone)


def test_gradient_is_finite_and_agrees_with_differences(selected):
    coordinates, log_probability = coordinates_of(selected), selected.bind(MASSES, SHELLS, RELATIONS)
    position = some_position(coordinates)

    def total(at):
        parameters = coordinates.parameters(at)
        return log_probability(parameters).exp().sum() + 0 * parameters["slope_y"]

    found = torch.autograd.functional.jacobian(total, position)
    steps = 1e-5 * torch.eye(len(position), dtype=torch.float64)
    expected = torch.stack([total(position + e) - total(position - e) for e in steps]) / 2e-5
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)  # step^2, and round-off of 1e-13 / step


def test_its_description_names_it(selected):
    """It is what a fit records."""
    assert type(selected).__name__ in repr(selected)


# ---- formulas -------------------------------------------------------------------------------------------------------


def test_above_cut_is_the_tail_of_the_observables_distribution_in_each_shell():
    values = {"intercept_y": 0.25, "slope_y": 0.45, "scatter_y": 0.1, "scatter_slope_y": -0.2, "evolution_y": 0.6}
    parameters = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
    found = AboveCut("y", 0.3, error=0.05).bind(MASSES, SHELLS, RELATIONS)(parameters).numpy()
    efunc = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0).efunc
    for row, shell, offset in zip(found, SHELLS.shells, (0.1, 0, 0), strict=True):
        mean = 0.25 + 0.45 * (MASSES - 14.3) + 0.6 * np.log10(efunc(shell.redshift) / efunc(0.117)) + offset
        spread = np.hypot(0.1 * 10 ** (-0.2 * (MASSES - 14.3)), 0.05)
        np.testing.assert_allclose(row, norm.logsf(0.3, mean, spread), rtol=1e-9, atol=1e-12)  # two log_ndtr


def test_a_known_selection_is_its_function_in_every_shell_or_in_each():
    whole = SELECTIONS["known"].bind(MASSES, SHELLS, {})({})
    np.testing.assert_allclose(whole.exp().numpy(), expit((MASSES - 14.1) / 0.1)[None])
    each = SELECTIONS["known, of redshift"].bind(MASSES, SHELLS, {})({})
    expected = [expit((MASSES - 14.1 - shell.redshift) / 0.1) for shell in SHELLS.shells]
    np.testing.assert_allclose(each.exp().numpy(), expected)


def test_masses_that_are_never_selected_have_no_probability():
    found = KnownSelection(lambda m: (m > 14).astype(float), of_data=True).bind(MASSES, SHELLS, {})({})
    assert torch.isneginf(found[0, MASSES <= 14]).all()
    assert (found[0, MASSES > 14] == 0).all()


# ---- samples that were cut ------------------------------------------------------------------------------------------

GRID = np.linspace(12.7, 15.9, 81)
A, B, S, E = 2.9, 0.35, 0.08, 0.04  # of the relation at 14.3, and an observable's error
LINE = ScalingRelation("y", (2.9, 0.3), (0.3, 0.3), 0.2, pivot=14.3)
QUICK = Laplace(num_samples=100, rounds=2, seed=1)


def observed(masses, seed, mass_error):
    """Mass estimates and values of y of clusters of these masses."""
    rng = np.random.default_rng(seed)
    estimates = masses + mass_error * rng.standard_normal(masses.size)
    return estimates, A + B * (masses - 14.3) + np.hypot(S, E) * rng.standard_normal(masses.size)


def clusters_of(estimates, values, mass_error):
    posteriors = MassPosteriors.from_normal(estimates, mass_error, GRID)
    return ObservedClusters(posteriors, observables={"y": Observable(values, E)})


def pulls_of(found, truth):
    return {name: (found[name].values.mean() - true) / found[name].values.std() for name, true in truth.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:population fit")  # a skewed posterior
def test_a_sample_cut_on_its_observable_is_recovered_with_the_cut_and_biased_without():
    """Where masses are few, only what scattered up is kept: a flatter slope and less scatter, Malmquist's bias."""
    masses = np.random.default_rng(1).normal(14.1, 0.3, 1000)
    estimates, values = observed(masses, 2, 0.15)
    kept = values > 2.83  # half of them: with fewer, the posterior of the parent sample is skewed
    assert 400 < kept.sum() < 600
    clusters = clusters_of(estimates[kept], values[kept], 0.15)
    truth = {"slope_y": B, "scatter_y": S, "intercept_y": A, "mass_mean": 14.1, "mass_width": 0.3}
    pulls = []
    for cut in (AboveCut("y", 2.83, error=E), Everything()):
        population = Population(NormalMasses(), (LINE,), cut)
        pulls.append(pulls_of(fit(population, clusters, counts=False, sampler=QUICK)["posterior"], truth))
    assert all(abs(pull) < 3 for pull in pulls[0].values()), pulls[0]  # fails for 1 in 75 seeds, with five such
    assert pulls[1]["slope_y"] < -4
    assert pulls[1]["scatter_y"] < -4


def haloes(volume, seed):
    """Log10 masses above 12.5 of a mass function near that of MDPL2."""
    grid = np.linspace(12.5, 16.0, 20_001)
    x = 10 ** (grid - 14.1)
    density = 2e-5 * x**-0.7 * np.exp(-(x**0.8))
    cumulative = np.append(0, np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid)))
    rng = np.random.default_rng(seed)
    return np.interp(rng.random(rng.poisson(volume * cumulative[-1])), cumulative / cumulative[-1], grid)


def test_relation_and_mass_function_are_recovered_where_a_regression_on_estimates_is_eddington_biased():
    """More clusters scatter up than down: at a given estimate the true mass, and y with it, is lower."""
    volume, error = 3e8, 0.2
    masses = haloes(volume, seed=3)
    estimates, values = observed(masses, 4, error)
    kept = estimates > 14.1
    assert 300 < kept.sum() < 900
    estimates, values = estimates[kept], values[kept]
    cut = KnownSelection(lambda m: norm.cdf((m - 14.1) / error), of_data=True)
    clusters = clusters_of(estimates, values, error)
    found = fit(
        Population(relations=(LINE,), selection=cut),
        clusters,
        Survey.of_volume(volume, sample_variance=False),
        sampler=QUICK,
    )
    x = 10**0.2
    density = np.log10(2e-5 * x**-0.7 * np.exp(-(x**0.8)))
    truth = {"slope_y": B, "intercept_y": A, "scatter_y": S, "log10_density": density, "slope": -0.7 - 0.8 * x**0.8}
    pulls = pulls_of(found["posterior"], truth)
    assert all(abs(pull) < 3 for pull in pulls.values()), pulls  # fails for 1 in 75 seeds, with five such
    (_slope, intercept), covariance = np.polyfit(estimates - 14.3, values, 1, cov=True)
    assert (intercept - A) / np.sqrt(covariance[1, 1]) < -8, "a steep mass function shifts masses more than it tilts"


def test_a_shell_in_which_nothing_is_selected_adds_nothing():
    near = Survey.of_sky(1000, [0.1, 0.3], sample_variance=False)
    both = Survey.of_sky(1000, [0.1, 0.3, 0.5], sample_variance=False)
    cut = KnownSelection(lambda m, z: np.where(z < 0.3, expit((m - 14.1) / 0.1), 0.0), of_redshift=True, of_data=True)
    posteriors = MassPosteriors.from_normal([14.2, 14.6], [0.1, 0.1], np.linspace(13.3, 15.5, 150))
    clusters = ObservedClusters(posteriors, redshift=np.array([0.15, 0.25]))
    problems = [
        Problem.from_clusters(Population(selection=cut), clusters, survey, counts=True) for survey in (near, both)
    ]
    centre = problems[0].coordinates.centre
    for shift in (0.0, 0.5):
        (one, slope), (other, other_slope) = (
            torch.func.grad_and_value(problem.potential)(centre + shift)[::-1] for problem in problems
        )
        assert float(one) == pytest.approx(float(other), abs=1e-9)
        np.testing.assert_allclose(slope, other_slope, atol=1e-9)


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda m: 1.5 - 0 * m, r"must lie in \[0, 1\], got 1.5 at log10_mass 13.000 and at 50 other masses"),
        (lambda m: -expit(m - 14), r"must lie in \[0, 1\], got -0.\d+ at log10_mass 13.000"),
        (
            lambda m: np.where(m > 14, np.nan, 0.5),
            r"must lie in \[0, 1\], got nan at log10_mass 14.\d+ and at \d+ other",
        ),
        (lambda m: 0 * m, "zero from 13.00 to 15.50: such a survey holds no cluster. It takes log10_mass"),
        (lambda m: np.float64(0.5), r"one probability a mass, shape \(51,\), got \(\)"),
        (lambda m: np.ones(7), r"one probability a mass, shape \(51,\), got \(7,\)"),
    ],
)
def test_functions_that_are_no_probability_are_refused(function, words):
    with pytest.raises(ValueError, match=words):
        KnownSelection(function, of_data=True).bind(MASSES, SHELLS, {})


def test_functions_of_redshift_that_are_no_probability_in_one_shell_are_refused():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        KnownSelection(lambda m, z: 0 * m + 1 + (z > 0.5), of_redshift=True, of_data=True).bind(MASSES, SHELLS, {})


@pytest.mark.parametrize("cut", [AboveCut("z", 0.3), AboveCut("z", 5.0, kind=Significance)])
def test_cuts_on_what_the_model_does_not_know_are_refused(cut):
    with pytest.raises(ValueError, match="cuts on 'z', of which the model has no relation; it has: x, y"):
        cut.bind(MASSES, SHELLS, RELATIONS)
    with pytest.raises(ValueError, match="cuts on 'z', of which the model has no relation; it has: none"):
        cut.bind(MASSES, SHELLS, {})


@pytest.mark.parametrize("bad", [{"cut": np.nan}, {"cut": 0.3, "error": -0.1}, {"cut": 0.3, "error": np.inf}])
def test_cuts_and_errors_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="AboveCut: needs a finite cut and an error of at least 0, found"):
        AboveCut("y", **bad)


def test_a_cut_on_significances_takes_no_error_of_its_own():
    cut = AboveCut("x", 5.0, error=0.1, kind=Significance)
    coordinates = coordinates_of(cut)
    with pytest.raises(ValueError, match="significance: its error is 1 by definition"):
        cut.bind(MASSES, SHELLS, RELATIONS)(coordinates.parameters(coordinates.centre))
