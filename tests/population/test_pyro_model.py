"""The Pyro model and the sampler's potential are one density under every handler; clusters in models of one's own."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDelta
from pyro.optim import Adam
from scipy.special import expit

from sbi_clustermass.population import (
    KnownSelection,
    MassFunction,
    Observable,
    ObservedClusters,
    Population,
    PopulationLikelihood,
    Problem,
    ScalingRelation,
    Survey,
    cluster_factor,
    population_model,
)
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.6, 131)
MEAN = np.linspace(13.9, 15.0, 40)
POSTERIORS = MassPosteriors.from_normal(MEAN, 0.1, GRID)
SHELLS = Survey.of_sky(300, [0.1, 0.2, 0.3])
RELATION = ScalingRelation("y", intercept=(2.9, 0.2), slope=(0.3, 0.2), scatter=0.1)


def problem_of(*, observables=False, counts=True, survey=SHELLS):
    relations = (RELATION,) if observables else ()
    given = {"y": Observable(2.9 + 0.3 * (MEAN - 14.3), 0.03)} if observables else {}
    redshift = np.linspace(0.11, 0.29, len(MEAN))[::-1].copy()
    selection = KnownSelection(lambda m: expit((m - 14.0) / 0.1), of_data=True)
    population = Population(MassFunction(), relations, selection=selection)
    return Problem.from_clusters(population, ObservedClusters(POSTERIORS, redshift, given), survey, counts=counts)


def traced(model, *args, sites=None, handler=None):
    model = model if sites is None else poutine.condition(model, sites)
    with poutine.trace() as found, torch.random.fork_rng():
        torch.manual_seed(3)
        (handler(model) if handler else model)(*args)
    found.trace.compute_log_prob()
    return found.trace


@pytest.mark.parametrize("observables", [False, True])
def test_model_and_potential_are_one_density(observables):
    """Up to the Jacobian of the coordinates, which differs by nothing between two positions with the same one."""
    problem = problem_of(observables=observables)
    generator = torch.Generator().manual_seed(1)
    position = problem.coordinates.centre + 0.1 * torch.randn(
        len(problem.coordinates.centre), generator=generator, dtype=torch.float64
    )
    parameters = problem.coordinates.parameters(position)
    terms = problem.terms(parameters)
    trace = traced(population_model, problem, sites=parameters)
    factors = trace.nodes["clusters"]["log_prob_sum"] + trace.nodes["clusters_count"]["log_prob_sum"]
    log_prior = problem.coordinates.log_prior(position, parameters)
    assert float(factors) == pytest.approx(float(terms["clusters"].sum() + terms["count"]), abs=1e-9)  # round-off
    assert float(factors + log_prior) == pytest.approx(-float(problem.potential(position)), abs=1e-9)


@pytest.mark.parametrize("observables", [False, True])
@pytest.mark.parametrize("dim", [-1, -2])
def test_particles_of_an_outer_plate_are_each_by_itself(observables, dim):
    """Sums over all particles gave each of four the sum of all."""
    problem = problem_of(observables=observables)

    def particles(model):
        def run(*args):
            with pyro.plate("particles", 4, dim=dim):
                model(*args)

        return run

    together = traced(population_model, problem, handler=particles)
    shape = (4,) if dim == -1 else (4, 1)
    found = together.nodes["clusters"]["log_prob"].sum(-2 if dim == -1 else -1).reshape(4)
    assert together.nodes["clusters_count"]["log_prob"].shape == shape
    for i in range(4):
        sites = {name: together.nodes[name]["value"].reshape(4, *prior.event_shape)[i] for name, prior in
                 problem.priors.items()}  # fmt: skip
        alone = traced(population_model, problem, sites=sites)
        assert float(found[i]) == pytest.approx(float(alone.nodes["clusters"]["log_prob_sum"]), abs=1e-9)
        count = together.nodes["clusters_count"]["log_prob"].reshape(4)[i]
        assert float(count) == pytest.approx(float(alone.nodes["clusters_count"]["log_prob_sum"]), abs=1e-9)


def test_vectorised_particles_of_an_elbo_give_what_a_loop_gives():
    problem = problem_of()
    pyro.clear_param_store()
    guide = AutoDelta(lambda: population_model(problem))
    losses = [
        Trace_ELBO(num_particles=3, vectorize_particles=vectorised, max_plate_nesting=1).loss(
            lambda: population_model(problem), guide
        )
        for vectorised in (False, True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-10)  # AutoDelta draws the same point every time


@pytest.mark.parametrize("observables", [False, True])
def test_a_subsample_is_some_of_the_clusters_scaled_to_all(observables):
    problem = problem_of(observables=observables)
    sites = {name: torch.as_tensor(0.1).double() if "scatter" in name else prior.mean
             for name, prior in problem.priors.items()}  # fmt: skip
    whole = traced(population_model, problem, sites=sites).nodes["clusters"]["log_prob"]
    some = traced(population_model, problem, 10, sites=sites).nodes
    rows = some["clusters_plate"]["value"]
    assert len(rows) == 10
    assert some["clusters"]["scale"] == len(MEAN) / 10
    torch.testing.assert_close(some["clusters"]["unscaled_log_prob"], whole[rows])


# ---- a model of one's own -------------------------------------------------------------------------------------------


def test_a_factor_can_be_subsampled_by_svi():
    likelihood = PopulationLikelihood.from_posteriors(POSTERIORS)

    def model():
        slope = pyro.sample("slope", dist.Normal(torch.tensor(-1.0).double(), 1.0))
        log_rate = (slope * (likelihood.log10_mass - 14.3))[None]
        cluster_factor("clusters", likelihood, log_rate, counts=False, subsample_size=8)

    pyro.clear_param_store()
    guide = AutoDelta(model)
    steps = SVI(model, guide, Adam({"lr": 0.05}), Trace_ELBO())
    losses = [steps.step() for _ in range(5)]
    assert np.isfinite(losses).all()
    assert traced(model).nodes["clusters"]["scale"] == len(MEAN) / 8


def test_counts_of_a_factor_are_poisson():
    """A constant rate of haloes per dex on a range of R dex, all selected: N_e = rate x R."""
    likelihood = PopulationLikelihood.from_posteriors(POSTERIORS, mass_range=(13.0, 15.6))
    log_rate = torch.full((1, len(GRID)), np.log(20.0), dtype=torch.float64)
    trace = traced(lambda: cluster_factor("clusters", likelihood, log_rate))
    n, expected = len(MEAN), 20.0 * 2.6
    assert float(trace.nodes["clusters_count"]["log_prob_sum"]) == pytest.approx(n * np.log(expected) - expected)
    each = likelihood.log_clusters(log_rate)[..., likelihood.place] - np.log(expected)
    torch.testing.assert_close(trace.nodes["clusters"]["log_prob"], each)
