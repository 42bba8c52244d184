"""Mocks of the published kind, with posteriors that are right by construction: no network is needed for a picture."""

import numpy as np
import pytest
from kodi_ramanah_2020 import Sample

from clustermocks import HaloModel
from sbi_clustermass import MassPosteriors

GRID = np.linspace(13.5, 15.3, 181)


@pytest.fixture(scope="session")
def contaminated():
    """400 clusters flat in mass, two lines of sight a halo."""
    masses = np.random.default_rng(1).uniform(13.5, 15.3, 200)
    return HaloModel.ho2019().simulate(masses, seed=1, lines_of_sight=2)


@pytest.fixture(scope="session")
def sample(contaminated):
    """Gaussian posteriors of width .1 dex about the truth plus noise of that size."""
    noise = 0.1 * np.random.default_rng(2).standard_normal(len(contaminated))
    posteriors = MassPosteriors.from_normal(contaminated.log10_mass + noise, 0.1, GRID)
    return Sample("contaminated, test", "contaminated", contaminated, posteriors)


@pytest.fixture(scope="session")
def pure_sample(contaminated):
    """The same for true members only, of width .05 dex."""
    pure = contaminated.pure()
    noise = 0.05 * np.random.default_rng(3).standard_normal(len(pure))
    return Sample("pure, test", "pure", pure, MassPosteriors.from_normal(pure.log10_mass + noise, 0.05, GRID))
