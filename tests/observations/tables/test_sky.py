"""Positions of observed galaxies about their cluster's centre: north and east of it, in comoving h^-1 Mpc."""

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.observations.tables import TableOptions, read_table


def test_galaxies_lie_north_and_east_of_the_centre_as_astropy_offsets_them():
    rng, centre = np.random.default_rng(1), SkyCoord(194.9, 27.9, unit="deg")
    R, angle = rng.uniform(0.01, 1.5, 60), rng.uniform(0, 2 * np.pi, 60)
    there = centre.directional_offset_by(angle * u.rad, R / MDPL2.comoving_distance(0.1) * u.rad)
    table = {"ra": there.ra.deg, "dec": there.dec.deg, "z": 0.1 + 0.002 * rng.standard_normal(60)}
    seen = read_table(table, options=TableOptions(redshift=0.1, centre=(194.9, 27.9), recentre=False)).catalogue
    north_and_east = np.stack([R * np.cos(angle), R * np.sin(angle)], axis=1)
    # positions are float32; Mpc of the chord and of the arc differ by 1e-6
    np.testing.assert_allclose(seen.sky_positions(), north_and_east, rtol=1e-5, atol=1e-5)


def test_a_table_of_distances_knows_no_positions():
    rng = np.random.default_rng(1)
    table = {"R_proj": rng.uniform(0.1, 1.5, 40), "v_los": rng.normal(0, 500, 40)}
    options = TableOptions(redshift=0.1, h=1.0, distance="comoving")
    assert not read_table(table, options=options).catalogue.has_sky
