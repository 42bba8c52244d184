"""Mocks of many surveys."""

import pytest

from clustermocks import FlatMasses, HaloModel, SurveyPrior


@pytest.fixture(scope="session")
def cleaned_survey():
    """400 hosts in 16 surveys, some cleaned, some that state it."""
    surveys = SurveyPrior().narrowed(v_cut=(2000.0, 4000.0))
    return HaloModel().simulate(FlatMasses(13.5, 15.5).draw(400, seed=1), seed=1, surveys=surveys)
