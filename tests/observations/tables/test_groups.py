"""Many clusters: in one table, in a table and a list of centres, in many files; a bad one costs only its own answer."""

import numpy as np
import pytest
from astropy.table import Table, vstack

from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.observations import MassResult, ModelStamp, NoMassResult, as_table, infer_tables
from sbi_clustermass.observations.tables import (
    ObservedCluster,
    TableError,
    TableOptions,
    Unreadable,
    read_cluster_list,
    read_clusters,
    read_table,
)

C = 299_792.458
PLACES = {"A 1": (40.0, 10.0, 0.08), "A 2": (80.0, -30.0, 0.12), "A 3": (200.0, 60.0, 0.15)}


def one(name, seed, n=80):
    rng = np.random.default_rng(seed)
    ra, dec, z = PLACES[name]
    offset = np.rad2deg(rng.normal(0, 0.4, (n, 2)) / MDPL2.comoving_distance(z))
    redshift = (1 + z) * (1 + rng.normal(0, 800, n) / C) - 1
    return Table(
        {
            "cluster_id": np.full(n, name),
            "ra": ra + offset[:, 0] / np.cos(np.deg2rad(dec)),
            "dec": dec + offset[:, 1],
            "z": redshift,
        }
    )


@pytest.fixture(scope="module")
def survey():
    """Three clusters in one table, their rows mixed."""
    whole = vstack([one(name, seed) for seed, name in enumerate(PLACES)])
    return whole[np.random.default_rng(9).permutation(len(whole))]


@pytest.fixture
def centres(tmp_path):
    path = tmp_path / "centres.csv"
    ra, dec, z = zip(*PLACES.values(), strict=True)
    names = [name.replace(" ", "") for name in PLACES]
    Table({"name": names, "RA_deg": ra, "Dec": dec, "redshift": z}).write(path)
    return path


def save(table, path):
    table.write(path, overwrite=True)
    return path


def by_name(results):
    return {result.name: result for result in results}


def same(ours, theirs):
    for a, b in zip(ours.catalogue.galaxies(0), theirs.catalogue.galaxies(0), strict=True):
        np.testing.assert_array_equal(np.sort(a), np.sort(b))


@pytest.mark.parametrize("column", ["cluster_id", "Cluster", "cl_id", "clname"])
def test_a_column_of_cluster_names_divides_a_table_as_if_each_had_its_own(column, survey, tmp_path):
    table = survey.copy()
    table.rename_column("cluster_id", column)
    found = by_name(read_clusters(save(table, tmp_path / "survey.csv")))
    assert set(found) == set(PLACES)
    for name, cluster in found.items():
        alone = survey[survey["cluster_id"] == name]["ra", "dec", "z"]
        same(cluster, read_table(save(alone, tmp_path / "alone.csv")))
        assert cluster.catalogue.names == (name,)


def test_any_column_can_be_chosen_to_separate_clusters(survey, tmp_path):
    table = survey.copy()
    table["field"] = [100 + int(str(name)[-1]) for name in table["cluster_id"]]
    table.remove_column("cluster_id")
    path = save(table, tmp_path / "survey.fits")
    found = by_name(read_clusters(path, options=TableOptions(columns={"id": "field"})))
    assert set(found) == {"101", "102", "103"}


def test_one_cluster_is_asked_of_a_table_of_many(survey, tmp_path):
    with pytest.raises(TableError, match="3 values of column cluster_id"):
        read_table(save(survey, tmp_path / "survey.csv"))
    only = save(one("A 1", 0), tmp_path / "one.csv")
    assert read_table(only).name == "A 1"


def test_a_column_that_names_galaxies_is_no_column_of_clusters(survey, tmp_path):
    table = survey.copy()
    table["cluster_id"] = np.arange(len(table))
    (result,) = read_clusters(save(table, tmp_path / "survey.csv"))
    assert isinstance(result, Unreadable)
    assert "names galaxies, not clusters" in result.reason


def test_rows_without_a_cluster_are_counted_and_bad_clusters_cost_only_themselves(survey, tmp_path):
    table = survey.copy()
    table["z"] = [str(z) for z in table["z"]]
    table["z"][np.flatnonzero(table["cluster_id"] == "A 2")[:50]] = "about .1"
    table["dec"][np.flatnonzero(table["cluster_id"] == "A 3")[:50]] = 400.0
    table["cluster_id"][np.flatnonzero(table["cluster_id"] == "A 1")[:5]] = "-1"
    *found, last = read_clusters(save(table, tmp_path / "survey.csv"))
    kinds = {result.name: type(result) for result in found}
    assert kinds == {"A 1": ObservedCluster, "A 2": Unreadable, "A 3": Unreadable}
    reasons = by_name(found)
    assert reasons["A 1"].counts.rows == 75
    assert "survey.csv [A 2]: column z is not a number." in reasons["A 2"].reason
    assert "survey.csv [A 3]: dec lies outside" in reasons["A 3"].reason
    assert last == Unreadable("survey (no cluster)", "survey.csv: 5 rows belong to no cluster.")


def test_a_table_of_clusters_gives_centres_and_redshifts_by_name(survey, centres, tmp_path):
    known = read_cluster_list(centres)
    path = save(survey, tmp_path / "survey.parquet")
    for name, cluster in by_name(read_clusters(path, options=TableOptions(clusters=known))).items():
        assert (cluster.ra, cluster.dec, cluster.redshift) == PLACES[name]
        assert cluster.centre_source == "given"
        ra, dec, z = PLACES[name]
        alone = save(survey[survey["cluster_id"] == name]["ra", "dec", "z"], tmp_path / "alone.csv")
        same(cluster, read_table(alone, options=TableOptions(centre=(ra, dec), redshift=z)))


def test_galaxies_without_names_of_clusters_are_taken_from_around_each_centre(survey, centres, tmp_path):
    named = by_name(
        read_clusters(save(survey, tmp_path / "a.csv"), options=TableOptions(clusters=read_cluster_list(centres)))
    )
    path = save(survey["ra", "dec", "z"], tmp_path / "b.csv")
    rows_around_centres = by_name(read_clusters(path, options=TableOptions(clusters=read_cluster_list(centres))))
    assert set(rows_around_centres) == {"A1", "A2", "A3"}
    for name, cluster in named.items():
        same(cluster, rows_around_centres[name.replace(" ", "")])


def test_a_file_of_one_cluster_is_matched_by_its_own_name(centres, tmp_path):
    path = save(one("A 2", 1)["ra", "dec", "z"], tmp_path / "a_2.csv")
    options = TableOptions(clusters=read_cluster_list(centres))
    assert read_table(path, options=options).redshift == 0.12
    (cluster,) = read_clusters(path, options=options)
    assert cluster.redshift == 0.12
    with pytest.raises(TableError, match="no cluster 'b'"):
        read_table(path.rename(tmp_path / "b.csv"), options=options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ra,dec,z\n1,2,.1\n", "no names of clusters"),
        ("name,mass\na,1\n", "no positions and no redshifts"),
        ("name,ra,dec,z\na,1,2,.1\nA,1,2,.1\n", "two clusters have one name"),
        ("name,ra,dec,z\na,1,95,.1\n", "a centre is right ascension"),
        ("name,ra,dec,z\na,1,2,7000\n", "between 0 and 2"),
    ],
)
def test_a_bad_table_of_clusters_is_refused(text, words, tmp_path):
    (tmp_path / "centres.csv").write_text(text)
    with pytest.raises(TableError, match=words):
        read_cluster_list(tmp_path / "centres.csv")


def test_masses_stream_over_tables_and_their_clusters(estimator, survey, tmp_path):
    table = survey.copy()
    table["z"][table["cluster_id"] == "A 2"] = np.nan
    paths = [tmp_path / "missing.csv", save(table, tmp_path / "survey.csv")]
    results = infer_tables(paths, estimator, TableOptions())
    first = next(results)  # before the second table is read
    assert isinstance(first, NoMassResult)
    rest = list(results)
    assert {result.name: type(result) for result in rest} == {"A 1": MassResult, "A 2": NoMassResult, "A 3": MassResult}
    rows = as_table([first, *rest], ModelStamp.from_estimator(estimator))
    good = np.isfinite(np.asarray(rows["log10_mass"]))
    assert good.sum() == 2
    assert all(reason for reason in rows["reason"][~good])


def test_a_field_that_ends_inside_the_aperture_raises_a_warning(estimator, tmp_path):
    table = one("A 1", 3, n=300)
    ra, dec, z = PLACES["A 1"]
    apart = np.hypot((table["ra"] - ra) * np.cos(np.deg2rad(dec)), table["dec"] - dec)
    inner = table[np.deg2rad(apart) * MDPL2.comoving_distance(z) < 0.8]
    options = TableOptions(centre=(ra, dec), redshift=z)
    (cut,), (whole,) = (
        list(infer_tables([save(each, tmp_path / "a.csv")], estimator, options)) for each in (inner, table)
    )
    assert any("the galaxies reach 0.8" in warning or "reach 0.7" in warning for warning in cut.warnings)
    assert not any("the galaxies reach" in warning for warning in whole.warnings)


def test_the_command_line_takes_the_column_of_clusters_and_their_table(capsys, model, survey, centres, tmp_path):
    from sbi_clustermass.cli.main import main

    table = survey.copy()
    table.rename_column("cluster_id", "field")
    path = save(table, tmp_path / "survey.csv")
    command = ("infer", path, "--model", model, "--id", "field", "--clusters", centres, "--Om", 0.2)
    with pytest.raises(SystemExit) as status:
        main([str(word) for word in (*command, "--out", tmp_path / "masses.csv")])
    assert status.value.code == 0
    printed = capsys.readouterr().out
    assert "40.0000 +10.0000 deg, given" in printed
    assert "distances are for the mocks' Om" in printed
    rows = Table.read(tmp_path / "masses.csv", format="ascii.csv")
    assert set(rows["name"]) == set(PLACES)
    assert (rows["n_galaxies"] + rows["n_outside_aperture"] + rows["n_outside_velocity"] == rows["n_rows"]).all()
