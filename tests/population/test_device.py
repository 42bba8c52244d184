"""Where a population's likelihood is computed: with fake tensors on a device that is not the CPU, and on a GPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sbi_clustermass.population import (
    KnownSelection,
    Laplace,
    MassFunction,
    Observable,
    ObservedClusters,
    Population,
    Problem,
    ScalingRelation,
    Significance,
    Survey,
    fit,
)
from sbi_clustermass.population.predictive import log_mass_posterior, log_mass_prior
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.6, 60)
MEAN = np.linspace(13.9, 14.9, 12)


def selection(log10_mass):
    return 1 / (1 + np.exp(-(log10_mass - 14.0) / 0.1))


def relation(name):
    return ScalingRelation(name, intercept=(2.9, 0.2), slope=(0.3, 0.2), scatter=0.1, evolution=(0.0, 0.3))


ONE, TWO = (relation("one"),), (relation("one"), relation("two"))
MEASURED = Observable(2.9 + 0.3 * (MEAN - 14.3), 0.03)
EVOLVING = MassFunction(m_star_evolution=(-0.64, 0.5), density_evolution=(-0.91, 0.5))
CASES = {
    "masses alone": (Population(EVOLVING, selection=KnownSelection(selection, of_data=True, threshold_error=0.05)), {}),
    "a relation": (
        Population(EVOLVING, relations=ONE, selection=KnownSelection(selection, of_data=False)),
        {"one": MEASURED},
    ),
    "correlated": (Population(EVOLVING, relations=TWO, correlated=True), {"one": MEASURED, "two": MEASURED}),
    # about exp of what the relation says: 80 e-folds off, all that is left is the rounding of a Fourier transform
    "a significance": (Population(EVOLVING, relations=ONE), {"one": Significance(np.exp(2.9 + 0.3 * (MEAN - 14.3)))}),
}
LINES = tuple("aabbccdefghi")  # some clusters have several lines of sight


def problem_of(case, device="cpu", redshift_error=0.0):
    population, observables = CASES[case]
    posteriors = replace(MassPosteriors.from_normal(MEAN, 0.1, GRID), names=LINES)
    clusters = ObservedClusters(posteriors, np.full(12, 0.2), observables, repeated="weight")
    survey = Survey.of_sky(100, [0.1, 0.3], redshift_error=redshift_error)
    return Problem.from_clusters(population, clusters, survey, counts=True, device=device)


@pytest.mark.parametrize("redshift_error", [0.0, 0.02])
@pytest.mark.parametrize("case", CASES)
def test_integrals_of_the_clusters_stay_on_their_device(case, redshift_error):
    """Fake tensors: an operation between devices raises, whatever the numbers."""
    problem = problem_of(case, redshift_error=redshift_error)
    coordinates = problem.coordinates
    parameters = coordinates.parameters(coordinates.centre)
    assert {mode.site for mode in problem.modes} >= {"density_contrast"}
    with FakeTensorMode(allow_non_fake_inputs=True):
        likelihood = problem.likelihood.to("meta")
        elsewhere = replace(problem, likelihood=likelihood, redshift=problem.redshift.to("meta"))
        terms = elsewhere.terms(parameters)
        found = elsewhere.log_rate(parameters), torch.tensor([3, 1])
        some = elsewhere.likelihood.log_some(*found) * elsewhere.weights[likelihood.place[found[1]]]
        for log_masses in (log_mass_prior, log_mass_posterior):
            assert log_masses(elsewhere, parameters, 0).device.type == "meta"
        assert some.device.type == "meta"
    assert terms["clusters"].device.type == "meta"
    assert terms["count"].device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_a_gpu_computes_what_the_cpu_computes(case):
    cpu, gpu = problem_of(case), problem_of(case, "cuda")
    position = cpu.coordinates.centre
    value, slope = torch.func.grad_and_value(cpu.potential)(position)[::-1]
    value_there, slope_there = torch.func.grad_and_value(gpu.potential)(position)[::-1]
    torch.testing.assert_close(value_there, value, rtol=1e-10, atol=1e-8)  # float64, sums in another order
    torch.testing.assert_close(slope_there, slope, rtol=1e-8, atol=1e-8)


@pytest.mark.gpu
def test_a_fit_on_a_gpu_is_that_on_the_cpu():
    population, _ = CASES["masses alone"]
    posteriors = MassPosteriors.from_normal(MEAN, 0.1, GRID)
    one, other = (
        fit(
            population, posteriors, Survey.of_volume(1e6, sample_variance=False), sampler=Laplace(seed=1), device=device
        )["posterior"]
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(one["slope"].values, other["slope"].values, rtol=1e-5)  # the mode is found to 1e-6
