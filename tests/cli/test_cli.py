"""The command line as a user meets it: what is printed and written, the exit status, every kind of bad input."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from clustermocks import MDPL2
from sbi_clustermass import EMBEDDINGS, FLOWS
from sbi_clustermass.cli.main import main
from sbi_clustermass.estimator.training_options import TrainingOptions
from tests.paths import SHARED

REAL = SHARED / "data" / "clusters"


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit status and what was printed."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out = capsys.readouterr()
    return int(exit_.value.code or 0), out.out, out.err


def phase_space(n: int = 80, seed: int = 0) -> Table:
    """A cluster as projected distances [physical Mpc, h = .7] and velocities."""
    rng = np.random.default_rng(seed)
    return Table({"R_proj_Mpc": rng.uniform(0.05, 1.5, n), "v_los_kms": rng.normal(0, 700, n)})


def sky(n: int = 120, seed: int = 0) -> Table:
    """A cluster at redshift .05 as positions and redshifts, within 1 physical Mpc."""
    rng = np.random.default_rng(seed)
    reach = np.degrees(1.0 * 0.6777 * 1.05 / float(MDPL2.comoving_distance(0.05)))
    radius, angle = reach * rng.random(n), 2 * np.pi * rng.random(n)
    ra = 150 + radius * np.cos(angle) / np.cos(np.radians(2.0))
    return Table(
        {
            "ra": ra,
            "dec": 2 + radius * np.sin(angle),
            "z": 0.05 + 1.05 * rng.normal(0, 700, n).clip(-2000, 2000) / 299792.458,
        }
    )


def write(table: Table, path: Path) -> Path:
    table.write(path, format="ascii.csv", overwrite=True)
    return path


KNOWN = ("--redshift", "0.0235", "--h", "0.7", "--distance", "physical")


def test_infer_says_what_it_used_and_what_it_found(capsys, model, tmp_path):
    path = write(sky(), tmp_path / "abell.csv")
    status, out, _ = run(capsys, "infer", path, "--model", model, "--out", tmp_path / "masses.csv")
    assert status == 0
    for words in (
        "log10 M200c [h^-1 Msun]",
        "120 of 120 rows used",
        "redshift",
        "biweight",
        "centre",
        "km/s",
        "M-sigma",
    ):
        assert words in out
    table = Table.read(tmp_path / "masses.csv", format="ascii.csv")
    assert table["name"][0] == "abell"
    assert table["log10_mass_p16"][0] < table["log10_mass_p50"][0] < table["log10_mass_p84"][0]
    assert table["velocity_dispersion"][0] == pytest.approx(700, rel=0.2)  # 120 galaxies: 6.5 %, three of them
    assert table["redshift"][0] == pytest.approx(0.05, abs=0.001)  # 700 / sqrt(120) km/s = .0002


@pytest.mark.parametrize("suffix", [".ecsv", ".parquet"])
def test_every_kind_of_output_holds_the_same_mass(capsys, model, tmp_path, suffix):
    path = write(phase_space(), tmp_path / "coma.csv")
    for out in (tmp_path / "a.csv", tmp_path / f"b{suffix}"):
        assert run(capsys, "infer", path, "--model", model, *KNOWN, "--out", out)[0] == 0
    other = tmp_path / f"b{suffix}"
    mass = pq.read_table(other)["log10_mass"][0].as_py() if suffix == ".parquet" else Table.read(other)["log10_mass"][0]
    assert mass == pytest.approx(Table.read(tmp_path / "a.csv")["log10_mass"][0], rel=1e-9)


def test_rows_without_a_redshift_are_dropped_and_counted(capsys, model, tmp_path):
    table = sky()
    text = write(table, tmp_path / "abell.csv").read_text().splitlines()
    for row in (5, 9, 30):
        ra, dec, _ = text[row].split(",")
        text[row] = f"{ra},{dec},"
    (tmp_path / "abell.csv").write_text("\n".join(text) + "\n")
    status, out, _ = run(capsys, "infer", tmp_path / "abell.csv", "--model", model)
    assert status == 0
    assert "117 of 120 rows used; 3 without a redshift" in out


def bad_tables(folder: Path) -> dict[str, tuple[Path, str]]:
    """Bad tables, and a word of the message that each must give."""
    renamed, text, far, kpc = phase_space(), phase_space(), phase_space(), phase_space()
    renamed.rename_column("v_los_kms", "speed")
    text["v_los_kms"] = ["fast"] * len(text)
    far["R_proj_Mpc"] += 20
    kpc["R_proj_Mpc"] *= 1000
    empty = folder / "empty.csv"
    empty.write_text("")
    (folder / "junk.csv").write_bytes(bytes(range(256)) * 20)
    return {
        "columns": (write(renamed, folder / "columns.csv"), "v_los"),
        "text": (write(text, folder / "text.csv"), "fast"),
        "far": (write(far, folder / "far.csv"), "cylinder"),
        "kpc": (write(kpc, folder / "kpc.csv"), "kpc"),
        "missing": (folder / "missing.csv", "missing.csv"),
        "empty": (empty, "empty.csv"),
        "junk": (folder / "junk.csv", "junk.csv"),
    }


@pytest.mark.parametrize("kind", ["columns", "text", "far", "kpc", "missing", "empty", "junk"])
def test_a_bad_table_gives_one_clear_message_status_2_and_its_reason_in_the_output(capsys, model, tmp_path, kind):
    path, word = bad_tables(tmp_path)[kind]
    written = tmp_path / "masses.csv"
    status, out, err = run(capsys, "infer", path, "--model", model, *KNOWN, "--out", written)
    assert status == 2
    assert word in out + err
    assert path.name in out + err
    assert "Traceback" not in out + err
    table = Table.read(written, format="ascii.csv")
    assert word in table["reason"][0]
    assert np.isnan(float(table["log10_mass"][0]))


def test_among_several_tables_a_bad_one_costs_only_its_own_line(capsys, model, tmp_path):
    good, bad = write(phase_space(), tmp_path / "good.csv"), bad_tables(tmp_path)["kpc"][0]
    status, out, _ = run(capsys, "infer", bad, good, "--model", model, *KNOWN, "--out", tmp_path / "masses.csv")
    assert status == 0
    assert "kpc" in out
    table = Table.read(tmp_path / "masses.csv", format="ascii.csv")
    assert list(table["name"]) == ["kpc", "good"]
    assert np.isnan(float(table["log10_mass"][0]))
    assert np.isfinite(float(table["log10_mass"][1]))
    assert "kpc" in table["reason"][0]


def test_a_cluster_with_too_few_galaxies_gets_its_reason_instead_of_a_mass(capsys, model, tmp_path):
    path = write(phase_space(7), tmp_path / "poor.csv")
    status, out, _ = run(capsys, "infer", path, "--model", model, *KNOWN)
    assert status == 2
    assert "no mass" in out
    assert "7 galaxies" in out
    assert "at least 10" in out


def test_options_that_a_table_needs_are_asked_for_by_name(capsys, model, tmp_path):
    path = write(phase_space(), tmp_path / "coma.csv")
    for left_out, word in ((0, "--redshift"), (2, "--h"), (4, "--distance")):
        given = KNOWN[:left_out] + KNOWN[left_out + 2 :]
        status, out, err = run(capsys, "infer", path, "--model", model, *given)
        assert status == 2
        assert word in out + err


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--centre", "12"), "RA,DEC"),
        (("--column", "z"), "OURS=THEIRS"),
        (("--distance", "angular"), "physical"),
        (("--h", "70"), "0.7"),
        (("--out", "masses.xlsx"), ".ecsv"),
    ],
)
def test_bad_options_are_explained(capsys, model, tmp_path, options, word):
    status, out, err = run(capsys, "infer", write(phase_space(), tmp_path / "coma.csv"), "--model", model, *options)
    assert status == 2
    assert word in out + err


def test_a_model_folder_that_is_missing_or_truncated_is_named(capsys, model, tmp_path):
    path = write(phase_space(), tmp_path / "coma.csv")
    status, _, err = run(capsys, "infer", path, "--model", tmp_path / "none", *KNOWN)
    assert status == 2
    assert "no such folder" in err
    shutil.copytree(model, tmp_path / "cut")
    weights = tmp_path / "cut" / "estimator.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    status, _, err = run(capsys, "infer", path, "--model", tmp_path / "cut", *KNOWN, "--out", tmp_path / "masses.csv")
    assert status == 2
    assert "truncated" in err
    assert not (tmp_path / "masses.csv").exists()


def test_simulate_into_a_folder_goes_on_with_it_and_train_takes_it(capsys, tmp_path):
    folder = f"{tmp_path / 'mocks.v1'}/"  # the slash makes it a folder, whatever its name
    command = ("simulate", folder, "--n", 150, "--low", 13.5, "--high", 15.3, "--jobs", 1)
    status, out, err = run(capsys, *command)
    assert status == 0, err
    assert f"Wrote {folder}: " in out
    assert "of 150 clusters have 10 galaxies or more" in out
    status, again, err = run(capsys, *command)
    assert status == 0, err
    assert again.splitlines()[-1] == out.splitlines()[-1]
    status, _, err = run(capsys, *command, "--seed", 2)
    assert status == 2
    assert "seed: 1 there, 2 asked for" in err
    status, _, err = run(capsys, "train", tmp_path / "mocks.v1", "--out", tmp_path / "model", "--flow", "stacked")
    assert "unknown flow" in err
    Path(folder, "part-00000.parquet").unlink()
    status, _, err = run(capsys, "train", tmp_path / "mocks.v1", "--out", tmp_path / "model")
    assert status == 2
    assert "goes on where it broke off" in err


def test_simulate_train_and_infer_are_one_chain(capsys, tmp_path):
    mocks, folder = tmp_path / "mocks.parquet", tmp_path / "run"
    status, out, _ = run(
        capsys, "simulate", mocks, "--n", 200, "--preset", "ho2019", "--low", 13.5, "--high", 15.3, "--jobs", 1
    )
    assert status == 0
    assert "of 200 clusters" in out
    status, out, _ = run(capsys, "train", mocks, "--out", folder, "--device", "cpu", "--max-updates", 3)
    assert status == 0
    assert "weight updates" in out
    assert run(capsys, "infer", write(phase_space(), tmp_path / "a.csv"), "--model", folder, *KNOWN)[0] == 0


def test_no_processes_at_all_is_refused_before_any_work(capsys, tmp_path):
    status, _, err = run(capsys, "simulate", tmp_path / "m.parquet", "-j", 0)
    assert status == 2
    assert "0 processes do no work" in err
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_are_answered_with_the_choices(capsys, tmp_path):
    status, _, err = run(capsys, "simulate", tmp_path / "m.parquet", "--preset", "ho2018")
    assert status == 2
    assert "Did you mean 'ho2019'" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--help"], "infer"), (["infer", "--help"], "ra, dec and z")], ids=["all", "infer"]
)
def test_help_loads_no_slow_package(arguments, words):
    slow = {"torch", "sbi", "scipy", "pyro", "astropy", "matplotlib", "h5py"}
    code = (
        "import sys; from sbi_clustermass.cli.main import main\n"
        f"try: main({arguments})\n"
        f"except SystemExit: pass\nprint(sorted({slow} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert words in " ".join(done.stdout.split())
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(
    not REAL.exists(), reason="the tables of real clusters lie beside the repository and are absent here"
)
def test_coma_and_abell_119_get_a_mass(capsys, model):
    status, out, _ = run(capsys, "infer", REAL / "coma_phase_space.csv", "--model", model, *KNOWN)
    assert status == 0
    assert "of 1743 rows" in out
    status, out, _ = run(capsys, "infer", REAL / "a119.csv", "--model", model)
    assert status == 0
    assert "densest point" in out


def test_the_help_of_train_names_every_flow_and_embedding():
    documented = re.findall(r": ([\w,\s]+?\sor\s+\w+)\. By default", inspect.getdoc(TrainingOptions) or "")
    assert [re.split(r",\s+|\s+or\s+", each) for each in documented] == [list(FLOWS), list(EMBEDDINGS)]


def test_arguments_may_stand_between_options_and_the_last_of_repeated_options_counts(capsys, tmp_path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    status, out, err = run(capsys, "infer", first, "--h", 0.5, second, "--h", 70)
    assert status == 2
    assert "h: not a Hubble constant" in err
    status, out, err = run(capsys, "infer", first, "--h", 70, second, "--h", 0.7)
    assert str(first.name) in out
    assert str(second.name) in out


def test_a_misspelt_option_is_answered_with_the_nearest(capsys):
    status, _, err = run(capsys, "infer", "a.csv", "--modle", "m")
    assert status == 2
    assert "--model" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--members", "--patience", "--max-updates", "--min-galaxies"])
def test_numbers_that_are_too_small_are_refused_before_any_work(capsys, option):
    status, _, err = run(capsys, "train", "none.parquet", "--out", "none", option, 0)
    assert status == 2
    assert f"{option[2:].replace('-', '_')} must be 1 or more" in err


@pytest.mark.parametrize(("policy", "spins"), [(None, "1000"), ("active", None)])
def test_threads_wait_asleep_unless_the_user_chose_otherwise(policy, spins, monkeypatch, capsys):
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that it is as before afterwards
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    with pytest.raises(SystemExit):
        main(["--help"])
    assert os.environ.get("GOMP_SPINCOUNT") == spins
