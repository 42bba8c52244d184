"""Parameters of mocks: the truths that their columns hold, or one message."""

import numpy as np
import pytest

from clustermocks import HaloModel, PhysicsPrior

MASSES = np.full(25, 14.5)


def test_parameters_of_mocks_are_the_truths_of_their_columns():
    mocks = HaloModel().simulate(MASSES, seed=1, physics=PhysicsPrior(anisotropy=(0.1, 0.1)))
    mass, log10_c, beta = mocks.parameters(("log10_mass", "log10_c200c", "beta")).T
    np.testing.assert_array_equal(mass, mocks.log10_mass)
    np.testing.assert_allclose(10**log10_c, mocks.column("concentration"))
    np.testing.assert_array_equal(beta, 0.1)


def test_a_parameter_that_mocks_do_not_hold_is_refused_with_a_way_to_get_it():
    mocks = HaloModel().simulate(MASSES, seed=1)
    with pytest.raises(ValueError, match=r"do not hold beta(?s:.*)PhysicsPrior"):
        mocks.parameters(("log10_mass", "beta"))
    with pytest.raises(ValueError, match="Did you mean 'log10_mass'"):
        mocks.parameters(("log10_mas",))
