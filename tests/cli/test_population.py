"""The commands `clustermass posteriors` and `clustermass population`."""

import json
import re
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path

import arviz
import getdist
import numpy as np
import pytest
from astropy.table import Table

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel, StoredCatalogue
from clustermocks.selection import fit_selection
from sbi_clustermass import MassPosteriors
from sbi_clustermass.cli.main import main
from sbi_clustermass.population import SAMPLERS, Laplace, unblinded

GRID = np.linspace(12.5, 15.8, 111)
ERROR, N, CUT = 0.12, 8000, 20
VOLUME = N / HaloMassFunction(low=12.5, high=15.6).number_density()


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit status and what was printed."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out = capsys.readouterr()
    return int(exit_.value.code or 0), out.out, out.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A survey cut on richness, a table of its observables, and the mocks that its selection is measured on.

    The posteriors are those of a mass estimate and of passing the cut, like those of a network that was trained on
    clusters that passed it.
    """
    folder = tmp_path_factory.mktemp("population")
    model = replace(HaloModel.ho2019(), dominant=True)
    model.simulate(FlatMasses(12.5, 15.6).draw(4000, seed=1), seed=1).to_parquet(folder / "mocks.parquet")
    mocks = Catalogue.from_parquet(folder / "mocks.parquet").with_min_galaxies(CUT)
    selection = fit_selection(*mocks.attempted())
    rng, true = np.random.default_rng(3), HaloMassFunction(low=12.5, high=15.6).draw(N, seed=2)
    true = true[rng.random(N) < selection(true)]
    observed = true + ERROR * rng.standard_normal(len(true))
    names = tuple(f"c{i}" for i in range(len(true)))
    log_prob = -0.5 * ((GRID - observed[:, None]) / ERROR) ** 2 + selection.log(GRID)
    MassPosteriors.from_log_prob(GRID, log_prob, names=names).to_parquet(folder / "masses.parquet")
    y = 2.9 + 0.33 * (true - 14.3) + np.hypot(0.05, 0.03) * rng.standard_normal(len(true))
    rows = rng.permutation(len(true))
    table = Table({"name": np.array(names)[rows], "redshift": np.full(len(true), 0.12), "log_sigma": y[rows]})
    table["log_sigma_err"] = 0.03
    table.write(folder / "table.ecsv")
    return folder


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """A tenth of the command's draws."""
    monkeypatch.setitem(SAMPLERS, "laplace", partial(Laplace, num_samples=100))


def options(folder: Path) -> list[object]:
    """Options of every run: masses, selection, volume and a quick sampler."""
    mocks = ("--mocks", folder / "mocks.parquet", "--min-galaxies", CUT)
    return ["population", folder / "masses.parquet", *mocks, "--volume", VOLUME, "--sampler", "laplace"]


def test_mass_function_is_fitted_and_written(capsys, folder, tmp_path):
    status, out, err = run(capsys, *options(folder), "--out", tmp_path / "run", "--truth", "tinker08")
    assert status == 0, err
    assert "slope" in out
    assert "Wrote" in out
    table = Table.read(tmp_path / "run" / "parameters.ecsv")
    slope = table[table["parameter"] == "slope"][0]
    assert abs(slope["mean"] - -1.728) < 4 * slope["std"]  # Tinker et al. at the pivot; fails once in 16 000
    assert re.search(r"log10_mass: deviance \d+\.\d in \d+ bins of counts, posterior predictive p \d\.\d\d", out)
    check = Table.read(tmp_path / "run" / "check_log10_mass.ecsv")
    assert check["observed"].sum() == pytest.approx(check["predicted"].sum(), rel=0.1)
    for name in ("fit.nc", "masses.parquet", "corner.png", "mass_function.png", "check_log10_mass.png"):
        assert (tmp_path / "run" / name).stat().st_size > 1000
    shrunk = MassPosteriors.from_parquet(tmp_path / "run" / "masses.parquet")
    before = MassPosteriors.from_parquet(folder / "masses.parquet")
    assert shrunk.names == before.names
    assert np.all(shrunk.std < 1.2 * before.std)


def test_cosmology_is_another_form_of_the_masses(capsys, folder, tmp_path):
    status, _, err = run(capsys, *options(folder), "--cosmology", "--truth", "tinker08", "--out", tmp_path)
    assert status == 0, err
    table = Table.read(tmp_path / "parameters.ecsv")
    for name, truth in {"Om0": 0.307115, "sigma8": 0.8228}.items():
        row = table[table["parameter"] == name][0]
        assert abs(row["mean"] - truth) < 4 * row["std"]  # fails once in 16 000 for each


def test_priors_are_written_and_read_again_after_an_edit(capsys, folder, tmp_path):
    status, _, err = run(capsys, *options(folder), "--out", tmp_path / "first")
    assert status == 0, err
    priors = json.loads((tmp_path / "first" / "priors.json").read_text())
    priors["masses"]["alpha"] = [-1.7, 0.001]
    (tmp_path / "mine.json").write_text(json.dumps(priors))
    again = ("--priors", tmp_path / "mine.json", "--out", tmp_path / "second")
    status, _, err = run(capsys, *options(folder), *again)
    assert status == 0, err
    table = Table.read(tmp_path / "second" / "parameters.ecsv")
    alpha = table[table["parameter"] == "alpha"][0]
    assert abs(alpha["mean"] - -1.7) < 0.005  # five of the prior's width
    assert json.loads((tmp_path / "second" / "priors.json").read_text()) == priors


def test_chains_are_written_for_getdist_and_cobaya(capsys, folder, tmp_path):
    status, _, err = run(capsys, *options(folder), "--out", tmp_path)
    assert status == 0, err
    table = Table.read(tmp_path / "parameters.ecsv")
    for root in ("getdist", "cobaya"):
        chain = getdist.loadMCSamples(str(tmp_path / "chains" / root), no_cache=True)
        assert chain.mean("slope") == pytest.approx(table[table["parameter"] == "slope"][0]["mean"], abs=1e-8)


def test_a_blinded_run_writes_nothing_that_shows_the_truth(capsys, folder, tmp_path):
    extra = ("--cosmology", "--blind", "our phrase", "--out", tmp_path)
    status, out, err = run(capsys, *options(folder), *extra)
    assert status == 0, err
    assert "Blinded" in out
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    chains = {f"chains/getdist{end}" for end in ("_1.txt", ".paramnames", ".ranges", ".properties.ini")}
    assert written == {"fit.nc", "parameters.ecsv", "priors.json", "corner.png", *chains}
    table = Table.read(tmp_path / "parameters.ecsv")
    assert table.meta["blinded"]
    Om0 = table[table["parameter"] == "Om0"][0]
    assert f"{Om0['mean']:.4g}" in out
    assert Om0["mean"] > 0.307115 + 3 * Om0["std"]  # of this phrase
    back = unblinded(arviz.from_netcdf(str(tmp_path / "fit.nc"), engine="h5netcdf"), "our phrase")
    assert abs(back["posterior"]["Om0"].values.mean() - 0.307115) < 4 * Om0["std"]
    assert b"our phrase" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_blinded_run_does_not_join_results_that_are_not(capsys, folder, tmp_path):
    (tmp_path / "masses.parquet").touch()
    status, _, err = run(capsys, *options(folder), "--blind", "our phrase", "--out", tmp_path)
    assert status == 2
    assert "not blinded" in err


@pytest.mark.slow
def test_scaling_relation_is_fitted_with_the_masses(capsys, folder, tmp_path):
    extra = ("--model", "scaling-relation", "--table", folder / "table.ecsv", "--observable", "log_sigma")
    status, _, err = run(capsys, *options(folder), *extra, "--out", tmp_path)
    assert status == 0, err
    table = Table.read(tmp_path / "parameters.ecsv")
    for name, truth in {"slope_log_sigma": 0.33, "intercept_log_sigma": 2.9, "scatter_log_sigma": 0.05}.items():
        row = table[table["parameter"] == name][0]
        assert abs(row["mean"] - truth) < 4 * row["std"]  # fails once in 16 000 for each
    for name in ("relation_log_sigma.png", "check_log_sigma.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_commands_and_python_of_the_page_run(capsys, folder, tmp_path, monkeypatch):
    """The fits of docs/howto/fit-a-population.md, with the volume of these mocks and a quick sampler."""
    monkeypatch.setitem(SAMPLERS, "nuts", partial(Laplace, num_samples=100))
    monkeypatch.setattr(getdist, "make_cache_dir", lambda: str(tmp_path))
    for name in ("masses.parquet", "mocks.parquet", "table.ecsv"):
        (tmp_path / name).symlink_to(folder / name)
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "howto" / "fit-a-population.md").read_text(encoding="utf-8")
    fences = re.findall(r"^```(sh|python)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for command in (body for kind, body in fences if body.startswith("clustermass population")):
        status, _, err = run(capsys, *shlex.split(command.replace("\\\n", " ").replace("8.18e7", str(VOLUME)))[1:])
        assert status == 0, err
    names: dict = {}
    exec("".join(body for kind, body in fences if kind == "python"), names)
    assert names["true"]["posterior"]["Om0"].values.mean() == pytest.approx(names["chain"].mean("Om0"), abs=1e-8)
    written = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    for name in re.findall(r"`([\w/]+\.\w+|chains/)`", " ".join(written)):
        assert (tmp_path / "runs" / "population" / name).exists()


def test_posteriors_of_a_catalogue_are_written_for_a_population(capsys, mocks, model, tmp_path):
    mocks.select(np.arange(40)).to_parquet(tmp_path / "survey.parquet")
    out = tmp_path / "masses.parquet"
    status, text, err = run(capsys, "posteriors", tmp_path / "survey.parquet", "--model", model, "--out", out)
    assert status == 0, err
    assert "posteriors of 40 clusters" in text
    assert len(MassPosteriors.from_parquet(out)) == 40


def test_posteriors_of_a_folder_are_written_part_by_part_as_those_of_a_file(capsys, mocks, model, tmp_path):
    """The second part has no cluster that passes the cut."""
    parts = [mocks.select(rows) for rows in (np.arange(15), [mocks.n_galaxies.argmin()], np.arange(15, 40))]
    cut = int(mocks.n_galaxies.min()) + 1
    folder = StoredCatalogue.begin(tmp_path / "mocks", [len(part.attempted()[0]) for part in parts], {})
    for number, part in enumerate(parts):
        folder.write(number, part)
    Catalogue.concatenate(parts).to_parquet(tmp_path / "mocks.parquet")
    found = []
    for name in ("mocks.parquet", "mocks"):
        out = tmp_path / f"masses-{name.partition('.')[0]}-{len(found)}.parquet"
        status, _, err = run(
            capsys, "posteriors", tmp_path / name, "--model", model, "--out", out, "--min-galaxies", cut
        )
        assert status == 0, err
        found.append(MassPosteriors.from_parquet(out))
    whole, parts = found
    assert parts.names == whole.names
    steepness = np.abs(np.gradient(whole.log_prob, whole.grid, axis=1))
    # float32 in batches of other sizes, which holds a mass of 14 dex to 1e-6 dex
    assert (np.abs(parts.log_prob - whole.log_prob) < 1e-5 + 1e-6 * steepness).all()
    np.testing.assert_array_equal(parts.log_prior, whole.log_prior)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--complete"], "one of --mocks FILE and --complete"),
        (["--area", 100], "not both"),
        (["--form", "mpr"], "Did you mean 'mrp'"),
        (["--sampler", "nutz"], "Did you mean 'nuts'"),
        (["--model", "scaling"], "unknown model"),
        (["--model", "scaling-relation"], "needs --table and --observable"),
        (["--blind", "p", "--truth", "tinker08"], "no --truth"),
        (["--priors", "none.json"], "no such file"),
        (["--redshifts", "a,b"], "numbers with commas"),
        (["--min-galaxies", 5], "cannot lower the richness cut"),
    ],
)
def test_contradictions_are_refused_in_one_message(capsys, folder, tmp_path, extra, words):
    status, _, err = run(capsys, *options(folder), "--out", tmp_path, *extra)
    assert status == 2
    assert words in err
    assert "Traceback" not in err


def test_an_observable_from_the_same_galaxies_is_refused_unless_it_is_called_a_check(capsys, folder, tmp_path):
    extra = ["--model", "scaling-relation", "--table", folder / "table.ecsv", "--observable", "log_sigma"]
    extra += ["--same-galaxies", "log_sigma", "--out", tmp_path]
    status, _, err = run(capsys, *options(folder), *extra)
    assert status == 2
    assert "independent" in err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.rename_column("name", "cluster"), "no column 'name'"),
        (lambda table: table.rename_column("log_sigma_err", "e"), "no column log_sigma_err"),
        (lambda table: table.remove_row(3), "clusters have no row or several, the first"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(capsys, folder, tmp_path, change, words):
    table = Table.read(folder / "table.ecsv")
    change(table)
    table.write(tmp_path / "bad.ecsv")
    extra = ("--model", "scaling-relation", "--table", tmp_path / "bad.ecsv", "--observable", "log_sigma")
    status, _, err = run(capsys, *options(folder), *extra, "--out", tmp_path)
    assert status == 2
    assert words in err


@pytest.mark.parametrize(("option", "value"), [("--min-galaxies", 0), ("--seed", -1)])
def test_numbers_that_are_too_small_are_refused_before_any_work(capsys, tmp_path, option, value):
    status, _, err = run(capsys, "population", tmp_path / "none.parquet", option, value)
    assert status == 2
    assert f"{option[2:].replace('-', '_')} must be {value + 1} or more" in err
