"""The multiplicity of Tinker et al. 2008 against colossus, the published spline, and its own smoothness."""

import numpy as np
import pytest
import torch
from colossus.lss import mass_function as colossus_mass_function

from clustermocks.haloes.cosmology import MDPL2, _colossus
from clustermocks.haloes.tinker import tinker08
from sbi_clustermass.population import CosmologyMassFunction
from sbi_clustermass.population.masses.tinker import _parameters, log_tinker08
from tests.clustermocks.haloes.tinker_2008 import OVERDENSITIES, VALUES, multiplicity

SECOND = {  # their second derivatives by log10 overdensity, as published with it (appendix B)
    "A": [0.00, 0.50, -1.56, 3.05, -2.95, 1.07, -0.71, 0.21, 0.00],
    "a": [0.00, 1.19, -6.34, 21.36, -10.95, 2.59, -0.85, -2.07, 0.00],
    "b": [0.00, -1.08, 12.61, -20.96, 24.08, -6.64, 3.84, -2.09, 0.00],
    "c": [0.00, 0.94, -0.43, 4.61, 0.01, 1.21, 1.43, 0.33, 0.00],
}


@pytest.mark.parametrize("redshift", [0.05, 0.3, 0.8])
def test_it_is_colossus_own_at_tabulated_overdensities(redshift):
    sigma = np.linspace(0.3, 3, 40)
    for overdensity in OVERDENSITIES:
        with _colossus(MDPL2):
            expected = colossus_mass_function.massFunction(
                sigma, redshift, q_in="sigma", mdef=f"{overdensity}m", model="tinker08", q_out="f"
            )
        at = torch.tensor(float(overdensity), dtype=torch.float64)
        mine = log_tinker08(torch.as_tensor(sigma), torch.full_like(at, redshift), at)
        np.testing.assert_allclose(mine.exp().numpy(), expected, rtol=1e-10)  # the same formula and table


@pytest.mark.parametrize(("row", "name"), [*enumerate(VALUES)])
def test_between_the_tabulated_overdensities_it_follows_the_published_spline(row, name):
    """The cubic of values and second derivatives at both ends of an interval: Press et al. 2007, eq. 3.3.3."""
    knots, y, y2 = np.log10(OVERDENSITIES), np.array(VALUES[name]), np.array(SECOND[name])
    for left in range(len(knots) - 1):
        ends, width = slice(left, left + 2), knots[left + 1] - knots[left]
        right = np.linspace(0, 1, 9)
        share = np.stack([1 - right, right])
        expected = (share * y[ends, None] + (share**3 - share) * y2[ends, None] * width**2 / 6).sum(0)
        found = _parameters(torch.as_tensor(10 ** (knots[left] + width * right)))[row].numpy()
        # the published derivatives are of values that were not rounded to 3 digits: they differ by up to 1.4
        np.testing.assert_allclose(found, expected, atol=1.5 * width**2 / 8)


def test_it_is_the_formula_at_any_overdensity_and_redshift():
    sigma, redshift = np.linspace(0.3, 3, 20), np.array([0.05, 0.6])[:, None]
    for overdensity in np.geomspace(201, 3199, 12):
        at = (torch.as_tensor(np.broadcast_to(each, (2, 20)).copy()) for each in (sigma, redshift, overdensity))
        expected = multiplicity(sigma, redshift, overdensity)
        np.testing.assert_allclose(log_tinker08(*at).exp().numpy(), expected, rtol=1e-10)  # float64 round-off
        np.testing.assert_allclose(tinker08(sigma, 0.05, overdensity), expected[0], rtol=1e-10)


@pytest.mark.parametrize("redshift", [0.117, 0.193, 0.418])
def test_derivative_by_the_matter_density_does_not_jump(redshift):
    """At z = .117 and 10^14.5 it was 9.17 below Om = .2640 and 10.93 above, where the overdensity is 600."""
    crossings = [share / (share + (1 + redshift) ** 3 * (1 - share)) for share in 200 / OVERDENSITIES[1:]]
    Om0 = torch.tensor([Om0 for Om0 in crossings if 0.101 < Om0 < 0.599], dtype=torch.float64)
    sides = (Om0[:, None] + torch.tensor([-1e-6, 1e-6])).double().requires_grad_()
    parameters = {"Om0": sides, "sigma8": torch.full_like(sides, MDPL2.sigma8)}
    z, masses = (torch.tensor([value], dtype=torch.float64) for value in (redshift, 14.5))
    log_phi = CosmologyMassFunction().log_density(masses, parameters, z)
    (slope,) = torch.autograd.grad(log_phi.sum(), sides)
    assert len(Om0) >= 3
    # a second derivative of up to 2000 between them, 2e-6 apart
    torch.testing.assert_close(slope[:, 0], slope[:, 1], rtol=0, atol=4e-3)


def test_overdensities_beyond_the_table_are_those_of_its_ends():
    ends, beyond = (torch.tensor(pair, dtype=torch.float64) for pair in ((200.0, 3200.0), (150.0, 5000.0)))
    for inside, outside in zip(_parameters(ends), _parameters(beyond), strict=True):
        torch.testing.assert_close(inside, outside, rtol=0, atol=1e-12)
