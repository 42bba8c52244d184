"""Masses are the same whoever works: this process, two others, or a Dask cluster; parts in, parts out."""

import joblib
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sbi_clustermass import TableOptions
from sbi_clustermass.cli.main import main
from sbi_clustermass.observations import ModelStamp, infer_parts, infer_tables


def rows(results):
    return [(each.name, getattr(each, "quantiles", None), getattr(each, "reason", "")) for each in results]


@pytest.fixture
def parts(survey, tmp_path):
    """The survey in three files, no cluster in two of them."""
    table, folder = pq.read_table(survey), tmp_path / "galaxies"
    folder.mkdir()
    names = table["cluster"].unique()
    for i in range(3):
        pq.write_table(table.filter(pc.is_in(table["cluster"], names[i::3])), folder / f"part-{i}.parquet")
    return folder


def test_two_processes_give_what_one_gives_in_the_same_order(estimator, survey):
    paths = [survey, survey.with_name("missing.csv"), survey]  # names of the second reading are taken
    alone, two = (list(infer_tables(paths, estimator, TableOptions(), batch=15, n_jobs=n_jobs)) for n_jobs in (None, 2))
    for one, other in zip(rows(alone), rows(two), strict=True):
        assert one[0] == other[0]
        assert one[2] == other[2]
        if one[1] is not None:
            np.testing.assert_allclose(one[1], other[1], atol=1e-5)  # float32 sums of other batches
    assert alone[-1].name == "survey:C39"


def test_a_dask_cluster_gives_the_same_parts_and_goes_on_where_it_was_interrupted(estimator, stamp, parts, tmp_path):
    distributed = pytest.importorskip("distributed")
    out = tmp_path / "masses"
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        written = infer_parts(parts, out, estimator, stamp)
    assert [path.name for path in written] == [f"part-{i}.parquet" for i in range(3)]
    here = infer_parts(parts, tmp_path / "here", estimator, stamp)
    for one, other in zip(written, here, strict=True):
        a, b = (pq.read_table(path) for path in (one, other))
        assert a["name"].to_pylist() == b["name"].to_pylist()
        np.testing.assert_array_equal(a["log10_mass"].to_numpy(), b["log10_mass"].to_numpy())
    kept = written[0].stat().st_mtime_ns
    written[1].unlink()
    infer_parts(parts, out, estimator, stamp)
    assert written[0].stat().st_mtime_ns == kept
    assert written[1].is_file()


def test_masses_by_another_model_and_folders_without_tables_are_refused(estimator, stamp, parts, tmp_path):
    infer_parts(parts, tmp_path / "masses", estimator, stamp)
    other = ModelStamp.from_estimator(estimator)
    with pytest.raises(ValueError, match="by another model"):
        infer_parts(parts, tmp_path / "masses", estimator, other)
    with pytest.raises(ValueError, match="over the galaxies"):
        infer_parts(parts, parts, estimator, stamp)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no \.parquet files"):
        infer_parts(tmp_path / "empty", tmp_path / "masses", estimator, stamp)


def test_the_command_takes_a_folder(capsys, model, parts, tmp_path):
    command = ["infer", str(parts), "--model", str(model), "--out", str(tmp_path / "masses")]
    with pytest.raises(SystemExit) as status:
        main(command)
    assert not status.value.code, capsys.readouterr().err
    assert sum(len(pq.read_table(path)) for path in (tmp_path / "masses").glob("*.parquet")) == 40
    with pytest.raises(SystemExit) as status:
        main([*command[:-2], "--page", str(tmp_path / "page.html")])
    assert status.value.code
    assert "a folder gives tables of masses in a folder" in capsys.readouterr().err
