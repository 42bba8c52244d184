"""Mocks of known spectroscopy, written as an observer's tables."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from astropy.table import Table

from clustermocks import Catalogue, FlatMasses, HaloModel
from clustermocks.haloes.cosmology import MDPL2, SPEED_OF_LIGHT
from clustermocks.observation import observed_redshift
from sbi_clustermass.observations.tables import TableOptions

DISTANCES = TableOptions(h=1.0, distance="comoving")


class Observer(NamedTuple):
    """Functions that write tables."""

    simulated: Callable[..., Catalogue]
    as_distances: Callable[..., Path]
    as_sky: Callable[..., Path]
    options: TableOptions


def simulated(model=None, *, n=80, seed=11):
    """Mocks flat in log mass."""
    return (model or HaloModel()).simulate(FlatMasses(13.4, 15.3).draw(n, seed), seed=seed)


def as_distances(mocks, path):
    """R_proj and v_los, many clusters in one table; to be read with `DISTANCES`."""
    number = mocks.n_galaxies
    Table(
        {
            "cluster": np.repeat(mocks.names, number),
            "R_proj_Mpc": mocks.galaxy_column("R_proj"),
            "v_los": mocks.galaxy_column("v_los"),
            "z_cluster": np.full(number.sum(), mocks.observation.redshift),
        }
    ).write(path, overwrite=True)
    return path


def as_sky(mocks, path, *, error=None, decimals=None, seed=3):
    """RA, Dec and z around one point a cluster, at random position angles; errors as a column, z rounded if asked."""
    rng, number = np.random.default_rng(seed), mocks.n_galaxies
    z = mocks.observation.redshift
    angle = np.rad2deg(mocks.galaxy_column("R_proj").astype(float) / MDPL2.comoving_distance(z))
    phi = rng.uniform(0, 2 * np.pi, len(angle))
    row = np.repeat(np.arange(len(mocks)), number)
    dec = angle * np.sin(phi)  # clusters along the equator, 8 degrees apart
    ra = 8.0 * row % 360 + 4 + angle * np.cos(phi)
    redshift = observed_redshift(z, mocks.galaxy_column("v_los").astype(float))
    columns = {"cluster": np.repeat(mocks.names, number), "ra": ra, "dec": dec}
    columns["z"] = redshift if decimals is None else np.round(redshift, decimals)
    columns |= {"ra_cluster": 8.0 * row % 360 + 4, "dec_cluster": np.zeros(len(row))}
    if error is not None:
        columns["z_err"] = np.full(len(row), error * (1 + z) / SPEED_OF_LIGHT)
    Table(columns).write(path, overwrite=True)
    return path


@pytest.fixture(scope="session")
def observer():
    """The functions above, and how their tables are to be read."""
    return Observer(simulated, as_distances, as_sky, DISTANCES)
