"""Shared by all tests: a small trained estimator, and mocks to try it on."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("anywhere", deadline=None)  # how long an example takes is up to what else the machine does
settings.load_profile("anywhere")
torch.set_num_threads(1)  # the networks of the tests are too small to share


def pytest_collection_modifyitems(items):
    """Skip what needs CUDA where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.fixture
def sbis_names_as_before():
    """Whatever a test registers among sbi's names is gone after it."""
    from sbi.neural_nets.factory import model_builders

    before = dict(model_builders)
    yield
    model_builders.clear()
    model_builders.update(before)


@pytest.fixture(scope="session")
def mocks():
    """Mock clusters of the realistic sample."""
    from clustermocks import FlatMasses, HaloModel

    return HaloModel().simulate(FlatMasses(13.0, 15.6).draw(1500, seed=1), seed=1)


@pytest.fixture(scope="session")
def estimator(mocks):
    """A small network trained for a few updates: enough to tell a rich cluster from a poor one."""
    from sbi_clustermass import StackedAffine, Training, train

    training = Training(learning_rate=1e-3, max_updates=300)
    return train(
        mocks, flow=StackedAffine(hidden=(32, 16)), support=(13.0, 15.6), training=training, device="cpu", seed=1
    )


@pytest.fixture(scope="session")
def with_membership(estimator, mocks):
    """The estimator with a membership, rough as it is."""
    return estimator.with_membership(mocks, seed=1)


@pytest.fixture(scope="session")
def model(estimator, tmp_path_factory) -> Path:
    """The estimator's folder."""
    folder = tmp_path_factory.mktemp("model")
    estimator.save(folder)
    return folder
