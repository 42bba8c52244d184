"""Properties put into mocks are measured again from tables made of them."""

from dataclasses import replace

import numpy as np
import pytest

from clustermocks import HaloModel, Observation, RadialCompleteness
from clustermocks.haloes.satellites import HaloGalaxies
from clustermocks.perturbations import cleaned, thinned, with_radial_incompleteness, within_aperture
from sbi_clustermass.observations.tables import ObservedCluster, read_clusters
from sbi_clustermass.tailored import measure_clusters, measure_tables
from sbi_clustermass.tailored.rounding import rounding_error

DEPTH = 0.05  # dex, added to three standard errors: the mass range differs from the reference mocks'


@pytest.fixture(scope="module")
def measured(observer, complete, tmp_path_factory):
    """Properties of mocks of which every galaxy has a redshift."""
    return observer.measure(complete, tmp_path_factory.mktemp("complete") / "a.csv")


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_the_share_of_galaxies_with_a_redshift_is_found(observer, complete, measured, tmp_path, share):
    seen = measured if share == 1 else observer.measure(thinned(complete, share, seed=1), tmp_path / "a.csv")
    found = seen.comparison
    assert abs(found.depth - np.log10(share)) < 3 * found.depth_error + DEPTH
    assert abs(found.edge - 1) < 3 * found.edge_error
    assert found.depth_spread < 0.15  # none was put in; 80 clusters know a scatter of .2 dex to .016


def test_spectroscopy_deeper_than_the_mocks_is_found(observer, tmp_path):
    deep = HaloModel(galaxies=HaloGalaxies(richness=2.5 * 28.2), tracer_density=2.5 * 0.0245)
    found = observer.measure(observer.simulated(deep, n=40), tmp_path / "a.csv").comparison
    assert abs(found.depth - np.log10(2.5)) < 3 * found.depth_error + DEPTH


@pytest.mark.parametrize(("centre", "edge"), [(1.0, 0.5), (0.5, 1.0)])
def test_completeness_that_changes_outwards_is_found(observer, complete, tmp_path, centre, edge):
    seen = with_radial_incompleteness(complete, RadialCompleteness(centre, edge), seed=2)
    found = observer.measure(seen, tmp_path / "a.csv").comparison
    assert abs(found.edge - edge / centre) < 3 * found.edge_error
    assert abs(found.edge - 1) > 3 * found.edge_error


def test_redshift_velocity_errors_and_rounding_are_found_in_a_table_of_the_sky(observer, tmp_path):
    mocks = observer.simulated(HaloModel(observation=Observation(redshift=0.3)), n=15)
    found = measure_tables([observer.as_sky(mocks, tmp_path / "a.csv", error=80.0, decimals=3)])
    assert found.clusters == len(mocks)
    # a biweight of 30 to 400 galaxies is known to some 50 km/s, .0002 in redshift
    assert found.redshift == pytest.approx(0.3, abs=0.0005)
    assert found.velocity_error is not None
    assert found.velocity_error.middle == pytest.approx(80, rel=0.01)  # 1 + z of the galaxies, not of the cluster
    assert found.rounding == pytest.approx(1e-3 * 299_792 / 1.3 / np.sqrt(12), rel=0.01)  # standard deviation of a step


@pytest.mark.parametrize("step", [100.0, 10.0, 0.1])
def test_rounded_velocities_are_recognised(step):
    v_los = np.random.default_rng(1).normal(0, 700, 60)
    expected = step / np.sqrt(12) if step > 1 else 0.0  # a tenth of a km/s does no harm
    shifted = np.round(v_los / step) * step + 37.3  # recentred afterwards
    assert rounding_error(shifted, np.nan) == pytest.approx(expected)
    assert rounding_error(v_los, 0.1) == 0


def test_fields_that_end_inside_the_aperture_make_it_smaller(observer, complete, measured, tmp_path):
    narrow = observer.measure(within_aperture(complete, 1.0), tmp_path / "a.csv")
    for found, aperture in ((narrow, 1.0), (measured, 1.6)):
        assert aperture - 0.1 < found.aperture <= aperture  # the outermost galaxy is inside the edge, steps are .05
        assert (found.narrow > 0) == (aperture < 1.6)


def test_a_table_of_members_looks_cleaned_and_one_of_all_galaxies_does_not(observer, measured, tmp_path):
    assert not measured.looks_cleaned
    many = observer.simulated(n=240)  # one merger among 80 can have as many fast members as all interlopers
    assert observer.measure(cleaned(many, "members"), tmp_path / "b.csv").looks_cleaned


def test_a_cleaned_table_looks_like_mocks_that_were_cleaned_likewise(observer, complete, tmp_path):
    path = observer.as_distances(cleaned(complete, "members"), tmp_path / "a.csv")
    found = measure_tables([path], observer.options, cleaning="members")
    assert not found.looks_cleaned
    assert abs(found.comparison.depth) < 3 * found.comparison.depth_error + DEPTH
    assert abs(found.comparison.edge - 1) < 3 * found.comparison.edge_error


def test_one_cluster_is_measured_with_the_scatter_of_mocks_as_its_error(observer, complete, tmp_path):
    rich = complete.select(np.array([int(np.argmax(complete.log10_mass))]))
    found = observer.measure(rich, tmp_path / "a.csv")
    assert found.clusters == 1
    assert found.redshifts[0] == found.redshifts[-1] == pytest.approx(0.117)
    assert 0.05 < found.comparison.depth_error < 0.3  # scatter of richness at given velocities: .17 dex
    assert abs(found.comparison.depth) < 3 * found.comparison.depth_error


def test_clusters_that_cannot_be_read_are_counted_and_the_others_measured(observer, complete, tmp_path):
    path = observer.as_distances(complete.select(np.arange(8)), tmp_path / "a.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, *(f"poor,{R},{100 * R},0.117" for R in (0.1, 0.5, 0.9))]) + "\n")
    found = measure_tables([path], observer.options)
    assert (found.clusters, found.unreadable) == (8, 1)
    assert "3 galaxies" in found.reasons[0]


@pytest.mark.parametrize("text", ["", "ra,dec\n1,2\n", "R_proj_Mpc,v_los\n0.1,100\n0.2,-100\n"])
def test_a_table_without_a_cluster_is_refused_with_the_reason(observer, tmp_path, text):
    path = tmp_path / "poor.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="no cluster to fit an estimator to"):
        measure_tables([path], observer.options)


def test_velocities_that_are_all_equal_do_no_harm(observer, complete, tmp_path):
    path = observer.as_distances(complete.select(np.arange(2)), tmp_path / "a.csv")
    cluster = next(iter(read_clusters(path, options=observer.options)))
    assert isinstance(cluster, ObservedCluster)
    flat = cluster.catalogue
    column = flat.clusters.schema.get_field_index("v_los")
    still = flat.clusters.set_column(column, "v_los", [[[0.0] * int(flat.n_galaxies[0])]])
    still = still.cast(flat.clusters.schema)
    found = measure_clusters([replace(cluster, catalogue=replace(flat, clusters=still))])
    assert np.isfinite(found.comparison.depth)


@pytest.mark.slow
def test_ten_thousand_clusters_are_measured(observer, complete, tmp_path):
    path = observer.as_distances(complete, tmp_path / "a.csv")
    read = list(read_clusters(path, options=observer.options))
    found = measure_clusters(read[i % len(read)] for i in range(10_000))
    assert found.clusters == 10_000
    assert abs(found.comparison.depth) < DEPTH
