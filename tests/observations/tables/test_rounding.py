"""Rounding is seen in tabulated velocities, whatever constant was subtracted from them afterwards."""

import numpy as np
import pytest

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from clustermocks.observation import observed_redshift, relative_velocity
from sbi_clustermass.observations.tables.rounding import rounding_step

V_LOS = np.random.default_rng(1).normal(0, 700, 60)


@pytest.mark.parametrize("step", [100.0, 20.0, 10.0, 0.1])
def test_rounded_velocities_are_recognised(step):
    shifted = np.round(V_LOS / step) * step + 37.3  # recentred afterwards
    assert rounding_step(shifted, 0.3) == pytest.approx(step * 1.3 if step > 1 else 0.0)  # .1 km/s does no harm
    assert rounding_step(V_LOS, 0.3) == 0


@pytest.mark.parametrize("step", [1e-3, 5e-4, 1e-4])
def test_rounded_redshifts_are_recognised_as_steps_of_c_z(step):
    redshift = np.round(observed_redshift(0.4, V_LOS) / step) * step
    assert rounding_step(relative_velocity(redshift, 0.4003), 0.4003) == pytest.approx(SPEED_OF_LIGHT * step)


def test_few_galaxies_do_not_show_it():
    assert np.isnan(rounding_step(np.full(7, 100.0), 0.1))
