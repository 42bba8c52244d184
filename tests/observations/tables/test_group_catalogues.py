"""Catalogues of groups: the galaxies' rows name their group, its centre and its redshift."""

import numpy as np
import pytest
from astropy.table import Table

from sbi_clustermass.observations.tables import ObservedCluster, TableError, TableOptions, Unreadable, read_clusters
from sbi_clustermass.observations.tables.column_names import is_quantity, most_usual

C = 299_792.458
PLACES = {1: (40.0, 10.0, 0.08), 2: (80.0, -30.0, 0.12), 3: (200.0, 60.0, 0.15)}
OURS = ("group_id", "ra", "dec", "z", "group_ra", "group_dec", "group_z")
GAMA = ("GroupID", "RA", "DEC", "Z", "IterCenRA", "IterCenDec", "Zfof")
TEMPEL = ("IDcl", "RAdeg", "DEdeg", "zobs", "RAcl", "DEcl", "zcl")
REDMAPPER = ("MEM_MATCH_ID", "RA", "DEC", "ZSPEC", "ra_cen", "dec_cen", "z_cl")


def catalogue(names=OURS, n=80, ungrouped=0, none=0):
    """Galaxies of three groups, 0.05 deg off the centre that the catalogue gives, and rows of no group."""
    rng, rows = np.random.default_rng(3), []
    for number, (ra, dec, z) in PLACES.items():
        offset = rng.normal(0, 0.05, (n, 2)) + 0.05
        sky = ra + offset[:, 0] / np.cos(np.deg2rad(dec)), dec + offset[:, 1]
        redshift = (1 + z) * (1 + rng.normal(0, 500, n) / C) - 1
        rows += [(number, *each, ra, dec, z) for each in zip(*sky, redshift, strict=True)]
    alone = rng.uniform((10, -10, 0.05), (50, 10, 0.2), (ungrouped, 3))
    rows += [(none, *place, *(place if none == 0 else (np.nan,) * 3)) for place in alone]
    return Table(rows=rows, names=names)


def read(table, tmp_path, name="t.csv", **options):
    table.write(tmp_path / name, overwrite=True)
    return list(read_clusters(tmp_path / name, options=TableOptions(**options)))


@pytest.mark.parametrize("names", [OURS, GAMA, TEMPEL, REDMAPPER])
@pytest.mark.parametrize("name", ["t.csv", "t.fits"])
def test_each_group_is_read_at_its_own_centre_and_redshift(names, name, tmp_path):
    table = catalogue(names)
    if names is TEMPEL:
        table.rename_column("DEcl", "Deccl")
    found = read(table, tmp_path, name)
    assert {each.name: (each.ra, each.dec, each.redshift) for each in found} == {str(k): v for k, v in PLACES.items()}
    assert all(each.centre_source == "column" and each.counts.rows == 80 for each in found)


@pytest.mark.parametrize("none", [0, -1, -99])
def test_galaxies_of_no_group_are_counted_and_make_none(none, tmp_path):
    *found, last = read(catalogue(ungrouped=100, none=none), tmp_path)
    assert [type(each) for each in found] == [ObservedCluster] * 3
    assert isinstance(last, Unreadable)
    why = ": group_id 0 stands for none" if none == 0 else ""
    assert last.reason == f"t.csv: 100 rows belong to no cluster{why}."


def test_zero_stands_for_none_where_most_rows_have_it_and_else_it_is_a_group(tmp_path):
    table = catalogue(ungrouped=300)["group_id", "ra", "dec", "z"]
    assert "300 rows belong to no cluster: group_id 0 stands for none." in read(table, tmp_path)[-1].reason
    table = catalogue()
    table["group_id"] -= 1
    assert [each.name for each in read(table, tmp_path)] == ["0", "1", "2"]


def test_groups_of_one_do_not_make_a_catalogue_one_of_galaxies(tmp_path):
    table = catalogue(ungrouped=400)
    table["group_id"][-400:] = np.arange(1000, 1400)
    found = read(table, tmp_path)
    assert sum(isinstance(each, ObservedCluster) and each.reason is None for each in found) == 3
    (refused,) = read(table[-400:], tmp_path)
    assert "names galaxies, not clusters" in refused.reason


def test_columns_of_clusters_precede_those_of_groups_and_groups_have_an_order():
    assert most_usual(["group_id", "cluster_id"], "id") == ["cluster_id"]
    assert most_usual(["BCGRA", "IterCenRA", "CenRA"], "ra_cluster") == ["IterCenRA"]
    assert most_usual(["clid", "cluster"], "id") == ["clid", "cluster"]
    assert not is_quantity("groupmag", "id")


def test_several_columns_of_clusters_are_still_asked_about(tmp_path):
    table = catalogue()
    table["clid"] = table["cluster"] = table["group_id"]
    table.write(tmp_path / "t.csv")
    (asked,) = read_clusters(tmp_path / "t.csv")
    assert "more than one column could be id" in asked.reason
    assert issubclass(TableError, ValueError)
