"""The rows of observed tables with probabilities of membership: every row comes back, in its place, with its fate."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from matplotlib.collections import PathCollection

from clustermocks import MDPL2
from sbi_clustermass import TableOptions
from sbi_clustermass.cli.main import main
from sbi_clustermass.observations import infer_tables
from sbi_clustermass.observations.cluster_figure import cluster_figure
from sbi_clustermass.observations.cluster_page import ClusterPage
from sbi_clustermass.observations.member_table import COLUMNS, PROBABILITIES, members_file
from tests.observations.conftest import save_survey


@pytest.fixture(scope="session")
def knowing(with_membership):
    """The estimator with a membership."""
    return with_membership


def write(path, tables, estimator, options=None, n_jobs=1):
    with members_file(path, estimator) as add:
        for result in infer_tables(tables, estimator, options or TableOptions(), n_jobs=n_jobs):
            add(result)
    return Table.read(path, format={".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".parquet": "parquet"}[path.suffix])


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".parquet"])
def test_every_galaxy_of_a_survey_has_its_probabilities(knowing, some, survey, tmp_path, suffix):
    found = write(tmp_path / f"members{suffix}", [survey], knowing)
    assert found.colnames[:4] == ["cluster", "R_proj_cMpc_h", "v_los", "z_cluster"]
    expected = knowing.memberships(some)
    assert len(found) == len(expected)
    used = np.asarray(found["R_proj"], float)
    np.testing.assert_allclose(used, some.galaxy_column("R_proj"), atol=1e-4)  # rounded to four digits
    for column, name in enumerate(PROBABILITIES):
        # masses from a table recentre nothing, but distances are read in double precision
        np.testing.assert_allclose(np.asarray(found[name], float), expected[:, column], atol=2e-3)
    assert list(map(str, found["cluster_name"])) == list(map(str, found["cluster"]))


def test_processes_do_not_change_the_rows(knowing, survey, tmp_path):
    one, two = (write(tmp_path / f"{n}.ecsv", [survey], knowing, n_jobs=n) for n in (1, 2))
    assert one.pformat(max_lines=-1) == two.pformat(max_lines=-1)


def sky_table(path, n=40, seed=1):
    """A cluster on the sky with a nearer galaxy, a far galaxy, a duplicate, and rows without redshift or position."""
    rng = np.random.default_rng(seed)
    distance = np.rad2deg(rng.uniform(0, 1.0, n) / float(MDPL2.comoving_distance(0.1)))
    angle = rng.uniform(0, 2 * np.pi, n)
    ra, dec = list(150 + distance * np.cos(angle)), list(distance * np.sin(angle))
    z, note = list(0.1 + rng.normal(0, 0.002, n)), [f"galaxy {i}" for i in range(n)]
    for where, redshift, text in (
        ((150.0, 0.01), 0.05, "nearer"),
        ((153.0, 0.0), 0.1, "far"),
        ((ra[0], dec[0]), z[0], "again"),
        ((150.0, 0.02), np.nan, "without z"),
        ((np.nan, 0.0), 0.1, "=1+1"),
    ):
        ra.append(where[0])
        dec.append(where[1])
        z.append(redshift)
        note.append(text)
    Table({"ra": ra, "dec": dec, "z": z, "note": note, "v_los": np.arange(len(z))}).write(path, format="ascii.csv")
    return path


def test_rows_that_are_not_used_say_why_and_keep_their_own_columns(knowing, tmp_path):
    path = sky_table(tmp_path / "sky.csv")
    options = TableOptions(redshift=0.1, centre=(150.0, 0.0), columns={"z": "z"})
    found = write(tmp_path / "members.csv", [path], knowing, options)
    assert len(found) == 45
    reasons = dict(zip(map(str, found["note"]), map(str, found["not_used"].filled("")), strict=True))
    assert reasons["nearer"] == "outside the velocity cut"
    assert reasons["far"] == "outside the aperture"
    assert reasons["again"] == "duplicate of another row"
    assert reasons["without z"] == "no redshift or velocity"
    assert reasons["'=1+1"] == "no position"  # no formula for a spreadsheet
    assert Counter(reasons.values())[""] == 40
    assert (np.asarray(found["p_r_vir"].mask) == np.array([bool(each) for each in reasons.values()])).all()
    np.testing.assert_array_equal(found["v_los"], np.arange(45))  # the table's own
    assert "v_los_inferred" in found.colnames


def test_rows_of_a_poor_cluster_and_of_no_cluster_have_no_probabilities(knowing, some, tmp_path):
    path = save_survey(some.select([0, 1]), tmp_path / "two.parquet")
    table = Table.read(path)
    table["cluster"] = table["cluster"].astype("U8")
    n = int(some.n_galaxies[0])
    table["cluster"][:2], table["cluster"][2:4] = "poor", ""
    table.write(path, overwrite=True)
    found = write(tmp_path / "members.ecsv", [path], knowing)
    names, reasons = ([str(v) if v else "" for v in found[n].filled("")] for n in ("cluster_name", "not_used"))
    why = Counter(zip(names, reasons, strict=True))
    assert why["poor", "its cluster has no mass"] == 2
    assert why["", "of no cluster that could be read"] == 2
    assert why["C0", ""] == n - 4


def test_a_cleaned_table_is_named_as_such(knowing, survey, tmp_path):
    options = TableOptions(cleaned=True)
    found = write(tmp_path / "members.ecsv", [survey], knowing, options)
    assert np.all(found["interlopers_removed"])
    result = next(iter(infer_tables([survey], knowing, options)))
    assert any("interlopers were removed" in note for note in result.cluster.notes)


def test_tables_of_different_columns_go_into_one_file(knowing, survey, some, tmp_path):
    other = save_survey(some.select([0]), tmp_path / "other.parquet", names=["7"])
    table = Table.read(other)
    table["cluster"], table["vector"] = [7] * len(table), np.zeros((len(table), 2))
    table.write(other, overwrite=True)
    ragged = pa.array([[0.0] * (row % 3) for row in range(len(table))])
    pq.write_table(pq.read_table(other).append_column("ragged", ragged), other)
    found = write(tmp_path / "members.csv", [survey, other], knowing)
    assert len(found) == some.n_galaxies.sum() + some.n_galaxies[0]
    assert set(COLUMNS) - {"v_los"} <= set(found.colnames)


def test_a_model_without_a_membership_is_refused_in_one_message(model, survey, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["infer", str(survey), "--model", str(model), "--members", str(tmp_path / "members.csv")])
    assert "--members: this model does not know members from interlopers" in capsys.readouterr().err
    assert not (tmp_path / "members.csv").exists()


def test_the_command_writes_the_file_and_says_so(knowing, survey, tmp_path, capsys):
    knowing.save(tmp_path / "model")
    out = tmp_path / "members.parquet"
    with pytest.raises(SystemExit) as status:
        main(["infer", str(survey), "--model", str(tmp_path / "model"), "--members", str(out)])
    assert not status.value.code
    assert f"Wrote {out}." in capsys.readouterr().out


def test_the_picture_colours_galaxies_by_their_membership(knowing, estimator, results, stamp):
    mass = min(results[:-1], key=lambda each: each.cluster.n_galaxies)
    figure = cluster_figure(ClusterPage.from_result(mass, knowing, stamp))
    (dots,) = (each for each in figure.axes[0].collections if isinstance(each, PathCollection))
    # another batch size is another order of sums in float32
    np.testing.assert_allclose(dots.get_array(), knowing.memberships(mass.cluster.catalogue)[:, 1], atol=1e-6)
    plain = cluster_figure(ClusterPage.from_result(mass, estimator, stamp))
    assert not [each for each in plain.axes[0].collections if isinstance(each, PathCollection)]
