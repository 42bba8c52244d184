"""Clusters of the sky, where their tables are at hand."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM
from astropy.stats import biweight_location
from astropy.table import Table

from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.observations.tables import TableOptions, read_table
from tests.paths import SHARED

FOLDER = SHARED / "data" / "clusters"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the tables of observed clusters are not here")
COMA = TableOptions(redshift=0.0235, h=0.7, distance="physical")
KNOWN = {  # centre [deg], redshift and velocity dispersion [km/s] of shared/data/PROVENANCE.md
    "a119": ((14.06715, -1.25537), 0.0442, 868),
    "a2199": ((247.1594, 39.5513), 0.0302, 773),
    "a2029": ((227.7338, 5.7447), 0.0773, 1023),
}


def biweight_centred(v_los):
    """Iterated biweight by its own few lines, non-relativistic."""
    centre = 0.0
    for _ in range(50):
        centre = biweight_location(v_los[np.abs(v_los - centre) < 2500])
    return v_los - centre


def test_coma_in_physical_mpc_has_the_galaxies_that_a_few_lines_of_numpy_find():
    table = read_table(FOLDER / "coma_phase_space.csv", options=COMA)
    raw = Table.read(FOLDER / "coma_phase_space.csv", format="ascii.csv")
    comoving = np.asarray(raw["R_proj_Mpc"]) * 0.7 * 1.0235
    near = comoving < 1.6
    v_los = biweight_centred(np.asarray(raw["v_los_kms"])[near])
    inside = np.abs(v_los) < 2500
    assert table.counts.rows == 1743
    assert table.n_galaxies == inside.sum()
    ours, velocities = table.catalogue.galaxies(0)
    np.testing.assert_allclose(ours, comoving[near][inside], rtol=1e-6)  # float32
    # our iteration stops below 1 km/s; relativistic subtraction of 70 km/s differs by 70 (v/c)^2 = .005 km/s
    np.testing.assert_allclose(velocities, v_los[inside], atol=1.0)


def test_coma_in_the_physical_aperture_has_the_683_galaxies_of_its_provenance():
    options = TableOptions(redshift=0.0235, h=0.7, distance="comoving", recentre=False)  # no factor 1 + z, as there
    table = read_table(FOLDER / "coma_phase_space.csv", options=options)
    assert table.n_galaxies == 683
    assert np.std(table.catalogue.galaxies(0)[1], ddof=1) == pytest.approx(926, abs=1)  # printed to 1 km/s


@pytest.mark.parametrize("name", KNOWN)
def test_distances_and_dispersion_about_a_known_centre(name):
    centre, redshift, published = KNOWN[name]
    table = read_table(FOLDER / f"{name}.csv", options=TableOptions(redshift=redshift, centre=centre))
    raw = Table.read(FOLDER / f"{name}.csv", format="ascii.csv")
    angle = SkyCoord(raw["ra_deg"], raw["dec_deg"], unit="deg").separation(SkyCoord(*centre, unit="deg")).rad
    cosmology = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0, Tcmb0=0)
    R_proj = angle * cosmology.comoving_distance(redshift).value
    ours, v_los = table.catalogue.galaxies(0)
    # float32
    assert all(np.isclose(R_proj, r, rtol=1e-6).any() for r in ours)
    # the dispersion of n galaxies is known to 1/sqrt(2n), and the aperture was a physical one there: two sigma
    assert np.std(v_los, ddof=1) == pytest.approx(published, rel=2 / np.sqrt(2 * len(v_los)))


@pytest.mark.parametrize("name", ["a119", "a2029"])
def test_redshift_and_centre_are_found_from_the_galaxies_alone(name):
    centre, redshift, published = KNOWN[name]
    table = read_table(FOLDER / f"{name}.csv")
    # the mean of n galaxies is known to sigma / sqrt(n); published redshifts stem from other galaxies: four sigma
    error = published / 299_792.458 * (1 + redshift) / np.sqrt(table.n_galaxies)
    assert table.redshift == pytest.approx(redshift, abs=4 * error)
    off = SkyCoord(table.ra, table.dec, unit="deg").separation(SkyCoord(*centre, unit="deg")).rad
    assert off * MDPL2.comoving_distance(redshift) < 0.4  # h^-1 Mpc: the last circle's radius


def test_the_twin_of_abell_2199_raises_a_warning():
    """Abell 2197, 1.4 degrees north at one redshift with it, has as many bright galaxies: only the user can choose."""
    assert any("choose with --centre" in warning for warning in read_table(FOLDER / "a2199.csv").warnings)
