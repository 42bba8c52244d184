"""Priors in the samplers' coordinates against quadrature; Chebyshev interpolation against what it interpolates."""

import math
from dataclasses import replace

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from scipy.integrate import quad

from sbi_clustermass.population import (
    NormalMasses,
    Observable,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    population_model,
)
from sbi_clustermass.population.chebyshev import Chebyshev
from sbi_clustermass.population.model import CORRELATION
from sbi_clustermass.population.parameters import Concatenated, Unconstrained, half_normal, log_normal, normal, uniform
from sbi_clustermass.posterior import MassPosteriors
from tests.population.threshold import UncertainThreshold

ONE = torch.ones((), dtype=torch.float64)
PRIORS = {
    "normal": normal("it", "x", (2.9, 0.2)),
    "log_normal": log_normal("it", "x", (0.7, 0.3)),
    "half_normal": half_normal("it", "x", 0.2),
    "uniform": uniform("it", "x", (0.1, 0.6)),
}


def lkj(size):
    return Unconstrained({"R": dist.LKJCholesky(size, ONE, validate_args=False)})


def at(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def density(coordinates, *position):
    position = at(*position)
    return float(coordinates.log_prior(position, coordinates.parameters(position)).exp())


# ---- each parameter by itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRIORS)
def test_density_of_a_position_integrates_to_one_and_half_of_it_lies_below_the_centre(name):
    coordinates = Unconstrained({"x": PRIORS[name]})
    middle = float(coordinates.centre)
    below, above = (quad(lambda u: density(coordinates, u), *ends)[0] for ends in ((-30, middle), (middle, 40)))
    # quad's own 1e-8; beyond the ends lie e^-30 of the logistic density, the widest
    assert below == pytest.approx(0.5, abs=1e-7)
    assert above == pytest.approx(0.5, abs=1e-7)


@pytest.mark.parametrize("name", PRIORS)
def test_every_position_is_a_parameter_of_the_priors_support(name):
    coordinates = Unconstrained({"x": PRIORS[name]})
    positions = torch.linspace(-8, 8, 33, dtype=torch.float64)[:, None]
    values = coordinates.parameters(positions)["x"]
    assert PRIORS[name].support.check(values).all()
    assert (values.diff() > 0).all()


def test_correlation_of_two_is_flat_between_minus_one_and_one():
    coordinates = lkj(2)
    for end in (-1.0, 0.0, 0.7):
        rho = float(coordinates.parameters(at(end))["R"][1, 0])
        below, _ = quad(lambda u: density(coordinates, u), -20, end)
        assert below == pytest.approx((rho + 1) / 2, abs=1e-8)  # quad's own


def test_prior_is_flat_over_the_correlation_matrices_of_three():
    """Their volume is pi^2 / 2 (Rousseeuw & Molenberghs 1994, Am. Stat. 48, 276)."""
    coordinates = lkj(3)

    def entries(position):
        factor = coordinates.parameters(position)["R"]
        matrix = factor @ factor.mT
        return torch.stack([matrix[1, 0], matrix[2, 0], matrix[2, 1]])

    for position in (at(0, 0, 0), at(0.3, -0.8, 1.1), at(-1.5, 0.2, 0.6)):
        jacobian = torch.autograd.functional.jacobian(entries, position)
        log_prior = float(coordinates.log_prior(position, coordinates.parameters(position)))
        in_entries = log_prior - float(torch.linalg.slogdet(jacobian).logabsdet)
        assert in_entries == pytest.approx(-math.log(math.pi**2 / 2), abs=1e-6)  # torch's clamp of tanh at 1e-8


def test_centre_of_the_correlations_is_none():
    torch.testing.assert_close(lkj(3).parameters(lkj(3).centre)["R"], torch.eye(3, dtype=torch.float64))


def test_no_parameters_have_no_coordinates_and_no_density():
    nothing = Unconstrained({})
    assert nothing.centre.shape == (0,)
    assert nothing.parameters(nothing.centre) == {}
    assert float(nothing.log_prior(nothing.centre, {})) == 0.0


# ---- together -------------------------------------------------------------------------------------------------------


def test_joined_coordinates_are_their_parts_one_after_another():
    parts = (
        Unconstrained({"x": PRIORS["normal"], "y": PRIORS["half_normal"]}),
        lkj(3),
        Unconstrained({"z": PRIORS["uniform"]}),
    )
    joined = Concatenated(*parts)
    position = torch.linspace(-1, 1, 6, dtype=torch.float64)
    own = position[:2], position[2:5], position[5:]
    parameters = joined.parameters(position)
    assert list(parameters) == ["x", "y", "R", "z"]
    for part, piece in zip(parts, own, strict=True):
        for name, value in part.parameters(piece).items():
            torch.testing.assert_close(parameters[name], value)
    expected = sum(float(part.log_prior(piece, part.parameters(piece))) for part, piece in zip(parts, own, strict=True))
    assert float(joined.log_prior(position, parameters)) == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(joined.centre, torch.cat([part.centre for part in parts]))


def test_many_positions_at_once_are_each_by_itself():
    relations = tuple(ScalingRelation(name, (0.0, 1.0), (1.0, 0.5), 0.2) for name in ("x", "y", "z"))
    selection = UncertainThreshold((14.0, 0.1), (0.2, 0.2))
    population = Population(NormalMasses(), relations, selection, correlated=True)
    coordinates = population.coordinates
    generator = torch.Generator().manual_seed(3)
    positions = torch.randn(2, 4, len(coordinates.centre), generator=generator, dtype=torch.float64)
    parameters = coordinates.parameters(positions)
    assert set(parameters) == set(population.priors)
    assert parameters[CORRELATION].shape == (2, 4, 3, 3)
    alone = coordinates.parameters(positions[1, 2])
    for name, value in parameters.items():
        torch.testing.assert_close(value[1, 2], alone[name])
    together = coordinates.log_prior(positions, parameters)
    assert together.shape == (2, 4)
    torch.testing.assert_close(together[1, 2], coordinates.log_prior(positions[1, 2], alone))


def test_each_relation_has_the_sites_of_its_observable():
    relation = ScalingRelation("log_sigma", (2.9, 0.1), (0.3, 0.1), 0.1, scatter_slope=(0, 1), evolution=(0, 1))
    names = ["intercept", "slope", "scatter", "scatter_slope", "evolution"]
    assert set(relation.priors) == {f"{name}_log_sigma" for name in names}
    assert set(ScalingRelation("y", (2.9, 0.1), (0.3, 0.1), 0.1).priors) == {f"{name}_y" for name in names[:3]}


def test_derived_correlations_are_those_of_the_matrix():
    relations = tuple(ScalingRelation(name, (0.0, 1.0), (1.0, 0.5), 0.2) for name in ("x", "y", "z"))
    population = Population(NormalMasses(), relations, correlated=True)
    matrix = np.array([[1, 0.5, -0.2], [0.5, 1, 0.3], [-0.2, 0.3, 1]])
    found = population.derived({CORRELATION: torch.as_tensor(np.linalg.cholesky(matrix))})
    expected = {"correlation_x_y": 0.5, "correlation_x_z": -0.2, "correlation_y_z": 0.3}
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, abs=1e-14)


def test_the_pyro_model_with_relations_and_the_samplers_potential_are_the_same_density():
    """Up to the Jacobian of the sampler's coordinates; a correlation of two is the one free entry of its factor."""
    relations = tuple(ScalingRelation(name, (0.0, 1.0), (1.0, 0.5), 0.2) for name in ("x", "y"))
    population = Population(NormalMasses(), relations, UncertainThreshold((14.0, 0.1), (0.2, 0.2)), correlated=True)
    rng = np.random.default_rng(1)
    posteriors = MassPosteriors.from_normal(rng.normal(14.3, 0.2, 6), 0.1, np.linspace(13, 15.6, 53))
    clusters = ObservedClusters(posteriors, observables={name: Observable(rng.normal(0, 0.3, 6), 0.1) for name in "xy"})
    problem, coordinates = Problem.from_clusters(population, clusters, None, counts=False), population.coordinates
    position = coordinates.centre + 0.2
    parameters = coordinates.parameters(position)
    with poutine.trace() as traced, poutine.condition(data=parameters):
        population_model(problem)

    def free(y):
        found = coordinates.parameters(y)
        return torch.stack([value[1, 0] if name == CORRELATION else value for name, value in found.items()])

    jacobian = torch.autograd.functional.jacobian(free, position)
    total = float(traced.trace.log_prob_sum() + torch.linalg.slogdet(jacobian).logabsdet)
    assert -float(problem.potential(position)) == pytest.approx(total, abs=1e-9)  # float64 round-off
    correlation = float(traced.trace.nodes["correlation_x_y"]["value"])
    assert correlation == pytest.approx(float(parameters[CORRELATION][1, 0]))


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize(
    ("prior", "of"), [(normal, lambda w: (1.0, w)), (log_normal, lambda w: (1.0, w)), (half_normal, float)]
)
def test_widths_that_are_none_are_refused_by_owner_and_name(prior, of, width):
    with pytest.raises(ValueError, match=r"ScalingRelation 'y': the prior .*slope (must be positive|needs two finite)"):
        prior("ScalingRelation 'y'", "slope", of(width))


@pytest.mark.parametrize(
    ("prior", "values", "words"),
    [
        (normal, (np.nan, 1.0), "prior of x needs two finite numbers"),
        (log_normal, (0.0, 1.0), "prior median of x must be positive, got 0.0"),
        (uniform, (1.0, 1.0), "prior of x must rise from low to high, got 1.0 and 1.0"),
        (uniform, (0.0, np.inf), "prior of x needs two finite numbers"),
    ],
)
def test_priors_that_are_none_are_refused(prior, values, words):
    with pytest.raises(ValueError, match=words):
        prior("it", "x", values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observable": "log sigma"}, "observable is 'log sigma'. It needs a name, such as log_sigma"),
        ({"observable": ""}, "observable is ''"),
        ({"intercept": (2.9, 0.0)}, "ScalingRelation 'y': the prior width of intercept must be positive, got 0.0"),
        ({"slope": (np.nan, 0.1)}, "prior of slope needs two finite numbers"),
        ({"scatter": -0.1}, "prior width of scatter must be positive, got -0.1"),
        ({"scatter_slope": (0.0, -1.0)}, "prior width of scatter_slope must be positive"),
        ({"evolution": (0.0, np.inf)}, "prior of evolution needs two finite numbers"),
    ],
)
def test_relations_that_are_none_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        ScalingRelation(**{"observable": "y", "intercept": (2.9, 0.1), "slope": (0.3, 0.1), "scatter": 0.1} | change)


def test_two_relations_of_one_observable_are_refused():
    one = ScalingRelation("y", (2.9, 0.1), (0.3, 0.1), 0.1)
    with pytest.raises(ValueError, match="two relations are of one observable: y, y"):
        Population(relations=(one, replace(one, scatter=0.3)))
    with pytest.raises(ValueError, match="correlated scatter needs two relations or more, found 1"):
        Population(relations=(one,), correlated=True)


# ---- Chebyshev ------------------------------------------------------------------------------------------------------


def test_polynomials_of_a_lower_degree_than_the_nodes_are_exact():
    interpolant = Chebyshev.from_function(lambda x: np.array([x**4 - 2 * x, 3.0, x]), ((0.1, 0.6),), (5,))
    x = torch.linspace(0.1, 0.6, 23, dtype=torch.float64)
    expected = torch.stack([x**4 - 2 * x, torch.full_like(x, 3.0), x], -1)
    torch.testing.assert_close(interpolant(x), expected, rtol=0, atol=1e-11)  # ends are taken 1e-12 inside; degree^2


def test_value_and_slope_of_a_smooth_function_converge():
    interpolant = Chebyshev.from_function(lambda x: np.array([np.exp(x), np.sin(5 * x)]), ((-1.0, 2.0),), (24,))
    x = torch.linspace(-0.99, 1.99, 12, dtype=torch.float64, requires_grad=True)  # at the ends a slope is 0
    expected = torch.stack([x.exp(), torch.sin(5 * x)], -1)
    found = interpolant(x)
    # the first coefficient left out is 2 J_24(7.5) = 1.1e-10; in the slope at the ends it counts 24^2 / 1.5 times
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-10)
    slope, truth = (torch.autograd.grad(each.sum(), x, retain_graph=True)[0] for each in (found, expected))
    torch.testing.assert_close(slope, truth, rtol=0, atol=1e-7)


def test_split_interpolants_are_the_columns_of_the_whole():
    whole = Chebyshev.from_function(lambda x: np.array([x, x**2, x**3]), ((0.0, 1.0),), (6,))
    one, two = whole.split((1, 2))
    x = torch.rand(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(torch.cat([one(x), two(x)], -1), whole(x))
