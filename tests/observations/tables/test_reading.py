"""Distances, velocities, redshift and centre of a table, against astropy and against what was put in."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM
from hypothesis import given, settings, strategies as st

from clustermocks.haloes.cosmology import MDPL2
from clustermocks.observation import Observation, relative_velocity
from sbi_clustermass.observations.tables import TableError, TableOptions, read_cluster, read_table
from sbi_clustermass.observations.tables.density_peaks import densest_point, rival_point, rival_redshift, separation

ASTROPY = FlatLambdaCDM(H0=67.77, Om0=MDPL2.Om0, Tcmb0=0)
CENTRE, REDSHIFT = (359.9, 40.0), 0.1


def test_sky_positions_become_comoving_distances_and_velocities_as_astropy_has_them(columns, write):
    options = TableOptions(redshift=REDSHIFT, centre=CENTRE, recentre=False)
    R_proj, v_los = read_table(write(columns), options=options).catalogue.galaxies(0)
    angle = SkyCoord(columns["ra"], columns["dec"], unit="deg").separation(SkyCoord(*CENTRE, unit="deg"))
    truth = (angle.rad * ASTROPY.comoving_distance(REDSHIFT)).to_value("Mpc") * ASTROPY.h
    doppler = (columns["z"] * u.one).to(u.km / u.s, u.doppler_redshift()), REDSHIFT * u.one
    a, b = doppler[0].value / 299_792.458, doppler[1].to(u.km / u.s, u.doppler_redshift()).value / 299_792.458
    velocity = 299_792.458 * (a - b) / (1 - a * b)
    inside = (truth < 1.6) & (np.abs(velocity) < 2500)
    # rtol: float32 holds 7 digits; atol: 1e-3 km/s is float32 at 2500 km/s and the cancellation in a - b
    np.testing.assert_allclose(R_proj, truth[inside], rtol=1e-6)
    np.testing.assert_allclose(v_los, velocity[inside], rtol=1e-6, atol=1e-3)


def test_an_estimated_redshift_and_centre_are_those_that_were_put_in(columns, write):
    table = read_table(write(columns))
    n = table.n_galaxies
    # 200 galaxies of 700 km/s about z = .1: 50 km/s = 1.8e-4 in z, five sigma leave room for the field
    assert table.redshift == pytest.approx(REDSHIFT, abs=5 * 1.8e-4)
    assert table.redshift_source == f"biweight of {n} galaxies"
    # 80 galaxies in the last circle of .4 h^-1 Mpc: error .03 h^-1 Mpc an axis = .006 degrees; five sigma
    off = SkyCoord(table.ra, table.dec, unit="deg").separation(SkyCoord(*CENTRE, unit="deg")).deg
    assert off < 0.03
    assert table.centre_source == "densest point of the galaxies"


def test_an_estimated_redshift_leaves_the_velocities_centred_as_mocks_are(columns, write):
    from astropy.stats import biweight_location

    _, v_los = read_table(write(columns)).catalogue.galaxies(0)
    assert abs(biweight_location(v_los.astype(float))) < 1.0  # the iteration stops below 1 km/s


def test_velocities_about_a_given_redshift_are_recentred_unless_asked_not_to(columns, write):
    path = write(columns)
    shifted = read_table(path, options=TableOptions(redshift=0.101, centre=CENTRE))
    kept = read_table(path, options=TableOptions(redshift=0.101, centre=CENTRE, recentre=False))
    away = float(relative_velocity(REDSHIFT, 0.101))
    # the mean of 200 galaxies of 700 km/s is known to 50 km/s; three sigma
    assert np.mean(kept.catalogue.galaxies(0)[1]) == pytest.approx(away, abs=150)
    assert abs(np.mean(shifted.catalogue.galaxies(0)[1])) < 30  # mean against biweight
    assert shifted.redshift_source.startswith("given (0.101), velocities recentred by +")
    assert kept.redshift_source == "given (0.101)"


def phase_space(columns, write, **names):
    R_proj, v_los = np.linspace(0.01, 2.0, 240), (columns["z"] - 0.1) * 3e5
    return write({names.get("R", "R_proj_Mpc"): R_proj, "v_los_kms": v_los}), R_proj


def test_physical_mpc_become_comoving_by_h_and_one_plus_z(columns, write):
    path, R_proj = phase_space(columns, write)
    ours, v = read_table(path, options=TableOptions(redshift=0.25, h=0.7, distance="physical")).catalogue.galaxies(0)
    assert ours.max() < 1.6
    comoving = R_proj * 0.7 * 1.25
    assert np.isin(ours, comoving.astype(np.float32)).all()
    assert len(v) == len(ours)


def test_the_unit_in_the_name_makes_options_unnecessary(columns, write):
    path, R_proj = phase_space(columns, write, R="R_cMpc_h")
    table = read_table(path)
    assert np.isin(table.catalogue.galaxies(0)[0], R_proj.astype(np.float32)).all()
    assert np.isnan(table.redshift)
    assert table.redshift_source.startswith("unknown, velocities recentred by")


def test_kpc_in_the_name_are_converted(columns, write):
    v_los = (columns["z"] - 0.1) * 3e5
    options = TableOptions(h=1.0, distance="comoving")
    in_kpc = read_cluster(write({"R_kpc": np.linspace(10, 2000, 240), "vlos": v_los}), options=options)
    in_mpc = read_cluster(write({"R_Mpc": np.linspace(0.01, 2, 240), "vlos": v_los}), options=options)
    np.testing.assert_array_equal(in_kpc.galaxies(0)[0], in_mpc.galaxies(0)[0])


def test_columns_of_the_cluster_itself_are_used(columns, write):
    ones = np.ones(240)
    path = write({**columns, "z_cl": 0.1 * ones, "ra_cl": CENTRE[0] * ones, "dec_cl": CENTRE[1] * ones})
    table = read_table(path)
    assert (table.ra, table.dec, table.redshift) == (*CENTRE, 0.1)
    assert table.centre_source == "column"
    assert table.redshift_source.startswith("column (0.1)")


def test_a_poor_cluster_has_a_reason_instead_of_a_mass(columns, write):
    path = write({name: values[:7] for name, values in columns.items()})
    table = read_table(path, options=TableOptions(redshift=REDSHIFT, centre=CENTRE))
    assert len(table.catalogue) == 0
    assert table.reason == (
        "7 galaxies in the cylinder R_proj < 1.6 comoving h^-1 Mpc, |v_los| < 2500 km/s; a mass needs at least 10"
    )
    with pytest.raises(TableError, match="7 galaxies in the cylinder"):
        read_cluster(path, options=TableOptions(redshift=REDSHIFT, centre=CENTRE))


def test_the_catalogue_names_the_cluster_and_knows_no_mass(columns, write):
    catalogue = read_cluster(write(columns, "a1.b.csv"), observation=Observation(aperture=1.0))
    assert catalogue.names == ("a1.b",)
    assert np.isnan(catalogue.log10_mass).all()
    assert catalogue.column("n_rows").tolist() == [240]
    assert catalogue.column("n_used").tolist() == catalogue.n_galaxies.tolist()
    assert catalogue.galaxies(0)[0].max() < 1.0


def test_a_field_smaller_than_the_aperture_is_measured(columns, write):
    near = np.hypot((columns["ra"] - CENTRE[0] + 180) % 360 - 180, columns["dec"] - CENTRE[1]) < 0.15
    table = read_table(write({name: values[near] for name, values in columns.items()}))
    assert table.narrow.reach == pytest.approx(table.catalogue.galaxies(0)[0].max(), rel=1e-6)  # float32


def test_a_redshift_far_from_the_galaxies_raises_a_warning(columns, write):
    table = read_table(write(columns), options=TableOptions(redshift=0.105, centre=CENTRE))
    assert any("km/s from redshift 0.105" in warning for warning in table.warnings)


def test_a_complete_table_raises_no_warning(columns, write):
    assert read_table(write(columns)).warnings == ()


def test_a_second_cluster_along_the_line_of_sight_or_next_to_the_first_raises_a_warning():
    rng = np.random.default_rng(2)
    z = np.concatenate([rng.normal(0.1, 0.002, 60), rng.normal(0.2, 0.002, 40)])
    redshift, there, here = rival_redshift(z, 0.1, 2500)
    assert redshift == pytest.approx(0.2, abs=0.001)  # the median of 40 galaxies of .002: .0004
    assert there < here
    assert rival_redshift(z[:60], 0.1, 2500) is None
    sky = np.concatenate([rng.normal(10, 0.05, (60, 2)), rng.normal(12, 0.05, (40, 2))])
    assert rival_point(sky, (10.0, 10.0), 300.0, apart=1.6)[:2] == pytest.approx((12, 12), abs=0.05)
    assert rival_point(sky[:60], (10.0, 10.0), 300.0, apart=1.6) is None


@settings(max_examples=30)
@given(st.floats(0, 359.9), st.floats(-88, 88), st.integers(0, 2**32 - 1))
def test_the_densest_point_moves_with_the_cluster_across_the_sky(ra, dec, seed):
    rng = np.random.default_rng(seed)
    origin = SkyCoord(ra, dec, unit="deg")
    angle, length = rng.uniform(0, 360, 100) * u.deg, np.abs(rng.normal(0, 0.05, 100)) * u.deg
    here = origin.directional_offset_by(angle, length)
    there = SkyCoord(180, 0, unit="deg").directional_offset_by(angle, length)
    points = [densest_point(np.stack([s.ra.deg, s.dec.deg], axis=1), 300.0) for s in (here, there)]
    offsets = [
        np.rad2deg(separation(np.array([point]), centre)[0])
        for point, centre in zip(points, ((ra, dec), (180.0, 0.0)), strict=True)
    ]
    # rounding moves nothing but a tie between two nearly equal starts, which the circles bring together again
    assert offsets[0] == pytest.approx(offsets[1], abs=1e-6)


@settings(max_examples=50)
@given(st.floats(0, 360), st.floats(-90, 90), st.floats(0, 360), st.floats(-90, 90))
def test_separations_are_those_of_astropy(ra, dec, ra0, dec0):
    truth = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(ra0, dec0, unit="deg")).rad
    # atol: the arcsine of a chord near 2 loses half the digits
    assert separation(np.array([[ra, dec]]), (ra0, dec0))[0] == pytest.approx(truth, abs=1e-7)


def test_the_window_of_a_near_cluster_ends_before_the_observer(write):
    """At c z = 2400 km/s stars, at c z = 0, would lie in a window of 2500 km/s."""
    rng = np.random.default_rng(1)
    z = np.concatenate([0.008 + rng.normal(0, 0.001, 60), rng.normal(0, 1e-4, 40)])
    ra, dec = 180 + rng.normal(0, 0.5, 100), rng.normal(0, 0.5, 100)
    table = write({"ra": ra, "dec": dec, "z": z})
    found = read_table(table, options=TableOptions(redshift=0.008, centre=(180.0, 0.0)))
    assert found.n_galaxies == 60
    assert found.catalogue.observation == Observation()  # so that it goes into one batch with others
    assert np.abs(found.catalogue.galaxies(0)[1]).max() < 0.8 * 299792.458 * 0.008
