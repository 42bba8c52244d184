"""Paths that start with ~ in quotes or behind an equals sign, where no shell expands them; in Python as well."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from sbi_clustermass import MassEstimator, MassPosteriors, TableOptions, infer, read_cluster, train
from sbi_clustermass.cli.main import app, main
from sbi_clustermass.estimator.hub.card_metadata import CardMetadata
from sbi_clustermass.estimator.hub.model_card import publish
from sbi_clustermass.estimator.run_report import sections_of_run
from sbi_clustermass.observations.output_files import OutputFiles
from sbi_clustermass.observations.tables.cluster_list_file import read_cluster_list
from sbi_clustermass.population.options import PopulationOptions
from sbi_clustermass.posterior.recalibration import Recalibration
from sbi_clustermass.report import load_sections, save_sections, write

pytestmark = pytest.mark.usefixtures("home")
OPTIONS = (OutputFiles, PopulationOptions)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with a table; the working folder is another one, which stays empty."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    rng = np.random.default_rng(0)
    table = Table({"R_proj_Mpc": rng.uniform(0.05, 1.5, 80), "v_los_kms": rng.normal(0, 700, 80)})
    table.write(home / "coma.csv", format="ascii.csv")
    yield home
    assert os.listdir(work) == []


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([str(each) for each in arguments])


def test_simulate_and_posteriors_write_where_they_say(home, model, capsys):
    run("simulate", "~/a/mocks.parquet", "--n", 30, "--low", 14.5, "--jobs", 1)
    run("simulate", "~/b/mocks/", "--n", 30, "--low", 14.5, "--jobs", 1)
    run("posteriors", "~/b/mocks", "--model", model, "--out=~/c/masses.parquet")
    assert f"Wrote {home / 'a' / 'mocks.parquet'}: " in capsys.readouterr().out
    assert os.listdir(home / "a") == ["mocks.parquet"]
    assert sorted(os.listdir(home / "b" / "mocks")) == ["_catalogue.json", "part-00000.parquet"]
    assert os.listdir(home / "c") == ["masses.parquet"]
    assert len(MassPosteriors.from_parquet("~/c/masses.parquet")) > 0


def test_infer_reads_and_writes_every_kind_of_file(home, estimator):
    estimator.save("~/model")
    (home / "published.csv").write_text("name,mass,unit\ncoma,9,1e14 Msun\n")
    (home / "list.csv").write_text("id,z\ncoma,0.05\n")
    into = ("--out=~/a.csv", "--posteriors=~/b.parquet", "--samples=10", "--pictures=~/c")
    read = ("--model=~/model", "--published=~/published.csv", "--clusters=~/list.csv")
    run("infer", "~/coma.csv", *read, *into, "--page=~/e.html", "--inline=0", "--h=0.7", "--distance=physical")
    assert {"a.csv", "b.parquet", "b_samples.parquet", "c", "e.html"} <= {*os.listdir(home)}
    assert os.listdir(home / "c") == ["coma.png"]
    assert "c/coma.png" in (home / "e.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [name for name in app if not name.startswith("-")])
def test_every_path_of_a_command_is_expanded(home, command):
    for argument in app[command].assemble_argument_collection():
        is_path = "Path" in str(argument.hint)
        field = is_path and argument.field_info.name
        owner = next((each for each in OPTIONS if field in getattr(each, "__dataclass_fields__", ())), None)
        if is_path and argument.parameter.converter is None and "_path" not in str(argument.hint):
            assert owner is not None, f"{command} {argument.name}: neither FilePath nor a field of a dataclass"
            assert getattr(owner(**{field: Path("~/x")}), field) == home / "x"


def test_python_takes_the_home_folder_too(home, estimator, mocks):
    estimator.save("~/model")
    assert MassEstimator.load("~/model").support == estimator.support
    options = TableOptions(redshift=0.05, h=0.7, distance="physical")
    assert len(read_cluster("~/coma.csv", options=options)) == 1
    infer("~/coma.csv", options=options, model="~/model").write("~/masses.ecsv")
    (home / "list.csv").write_text("id,z\ncoma,0.05\n")
    assert "coma" in read_cluster_list(Path("~/list.csv"))
    estimator.posterior(mocks.select(np.arange(3))).to_parquet(Path("~/p.parquet"))
    assert len(MassPosteriors.from_parquet("~/p.parquet")) == 3
    Recalibration(0.1).save("~/r.json")
    assert Recalibration.load("~/r.json") == Recalibration(0.1)
    sections = sections_of_run("~/model")
    save_sections("~/validation", sections)
    assert len(load_sections("~/validation")) == len(sections)
    write("~/report.html", "A run", sections)
    publish(Path("~/model"), Path("~/published"), CardMetadata(title="A model"))
    found = {"masses.ecsv", "p.parquet", "r.json", "validation", "report.html", "published", "published.zip"}
    assert found <= {*os.listdir(home)}


def test_a_training_keeps_its_state_in_the_home_folder(home, mocks):
    from sbi_clustermass import StackedAffine, Training

    few = Training(max_updates=2)
    flow = StackedAffine(hidden=(4,))
    train(mocks, flow=flow, support=(13.0, 15.6), training=few, device="cpu", checkpoint="~/state")
    assert "state" in os.listdir(home)
