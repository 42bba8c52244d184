"""What commands print: --quiet, --json, lines on a narrow terminal, in a pipe and into one that nobody reads."""

import json
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
from astropy.table import Table

from sbi_clustermass.cli.main import app, main
from sbi_clustermass.cli.printing import as_json, hanging
from tests.cli.test_cli import KNOWN, phase_space, run, write

JOB = ("--n", 20, "--low", 14.5, "--jobs", 1)


@pytest.mark.parametrize("command", [name for name in app if not name.startswith("-")])
def test_every_command_has_quiet_and_json(command):
    names = {name for argument in app[command].assemble_argument_collection() for name in argument.names}
    assert {"--quiet", "--json"} <= names


def test_infer_as_json_is_a_line_a_cluster_with_the_columns_of_the_table(capsys, model, tmp_path):
    tables = write(phase_space(), tmp_path / "rich.csv"), write(phase_space(7), tmp_path / "poor.csv")
    out = tmp_path / "masses.csv"
    status, text, notes = run(capsys, "infer", *tables, "--model", model, *KNOWN, "--json", "--out", out)
    assert status == 0
    rich, poor = map(json.loads, text.splitlines())
    table = Table.read(out, format="ascii.csv")
    assert list(rich) == list(poor) == table.colnames
    assert rich["log10_mass"] == pytest.approx(table["log10_mass"][0], rel=1e-9)
    assert poor["log10_mass"] is None  # JSON has no NaN
    assert "7 galaxies" in poor["reason"]
    assert f"Wrote {out}." in notes
    assert "no alarm" in notes


def test_infer_quietly_prints_masses_alone(capsys, model, tmp_path):
    path = write(phase_space(), tmp_path / "coma.csv")
    loud = run(capsys, "infer", path, "--model", model, *KNOWN)[1]
    quiet = run(capsys, "infer", path, "--model", model, *KNOWN, "--quiet")[1]
    assert quiet.startswith("coma: ")
    assert loud.endswith(quiet)
    assert loud.startswith("This model has no alarm")


@pytest.mark.parametrize("out", ["mocks.parquet", "mocks"])
def test_simulate_says_what_it_wrote_to_a_reader_and_to_a_program(capsys, tmp_path, out):
    status, text, notes = run(capsys, "simulate", tmp_path / out, *JOB, "--json")
    assert status == 0
    found = json.loads(text)
    assert found["wrote"] == [str(tmp_path / out)]
    assert found["attempted"] == 20
    assert "simulating clusters" in notes
    assert len(run(capsys, "simulate", tmp_path / out, *JOB, "--quiet")[1].splitlines()) == 1


def test_posteriors_and_report_say_what_they_wrote_to_a_program(capsys, model, tmp_path):
    run(capsys, "simulate", tmp_path / "m.parquet", *JOB, "--quiet")
    masses = tmp_path / "masses.parquet"
    text = run(capsys, "posteriors", tmp_path / "m.parquet", "--model", model, "--out", masses, "--json")[1]
    assert json.loads(text)["wrote"] == [str(masses)]
    text = run(capsys, "report", model, "--out", tmp_path / "r.html", "--json")[1]
    assert json.loads(text)["wrote"] == [str(tmp_path / "r.html")]


def test_numbers_become_those_of_json():
    found = as_json({"a": np.float32(0.5), "b": [np.nan, np.int64(3)], "c": np.array([1.0, np.inf])})
    assert json.loads(json.dumps(found, allow_nan=False)) == {"a": 0.5, "b": [None, 3], "c": [1.0, None]}


def test_long_lines_hang_under_their_text_and_lose_no_word():
    text = "14.68 (14.58 to 14.80) in log10 h^-1 Msun; 7.14 (5.56 to 9.33) in 10^14 Msun"
    first, *others = hanging(f"  {'under the mass function':<25}{text}", 80)
    assert all(len(line) <= 80 for line in (first, *others))
    assert all(line.startswith(27 * " ") and line[27] != " " for line in others)
    assert " ".join(" ".join([first, *others]).split()) == f"under the mass function {text}"
    assert hanging("short", 80) == ["short"]
    assert hanging("", 80) == [""]
    assert hanging("x" * 100, 80) == ["x" * 100]  # a path is never broken


def test_in_a_pipe_a_fact_is_a_line(capsys, model, tmp_path):
    out = run(capsys, "infer", write(phase_space(), tmp_path / "coma.csv"), "--model", model, *KNOWN, "--quiet")[1]
    assert max(map(len, out.splitlines())) > 80
    assert not [line for line in out.splitlines()[1:] if line.startswith(27 * " ")]


def test_a_reader_that_has_gone_ends_the_command_without_a_traceback():
    code = "import os, sys; os.close(1); r, w = os.pipe(); os.close(r); w == 1 or os.dup2(w, 1)\n"
    code += "from sbi_clustermass.cli.main import main\nmain(['simulate', '--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode in (1, 141)  # 1 from cyclopts, which prints the help itself


def test_the_version_is_printed(capsys):
    assert run(capsys, "--version")[1].strip() == version("sbi-clustermass")


def test_the_help_names_every_exit_status(capsys):
    text = " ".join(run(capsys, "--help")[1].split())
    assert all(f"{status} " in text.partition("Exit status:")[2] for status in (0, 1, 2, 130, 141, 143))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_where_one_says(capsys, tmp_path, shell, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ZDOTDIR", raising=False)
    path = tmp_path / "completions" / "clustermass"
    status, out, _ = run(capsys, "completion", "--shell", shell, "--out", path)
    assert status == 0
    assert str(path) in out
    assert "--pictures" in path.read_text() or "__complete" in path.read_text()


def test_an_unknown_shell_is_asked_for(capsys, monkeypatch):
    from cyclopts.completion import detect

    def fail() -> str:
        raise detect.ShellDetectionError

    monkeypatch.setattr("cyclopts.completion.detect_shell", fail)
    with pytest.raises(SystemExit, match="2"):
        main(["completion"])
    assert "--shell bash" in capsys.readouterr().err
