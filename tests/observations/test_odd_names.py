"""No name of a cluster or a file ends a run, or costs another cluster its mass."""

import io
import os
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from sbi_clustermass.cli.main import main
from sbi_clustermass.observations import ModelStamp, figure_folder, infer_tables
from sbi_clustermass.observations.figure_folder import FigureFolder
from sbi_clustermass.observations.tables import TableOptions, files, read_cluster_list
from sbi_clustermass.observations.tables.literature_masses import read_published_masses

CONTROL = "A\x1b[2J", "tab\there", "nul\x00byte", "line\nbreak", "\u202eright to left"
ODD = *CONTROL, "lone \udce9", "\U0001f30c 1", "A/B", "..", "=1+1", "a" * 300, "$\\frac{", "con", "<b>"


@pytest.fixture
def table(tmp_path, monkeypatch, request):
    """A file whose name is no UTF-8, of a cluster for each odd name."""
    names = getattr(request, "param", ODD)
    rng, n = np.random.default_rng(5), 60
    offset, v = rng.normal(0, 0.06, (n, 2)), rng.normal(0, 700, n)
    one = {"ra": 150 + offset[:, 0], "dec": offset[:, 1], "z": 0.117 + v / 299_792.458}
    rows = {name: np.tile(values, len(names)) for name, values in one.items()}
    monkeypatch.setattr(files, "_read", lambda *_: Table({"cluster": np.repeat(names, n), **rows}))
    path = tmp_path / os.fsdecode(b"caf\xe9.csv")
    path.write_text("its rows are given above")
    return path


def run(*words):
    with pytest.raises(SystemExit) as status:
        main([str(word) for word in words])
    assert status.value.code == 0


@pytest.mark.parametrize("name", ["m.csv", "m.ecsv", "m.parquet"])
def test_every_cluster_has_its_row_in_every_kind_of_table(name, table, model, tmp_path):
    run("infer", table, "--model", model, "--out", tmp_path / name)
    form = {"m.csv": "ascii.csv", "m.ecsv": "ascii.ecsv", "m.parquet": "parquet"}[name]
    masses = Table.read(tmp_path / name, format=form)
    assert len(masses) == len(ODD)
    assert np.isfinite(np.asarray(masses["log10_mass"], float)).all()
    assert len(set(masses["name"])) == len(ODD)


def test_every_cluster_has_its_place_on_the_page_and_its_posterior(table, model, tmp_path):
    outputs = ("--posteriors", tmp_path / "p.parquet", "--samples", 5, "--page", tmp_path / "p.html")
    run("infer", table, "--model", model, *outputs)
    assert pq.read_metadata(tmp_path / "p.parquet").num_rows == len(ODD)
    assert "\x1b" not in (tmp_path / "p.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", [("lone \udce9", "..", "$\\frac{")], indirect=True)
def test_every_cluster_has_its_picture(table, model, tmp_path):
    run("infer", table, "--model", model, "--pictures", tmp_path / "pictures")
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 3


def test_a_terminal_without_a_name_s_letters_shows_escapes(table, model, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", terminal)
    run("infer", table, "--model", model)
    terminal.flush()
    shown = terminal.buffer.getvalue().decode("latin-1")
    assert r"\U0001f30c 1" in shown
    assert r"lone \udce9" in shown


# ---- names that match nothing ---------------------------------------------------------------------------------------


def test_clusters_of_a_list_that_match_none_are_named_with_the_nearest(estimator, table, tmp_path, monkeypatch):
    (tmp_path / "c.csv").write_text("name,ra,dec,z\nab,150,0,.117\nA 12,150,0,.117\n0012,150,0,.1\n")
    monkeypatch.undo()
    options = TableOptions(clusters=read_cluster_list(tmp_path / "c.csv"))
    rows = "\n".join(f"{name},{150 + i % 7 / 100},{i % 5 / 100},.117" for i in range(40) for name in ("A B", "A 11"))
    (tmp_path / "t.csv").write_text(f"cluster,ra,dec,z\n{rows}\n")
    with pytest.warns(UserWarning, match=r"c\.csv: 2 clusters match no cluster") as caught:
        first, second = infer_tables([tmp_path / "t.csv"], estimator, options)
    assert "A 12 (nearest: A 11), 0012" in str(caught[0].message)
    assert first.name == "A B"
    assert "no cluster 'A 11'" in second.reason
    assert "rename it to A 12" in second.reason


def test_published_masses_that_match_none_are_named_with_the_nearest(estimator, results, tmp_path, monkeypatch):
    monkeypatch.setattr(figure_folder, "cluster_figure", lambda _: Figure())
    (tmp_path / "p.csv").write_text("name,log10_mass\nAbell 85,14.9\nAbell 119,14.5\n0012,14.1\n")
    published = read_published_masses(tmp_path / "p.csv", h=0.7)
    draw = FigureFolder(tmp_path / "p", estimator, ModelStamp.from_estimator(estimator), published)
    for name in ("abell_85", "Abell 118"):
        draw(replace(results[0], cluster=replace(results[0].cluster, name=name)))
    with pytest.warns(UserWarning, match=r"p\.csv: 2 published masses match no cluster") as caught:
        draw.warn_of_unused()
    assert "Abell 119 (nearest: Abell 118), 0012" in str(caught[0].message)
