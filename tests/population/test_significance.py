"""Significances of SZ detections against quadrature, and a survey found by them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM
from scipy.integrate import quad
from scipy.stats import norm

from clustermocks.haloes.cosmology import MDPL2, mass_function
from sbi_clustermass.population import (
    AboveCut,
    CosmologyMassFunction,
    Laplace,
    NormalMasses,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    Significance,
    Survey,
    fit,
)
from sbi_clustermass.posterior import MassPosteriors

CUT = 5.0
A, B, C, S = 1.6, 3.5, 2.5, 0.2  # of ln zeta at 10^14.5 and z = .5
RELATION = ScalingRelation("ln_zeta", (A, 0.1), (B, 0.2), 0.3, evolution=(C, 0.5), pivot=14.5, redshift_pivot=0.5)
RANGE = (13.3, 15.8)
TRUTH = {
    "Om0": MDPL2.Om0,
    "sigma8": MDPL2.sigma8,
    "intercept_ln_zeta": A,
    "slope_ln_zeta": B,
    "evolution_ln_zeta": C,
    "scatter_ln_zeta": S,
}


def mean_xi(ln_zeta):
    """sqrt(zeta^2 + 3) of haloes that stand out, zeta > 2; in proportion below."""
    zeta = np.exp(ln_zeta)
    return np.where(zeta > 2, np.sqrt(zeta**2 + 3), zeta * np.sqrt(7) / 2)


def averaged(function, mean, scatter):
    """Over a normal ln zeta, by adaptive quadrature."""
    ends = sorted(
        {
            mean - 9 * scatter,
            *np.clip([mean - scatter, np.log(2), mean + scatter], mean - 9 * scatter, mean + 9 * scatter),
            mean + 9 * scatter,
        }
    )
    parts = (
        quad(lambda x: norm.pdf(x, mean, scatter) * function(x), *pair, epsabs=0, epsrel=1e-10)[0]
        for pair in pairwise(ends)
    )
    return sum(parts)


def column(scatter):
    return torch.tensor([[scatter]], dtype=torch.float64)


def truth(**more):
    values = {"intercept_ln_zeta": A, "slope_ln_zeta": B, "scatter_ln_zeta": S, "evolution_ln_zeta": C, **more}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


# ---- densities and probabilities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scatter", [0.05, 0.2, 0.5])
def test_density_of_a_significance_agrees_with_quadrature(scatter):
    values, means = np.array([5.0, 8.0, 25.0]), np.array([-1.0, 0.7, 1.5, 2.2, 3.1, 3.3])
    offset = np.array([0.0, 0.2, -0.1])
    mean = torch.as_tensor(np.tile(means, (3, 1)))
    found = Significance(values, offset).log_likelihood(mean, column(scatter)).exp().numpy()
    expected = [
        [averaged(lambda x, xi=xi: norm.pdf(xi, mean_xi(x), 1), m + shift, scatter) for m in means]
        for xi, shift in zip(values, offset, strict=True)
    ]
    # the bend at zeta = 2, on a table of .01; 1e-16 is the floor of a Fourier transform
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=3e-16)


@pytest.mark.parametrize("scatter", [0.05, 0.2, 0.5])
def test_probability_of_a_detection_agrees_with_quadrature_at_every_redshift_and_depth(scatter):
    survey = Survey.joined(
        Survey.of_sky(100, [0.2, 0.4, 0.6], offsets={"ln_zeta": 0.3}, sample_variance=False),
        Survey.of_sky(100, [0.6, 1.0], offsets={"other": 9.0}, sample_variance=False),
    )
    masses = np.linspace(13.5, 15.5, 6)  # ln zeta of -1.9 and more: four scatters above the table's lower end
    log_probability = AboveCut("ln_zeta", CUT, kind=Significance).bind(masses, survey, {"ln_zeta": RELATION})
    found = log_probability(truth(scatter_ln_zeta=scatter)).exp().numpy()
    efunc = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0).efunc
    for row, shell, offset in zip(found, survey.shells, (0.3, 0.3, 0.0), strict=True):
        mean = A + B * (masses - 14.5) + C * np.log10(efunc(shell.redshift) / efunc(0.5)) + offset
        expected = [averaged(lambda x: norm.sf(CUT, mean_xi(x), 1), m, scatter) for m in mean]
        np.testing.assert_allclose(row, expected, rtol=2e-5)  # the table's lower end, four scatters away


def test_a_detection_is_certain_far_above_the_cut_and_never_more_than_that():
    masses = np.linspace(12.0, 18.0, 61)
    log_probability = AboveCut("ln_zeta", CUT, kind=Significance).bind(
        masses, Survey.of_volume(1.0, sample_variance=False), {"ln_zeta": RELATION}
    )
    for scatter in (0.002, 0.02, 0.2, 0.5):
        found = log_probability(truth(scatter_ln_zeta=scatter))[0]
        # Fourier sums of a scatter that falls through the table's steps or reaches its ends leave 1e-8
        assert float(found.max()) < 1e-7
        assert float(found[-1]) == pytest.approx(0, abs=1e-6)
        assert scatter < 0.02 or (found.diff() > -1e-7).all(), "it rises with mass"


def test_scatter_far_below_a_step_of_the_table_is_none():
    """Else a likelihood would grow without end towards no scatter."""
    mean = torch.linspace(1.0, 2.5, 7, dtype=torch.float64)[None]
    found = Significance(np.array([6.0])).log_likelihood(mean, column(1e-5)).numpy()
    expected = norm.logpdf(6.0, mean_xi(mean.numpy()), 1)
    np.testing.assert_allclose(
        found, expected, atol=0.01**2 / 8 * 150
    )  # linear between points; second derivative zeta^2


def test_densities_above_the_cut_integrate_to_the_probability_of_a_detection():
    """Likelihood and selection are consistent, in a field with its own depth."""
    masses = np.array([13.8, 14.3, 14.6])
    nodes, weights = np.polynomial.legendre.leggauss(200)
    xi = CUT + 20 * (nodes + 1)  # up to 45, where nothing is left
    survey = Survey.of_sky(100, [0.45, 0.55], offsets={"ln_zeta": 0.2}, sample_variance=False)
    selected = AboveCut("ln_zeta", CUT, kind=Significance).bind(masses, survey, {"ln_zeta": RELATION})(truth())[0].exp()
    mean = RELATION.mean(torch.as_tensor(masses), truth(), torch.as_tensor(survey.redshift)).expand(len(xi), -1)
    density = Significance(xi, 0.2).log_likelihood(mean, column(S)).exp()
    # a bend of the table at zeta = 2; the quadrature is exact
    np.testing.assert_allclose(20 * weights @ density.numpy(), selected.numpy(), rtol=2e-4)


def test_many_draws_at_once_are_each_by_itself():
    observed = Significance(np.array([5.5, 9.0]), 0.1)
    generator = torch.Generator().manual_seed(0)
    mean, std = (torch.rand(3, *shape, generator=generator, dtype=torch.float64) + 0.1 for shape in ((2, 5), (1, 1)))
    together = observed.log_likelihood(2 * mean, std)
    assert together.shape == (3, 2, 5)
    torch.testing.assert_close(together[2], observed.log_likelihood(2 * mean[2], std[2]))


def test_slope_and_curvature_of_the_density_are_those_of_quadrature():
    """Samplers start from the curvature: a table that is read off along lines has none, and made them start astray."""
    observed, means, step = Significance(np.array([7.0])), np.array([1.2, 1.8, 2.4]), 1e-3

    def exact(shift, widening):
        return np.array(
            [np.log(averaged(lambda x: norm.pdf(7, mean_xi(x), 1), m + shift, 0.2 + widening)) for m in means]
        )

    def by_mean(shift):
        return observed.log_likelihood(torch.as_tensor(means)[None] + shift, column(0.2))[0]

    def by_scatter(widening):
        return observed.log_likelihood(torch.as_tensor(means)[None], column(0.2) + widening)[0]

    zero = torch.zeros((), dtype=torch.float64)

    def derivatives(function):
        slope = torch.autograd.functional.jacobian(function, zero)
        each = [torch.autograd.functional.hessian(lambda x, i=i: function(x)[i], zero) for i in range(3)]
        return slope.numpy(), torch.stack(each).numpy()

    for function, part in ((by_mean, (step, 0)), (by_scatter, (0, step))):
        up, here, down = (exact(*(sign * x for x in part)) for sign in (1, 0, -1))
        slope, curvature = derivatives(function)
        # differences leave step^2 of higher derivatives, up to a thousand, and a cubic's own curvature as much
        np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-4)
        np.testing.assert_allclose(curvature, (up + down - 2 * here) / step**2, rtol=1e-3)


def test_predicted_significances_have_the_mean_and_spread_of_quadrature():
    mean, n = 1.9, 40_000
    observed = Significance(np.array([6.0]), 0.1)
    parts = (torch.full((n, 1), value, dtype=torch.float64) for value in (mean, 0.2))
    found = observed.predict(*parts, torch.Generator().manual_seed(0)).numpy()
    first, second = (averaged(lambda x, k=k: mean_xi(x) ** k, mean + 0.1, 0.2) for k in (1, 2))
    spread = np.sqrt(1 + second - first**2)
    assert abs(found.mean() - first) < 4 * spread / np.sqrt(n)
    assert found.std() == pytest.approx(spread, rel=4 * 1.2 / np.sqrt(2 * n))  # skewed: 1.2 times a normal's error


# ---- a survey -------------------------------------------------------------------------------------------------------


def detections(survey, seed, cosmology=MDPL2):
    """Redshifts, significances, field offsets and masses of all that exceed the cut, from colossus' mass function."""
    rng, astropy = np.random.default_rng(seed), FlatLambdaCDM(H0=100, Om0=cosmology.Om0)
    grid, found = np.linspace(*RANGE, 251), []
    for shell in survey.shells:
        edges = np.linspace(shell.low, shell.high, 6)
        volumes = np.diff(astropy.comoving_volume(edges).value) * shell.area / 41_252.96
        for z, volume in zip(0.5 * (edges[1:] + edges[:-1]), volumes, strict=True):
            density = mass_function(10**grid, float(z), cosmology)
            cumulative = np.append(0, np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid)))
            masses = np.interp(rng.random(rng.poisson(volume * cumulative[-1])), cumulative / cumulative[-1], grid)
            offset = shell.offsets.get("ln_zeta", 0.0)
            mean = A + B * (masses - 14.5) + C * np.log10(astropy.efunc(z) / astropy.efunc(0.5)) + offset
            xi = mean_xi(mean + S * rng.standard_normal(masses.size)) + rng.standard_normal(masses.size)
            kept = xi[xi > CUT]
            found.append([np.full(kept.size, z), kept, np.full(kept.size, offset), masses[xi > CUT]])
    return np.concatenate(found, axis=1)


def fitted(survey, seed, sampler, *, lensing=None):
    """A fit, and the number of clusters; with the error of lensing masses [dex], or without masses."""
    redshift, xi, offset, true = detections(survey, seed)
    observed, grid = {"ln_zeta": Significance(xi, offset)}, np.linspace(*RANGE, 63)
    if lensing is None:
        clusters = ObservedClusters.without_masses(observed, redshift=redshift, masses=RANGE, step=0.04)
    else:
        estimates = true + lensing * np.random.default_rng(seed + 100).standard_normal(true.size)
        clusters = ObservedClusters(MassPosteriors.from_normal(estimates, lensing, grid), redshift, observed)
    selection = AboveCut("ln_zeta", CUT, kind=Significance)
    population = Population(CosmologyMassFunction(), (RELATION,), selection, mass_range=RANGE)
    return fit(population, clusters, survey, sampler=sampler), xi


@pytest.mark.slow
def test_cosmology_and_relation_are_recovered_from_a_survey_cut_on_significance():
    """With masses from lensing, which distinguish the relation from the cosmology."""
    found, xi = fitted(
        Survey.of_sky(250, np.linspace(0.2, 0.8, 5), sample_variance=False),
        1,
        Laplace(num_samples=60, seed=1),
        lensing=0.2,
    )
    for name, true in TRUTH.items():
        draws = found["posterior"][name].values
        assert abs(draws.mean() - true) < 3 * draws.std(), name  # fails for 1 in 60 seeds, with six such
    assert found["posterior"]["sigma8"].values.std() < 0.1, "the data know more than the prior, .2"
    number = found["posterior_predictive"]["n_selected"].values
    assert abs(number.mean() - len(xi)) < 4 * np.sqrt(2 * len(xi))  # the number's own error, and the fit's
    predicted = found["posterior_predictive"]["ln_zeta"].values[0]
    assert predicted.mean() == pytest.approx(xi.mean(), abs=4 * xi.std() / np.sqrt(len(xi)))


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [[6.0, 0.0], [-5.0], [np.nan, 6.0], [np.inf], [[6.0, 7.0]]])
def test_significances_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match="every xi must be a positive finite number"):
        Significance(np.array(values))


@pytest.mark.parametrize("offset", [np.zeros(3), np.nan, np.array([0.0, np.inf])])
def test_offsets_that_do_not_fit_are_refused(offset):
    with pytest.raises(ValueError, match="needs a finite offset for each of 2 clusters, or one for all"):
        Significance(np.array([6.0, 7.0]), offset)


def test_scatter_that_changes_with_mass_is_refused_in_likelihood_and_selection():
    relation = replace(RELATION, scatter_slope=(0.0, 0.1))
    observed = {"ln_zeta": Significance(np.array([6.0, 7.0]))}
    clusters = ObservedClusters.without_masses(observed)
    parameters = truth(scatter_slope_ln_zeta=0.1, mass_mean=14.3, mass_width=0.3)
    problem = Problem.from_clusters(Population(NormalMasses(), (relation,)), clusters, None, counts=False)
    with pytest.raises(ValueError, match="a scatter that is the same at every mass: no scatter_slope"):
        problem.terms(parameters)
    selected = AboveCut("ln_zeta", CUT, kind=Significance).bind(
        np.linspace(13, 15, 5), Survey.of_volume(1.0, sample_variance=False), {"ln_zeta": relation}
    )
    with pytest.raises(ValueError, match="a scatter that is the same at every mass: no scatter_slope"):
        selected(parameters)


# ---- slow -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_cosmology_is_recovered_from_counts_alone_by_a_survey_of_two_depths():
    edges = np.linspace(0.25, 1.25, 11)
    deep, wide = (
        Survey.of_sky(area, edges, offsets={"ln_zeta": depth}, sample_variance=False)
        for area, depth in ((500, 0.2), (1000, -0.1))
    )
    found, xi = fitted(Survey.joined(deep, wide), 2, Laplace(num_samples=150, seed=1))
    assert len(xi) > 1000
    for name, true in TRUTH.items():
        draws = found["posterior"][name].values
        assert abs(draws.mean() - true) < 3 * draws.std(), name  # fails for 1 in 60 seeds, with six such
    assert found["posterior"]["sigma8"].values.std() < 0.05, "the data know more than the prior, .2"
