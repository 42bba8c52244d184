"""One call from a table, on disk or in memory, to masses, which are the same wherever it is; every view of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import QTable, Table

from sbi_clustermass import MassEstimator, TableOptions, infer
from sbi_clustermass.estimator.hub import SHIPPED
from sbi_clustermass.observations import MassResult, NoMassResult, infer_tables
from tests.observations.tables.conftest import CENTRE, REDSHIFT, columns  # noqa: F401, a fixture


class Polars:
    """What of a DataFrame of polars the reader uses, for it is not among the dependencies of the tests."""

    def __init__(self, given):
        self.given, self.columns = given, list(given)

    def __len__(self):
        return len(next(iter(self.given.values())))

    def __getitem__(self, name):
        return pd.Series(self.given[name])


def _quantities(table):
    return {"ra": np.deg2rad(table["ra"]) * _unit("rad"), "dec": table["dec"] * _unit("deg"), "z": table["z"]}


def _unit(name):
    from astropy import units

    return units.Unit(name)


IN_MEMORY = {
    "dictionary": dict,
    "dictionary of lists": lambda table: {name: list(values) for name, values in table.items()},
    "dictionary of quantities": _quantities,
    "pandas": pd.DataFrame,
    "pandas with its own missing values": lambda table: pd.DataFrame(table).convert_dtypes(),
    "polars": Polars,
    "astropy": Table,
    "astropy with quantities": lambda table: QTable(_quantities(table)),
    "arrow": lambda table: pa.table(dict(table)),
    "records": lambda table: pd.DataFrame(table).to_records(index=False),
}


@pytest.fixture(scope="module")
def on_disk(columns, estimator, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("table") / "table.ecsv"
    Table(columns).write(path)
    return path, infer(path, model=estimator)


@pytest.mark.parametrize("kind", IN_MEMORY)
def test_a_table_in_memory_gives_the_mass_of_its_file(columns, estimator, on_disk, kind):  # noqa: F811
    masses = infer(IN_MEMORY[kind](columns), model=estimator)
    assert masses[0].name == on_disk[1][0].name == "table"
    assert masses[0].percentiles == pytest.approx(on_disk[1][0].percentiles, abs=1e-6)  # of radians to degrees


def test_the_call_gives_what_the_reader_and_the_network_give(estimator, on_disk):
    path, masses = on_disk
    [alone] = infer_tables([path], estimator, TableOptions())
    assert [result.quantiles for result in masses] == [alone.quantiles]


def test_columns_are_converted_one_by_one_and_the_table_given_is_not_changed(columns, estimator, on_disk):  # noqa: F811
    frame = pd.DataFrame(columns).assign(
        kind=pd.Categorical(["E", "S"] * 120), seen=pd.Timestamp("2026-11-30"), notes=[{}] * 240, z_err=pd.NA
    )
    before = frame.copy()
    assert infer(frame, model=estimator)[0].percentiles == on_disk[1][0].percentiles
    pd.testing.assert_frame_equal(frame, before)
    table = QTable(_quantities(columns))
    infer(table, model=estimator)
    assert table["ra"].unit == "rad"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (3, "no table of galaxies.\n  found:  int"),
        ([1.0, 2.0], "no table of galaxies.\n  found:  list"),
        ({"ra": [1.0, 2.0], "dec": [1.0]}, "columns of different lengths.\n  found:  ra 2, dec 1"),
        (pd.DataFrame({"ra": []}), "the table has no rows.\n  found:  columns ra"),
        (pd.DataFrame({"a": [1.0]}), "no positions"),
        ("nowhere.csv", "no such file"),
        ("table", "no such file"),
        (None, "no table of galaxies.\n  found:  NoneType"),
    ],
)
def test_what_is_no_table_gets_a_reason_and_costs_the_others_nothing(columns, estimator, given, reason):  # noqa: F811
    bad, good = infer(given, columns, model=estimator)
    assert isinstance(bad, NoMassResult)
    assert reason in bad.reason
    assert isinstance(good, MassResult)


def test_facts_of_the_table_are_used(columns, estimator):  # noqa: F811
    options = TableOptions(redshift=REDSHIFT, centre=CENTRE)
    [mass] = infer({"z_spec_final": columns["z"], **columns}, model=estimator, options=options)
    assert mass.cluster.centre_source == "given"
    assert mass.cluster.redshift == REDSHIFT


def test_no_table_is_an_error():
    with pytest.raises(TypeError, match="give a table of galaxies"):
        infer()


# ---- the object -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def masses(columns, estimator):  # noqa: F811
    names = np.where(np.arange(240) % 2, "A 1", "B <2>")
    poor = {name: values[:3] for name, values in columns.items()}
    return infer({"cluster": names, **columns}, poor, model=estimator)


def test_results_are_found_by_position_slice_and_name(masses):
    assert [result.name for result in masses] == ["B <2>", "A 1", "table"]
    assert masses["A 1"] is masses[1]
    assert list(masses[1:]) == [masses[1], masses[2]]
    with pytest.raises(KeyError, match="no cluster 'C'"):
        masses["C"]
    assert repr(masses) == "Masses(2 masses of 3 clusters)"
    assert "A 1: " in str(masses)


def test_the_first_of_many_clusters_are_printed(masses):
    many = replace(masses, results=masses.results * 100)
    assert str(many).count("A 1: ") == 7  # of 20 clusters
    assert str(many).splitlines()[-1] == "and 280 more: to_table() has all."


def test_tables_have_a_row_for_each_cluster_and_files_hold_the_same(masses, tmp_path):
    table, frame = masses.to_table(), masses.to_pandas()
    assert list(table["name"]) == list(frame["name"]) == ["B <2>", "A 1", "table"]
    assert table["log10_mass_p50"][1] == frame["log10_mass_p50"][1] == masses["A 1"].percentiles[1]
    masses.write(tmp_path / "masses.parquet")
    assert list(Table.read(tmp_path / "masses.parquet")["name"]) == list(table["name"])


def test_posteriors_and_samples_are_those_of_the_clusters_with_a_mass(masses):
    assert masses.posteriors.names == masses.samples.names == ("B <2>", "A 1")
    drawn, exact = np.median(masses.samples.column("log10_mass"), axis=1), masses.posteriors.quantile(0.5)
    np.testing.assert_allclose(drawn, exact, atol=0.01)  # 2000 stratified draws of a posterior .2 dex wide
    chain = masses.to_getdist("A 1")
    assert chain.getMeans()[0] == pytest.approx(masses["A 1"].mean, abs=0.02)
    assert masses.to_arviz().posterior["log10_mass"].sizes["cluster"] == 2


def test_samples_of_a_cluster_do_not_depend_on_the_others(masses):
    np.testing.assert_allclose(masses[1:].samples.samples[0], masses.samples["A 1"].samples[0], atol=1e-5)


def test_a_notebook_shows_a_table_with_safe_names_and_a_picture(masses):
    html = masses._repr_html_()
    assert html.count("<tr>") == 4
    assert "B &lt;2&gt;" in html
    assert "<2>" not in html
    assert "data:image/png;base64,iVBOR" in html
    assert "no mass" in html


def test_without_any_mass_there_is_a_table_and_no_picture(masses):
    none = masses[2:]
    assert "<img" not in none._repr_html_()
    for view in ("posteriors", "samples"):
        with pytest.raises(ValueError, match="no cluster has a mass"):
            getattr(none, view)
    with pytest.raises(ValueError, match="table has no mass"):
        none.plot()


def test_the_page_of_a_cluster_is_drawn(masses):
    assert "A 1" in masses.plot("A 1").get_suptitle()


# ---- the estimator that ships ---------------------------------------------------------------------------------------


def test_the_shipped_estimator_is_the_default(columns):  # noqa: F811
    assert infer(columns).stamp.checksum == infer(columns, model="default").stamp.checksum != ""


def test_the_shipped_estimator_needs_no_name(tmp_path, monkeypatch, estimator):
    first, default = MassEstimator.load(), MassEstimator.load("default")
    assert first.provenance == default.provenance == MassEstimator.load(SHIPPED).provenance
    monkeypatch.chdir(tmp_path)
    estimator.save("default")  # a folder of that name is what its user means
    assert MassEstimator.load("default").provenance == estimator.provenance
