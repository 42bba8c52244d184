"""Mocks on which the shared estimator was not trained, and a run's folder."""

import pytest

from tests.report.conftest import run_folder, sections  # noqa: F401, fixtures


@pytest.fixture(scope="session")
def others():
    """2600 mocks, drawn as the training set was."""
    from clustermocks import FlatMasses, HaloModel

    return HaloModel().simulate(FlatMasses(13.0, 15.6).draw(2600, seed=5), seed=55)
