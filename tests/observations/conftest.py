"""A survey of mock clusters in one table, and their answers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sbi_clustermass import TableOptions
from sbi_clustermass.observations import ModelStamp, infer_tables
from tests.browser import browser  # noqa: F401, a fixture


def save_survey(mocks, path: Path, names=None) -> Path:
    """Clusters in one table, as distances [comoving h^-1 Mpc] and velocities; their redshift is a column."""
    names = [f"C{i}" for i in range(len(mocks))] if names is None else names
    columns = {
        "cluster": np.repeat(names, mocks.n_galaxies),
        "R_proj_cMpc_h": mocks.galaxy_column("R_proj").astype(float),
        "v_los": mocks.galaxy_column("v_los").astype(float),
        "z_cluster": np.full(mocks.n_galaxies.sum(), 0.117),
    }
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="session")
def some(mocks):
    """Forty mock clusters."""
    return mocks.select(np.arange(40))


@pytest.fixture(scope="session")
def survey(some, tmp_path_factory) -> Path:
    """Their galaxies in one table."""
    return save_survey(some, tmp_path_factory.mktemp("survey") / "survey.parquet")


@pytest.fixture(scope="session")
def stamp(estimator, model) -> ModelStamp:
    """What made their masses."""
    return ModelStamp.from_estimator(estimator, folder=model)


@pytest.fixture(scope="session")
def results(estimator, survey):
    """Their masses, and the reason of a table that is not there."""
    paths = [survey, survey.with_name("missing.csv")]
    return list(infer_tables(paths, estimator, TableOptions()))
