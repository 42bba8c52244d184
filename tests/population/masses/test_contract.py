"""One contract over all distributions of masses: `MASSES`."""

import pyro
import pytest
import torch
from pyro import poutine

from sbi_clustermass.population import MASSES, CosmologyMassFunction, MassFunction
from sbi_clustermass.population.masses import masses_config, masses_from_config
from sbi_clustermass.population.parameters import sample

GRID = torch.linspace(12.5, 15.8, 23, dtype=torch.float64)
Z = torch.tensor([0.1, 0.5], dtype=torch.float64)


VARIANTS = {
    "mrp that evolves": MassFunction(m_star_evolution=(-0.64, 0.5), density_evolution=(-0.91, 0.5)),
    "cosmology with w": CosmologyMassFunction(w=(-1.5, -0.5)),
}


@pytest.fixture(params=[*MASSES, *VARIANTS])
def masses(request):
    return VARIANTS.get(request.param) or MASSES[request.param]()


def some_positions(masses, *shape):
    centre = masses.coordinates.centre
    generator = torch.Generator().manual_seed(1)
    return centre + 0.2 * torch.randn(*shape, len(centre), dtype=torch.float64, generator=generator)


def test_density_is_finite_with_finite_gradients(masses):
    position = some_positions(masses).requires_grad_()
    log_phi = masses.log_density(GRID, masses.coordinates.parameters(position), Z)
    assert log_phi.shape[-2:] in ((1, len(GRID)), (len(Z), len(GRID)))
    assert log_phi.dtype == torch.float64
    (gradient,) = torch.autograd.grad(log_phi.sum(), position)
    assert torch.isfinite(log_phi).all()
    assert torch.isfinite(gradient).all()


def test_it_says_whether_it_evolves(masses):
    log_phi = masses.log_density(GRID, masses.coordinates.parameters(some_positions(masses)), Z)
    assert masses.evolves == (len(log_phi) > 1 and bool((log_phi[0] != log_phi[-1]).all()))


def test_gradient_agrees_with_differences(masses):
    position = some_positions(masses)

    def total(at):
        return masses.log_density(GRID, masses.coordinates.parameters(at), Z).sum()

    found = torch.autograd.functional.jacobian(total, position)
    steps = 1e-5 * torch.eye(len(position), dtype=torch.float64)
    expected = torch.stack([total(position + e) - total(position - e) for e in steps]) / 2e-5
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-4)  # sums of 46 values of up to some hundred nats


def test_every_draw_gets_its_own_function(masses):
    positions = some_positions(masses, 2, 3)
    together = masses.log_density(GRID, masses.coordinates.parameters(positions), Z)
    alone = masses.log_density(GRID, masses.coordinates.parameters(positions[1, 2]), Z)
    assert together.shape == (2, 3, *alone.shape)
    torch.testing.assert_close(together[1, 2], alone)


def test_prior_in_the_samplers_coordinates_is_the_pyro_models_times_the_jacobian(masses):
    coordinates = masses.coordinates
    position = some_positions(masses)
    parameters = {name: value.detach() for name, value in coordinates.parameters(position).items()}
    with poutine.trace() as traced, poutine.condition(data=parameters):
        sample(masses.priors)
    names = list(parameters)
    jacobian = torch.autograd.functional.jacobian(
        lambda y: torch.stack([coordinates.parameters(y)[name] for name in names]), position
    )
    expected = float(traced.trace.log_prob_sum() + torch.linalg.slogdet(jacobian).logabsdet)
    found = float(coordinates.log_prior(position, coordinates.parameters(position)))
    assert found == pytest.approx(expected, abs=1e-9)  # float64 round-off


def test_it_draws_from_its_priors_in_pyro(masses):
    pyro.clear_param_store()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        log_phi = masses.log_density(GRID, sample(masses.priors), Z)
    assert torch.isfinite(log_phi).all()


def test_it_is_rebuilt_from_its_name_and_fields(masses):
    assert masses_from_config(masses_config(masses)) == masses


def test_unknown_names_and_fields_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'mrp'"):
        masses_from_config({"name": "mpr"})
    with pytest.raises(ValueError, match="pivvot"):
        masses_from_config({"name": "mrp", "pivvot": 14.0})
