"""Properties put into mocks are measured again from tables made of them."""

import numpy as np
import pytest

from clustermocks import HaloModel, Observation
from clustermocks.perturbations import within_aperture
from sbi_clustermass.tailored import choose, measure_tables
from tests.paths import SHARED


@pytest.fixture(scope="module")
def complete(observer):
    """Mocks of which every galaxy has a redshift."""
    return observer.simulated(n=20)


def test_redshift_velocity_errors_and_rounding_are_found_in_a_table_of_the_sky(observer, tmp_path):
    mocks = observer.simulated(HaloModel(observation=Observation(redshift=0.3)), n=15)
    found = measure_tables([observer.as_sky(mocks, tmp_path / "a.csv", error=80.0, decimals=3)])
    assert len(found.clusters) == len(mocks)
    # a biweight of 10 to 400 galaxies with steps of 300 km/s is known to some 100 km/s, .0004 in redshift
    np.testing.assert_allclose(found.known("redshift"), 0.3, atol=0.0015)
    np.testing.assert_allclose(
        found.known("velocity_error"), 80, rtol=0.01
    )  # 1 + z of the galaxies, not of the cluster
    assert np.median(found.known("rounding")) == pytest.approx(299.8, rel=0.01)


@pytest.mark.parametrize("field", [0.6, 1.0, 1.6])
def test_the_field_is_among_those_of_the_mocks(observer, complete, tmp_path, field):
    found = measure_tables(
        [observer.as_distances(within_aperture(complete, field), tmp_path / "a.csv")], observer.options
    )
    low, high = choose(found).surveys.aperture
    assert low <= field <= high
    assert max(each.reach for each in found.clusters) <= field


def test_clusters_that_cannot_be_read_or_are_unlike_mocks_are_counted_and_the_others_measured(
    observer, complete, tmp_path
):
    path = observer.as_distances(complete.select(np.arange(8)), tmp_path / "a.csv")
    rows = [f"poor,{R},{100 * R},0.117" for R in (0.1, 0.5, 0.9)]
    rows += [f"far,{R},{100 * R},1.6" for R in (0.1, 0.3, 0.5, 0.7, 0.9)]
    path.write_text("\n".join([*path.read_text().splitlines(), *rows]) + "\n")
    found = measure_tables([path], observer.options)
    assert (len(found.clusters), found.failed) == (8, 2)
    assert "poor: 3 galaxies" in found.reasons[0]
    assert "far: redshift 1.6" in found.reasons[1]
    assert measure_tables([path], observer.options, min_galaxies=3).failed == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("ra,dec\n1,2\n", "no velocity"),
        ("R_proj_Mpc,v_los\n0.1,100\n0.2,-100\n", "2 galaxies"),
        ("R_proj_Mpc,v_los,z_cluster\n" + "".join(f".{i},{i}00,1.6\n" for i in range(1, 8)), "redshift 1.6"),
        ("R_proj_Mpc,v_los,z_cluster\n" + "".join(f".0{i},{i}00,.1\n" for i in range(1, 8)) * 40, "aperture 0.0"),
        ("R_proj_Mpc,v_los,v_err\n" + "".join(f".{i},{i}00,500\n" for i in range(1, 8)), "velocity error 500"),
    ],
)
def test_a_table_without_a_cluster_like_the_mocks_is_refused_with_its_number(observer, tmp_path, text, reason):
    path = tmp_path / "poor.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"(?s)no cluster to fit an estimator to.*{reason}"):
        measure_tables([path], observer.options)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs tables of real clusters in ../shared")
def test_real_clusters_are_measured():
    paths = sorted((SHARED / "data" / "clusters").glob("a*.csv"))
    found = choose(measure_tables(paths))
    low, high = found.surveys.redshift
    for z in (0.0440, 0.0773, 0.0302):  # A119, A2029, A2199 (Struble & Rood 1999, ApJS 125, 35)
        assert low < z < high
    assert found.cautions == ()
