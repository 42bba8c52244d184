"""A cluster made up for these tests: 200 galaxies around a known point and redshift, a thin field about them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from sbi_clustermass.observations.tables import TableOptions, read_table

SPEED_OF_LIGHT = 299_792.458
CENTRE, REDSHIFT = (359.9, 40.0), 0.1  # right ascension wraps within the cluster
GIVEN = TableOptions(redshift=REDSHIFT, centre=CENTRE)


def galaxies(table, options: TableOptions = GIVEN) -> np.ndarray:
    """Distances and velocities of the galaxies of a table's cluster, (2, galaxy)."""
    return np.stack(read_table(table, options=options).catalogue.galaxies(0))


@pytest.fixture(scope="session")
def columns() -> dict[str, np.ndarray]:
    """Columns ra, dec [deg], z of the made-up cluster."""
    rng = np.random.default_rng(1)
    n, field = 200, 40
    offset = np.concatenate([rng.normal(0, 0.06, (n, 2)), rng.uniform(-0.6, 0.6, (field, 2))])
    v = np.concatenate([rng.normal(0, 700, n), rng.uniform(-15_000, 15_000, field)])
    ra = (CENTRE[0] + offset[:, 0] / np.cos(np.deg2rad(CENTRE[1]))) % 360
    return {"ra": ra, "dec": CENTRE[1] + offset[:, 1], "z": (1 + REDSHIFT) * (1 + v / SPEED_OF_LIGHT) - 1}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write columns as CSV and return the path."""

    def write_csv(columns: Mapping[str, np.ndarray], name: str = "cluster.csv") -> Path:
        path = tmp_path / name
        lines = [",".join(columns)] + [",".join(str(v) for v in row) for row in zip(*columns.values(), strict=True)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write_csv


@pytest.fixture
def expected(columns, write) -> np.ndarray:
    """Galaxies of the made-up cluster in its plainest form."""
    return galaxies(write(columns))
