"""Every command in every page parses and runs, in the order of its page; what takes long is a slow test in small."""

import argparse
import ast
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from functools import cache
from glob import glob
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from sbi_clustermass.cli.main import app, main
from tests.docs.test_howtos import write_clusters
from tests.docs.test_pages import _FENCE, DOCS, fences, options_of
from tests.paths import ROOT

PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
    if not {"_build", "modules"} & set(path.parts) and path != DOCS / "reference" / "command-line.md"
}
for script in sorted((ROOT / "examples" / "tutorials").glob("*.py")):
    PAGES[str(script.relative_to(ROOT))] = re.sub("^# ?", "", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
PROGRAMS = ("clustermass", "python", "make", "pip", "conda", "sbatch")
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
TARGETS |= {"test-lowest", "test-newest"}  # by a pattern

QUICK = {"infer", "--version"}
SMALL = {  # appended: the last of two values holds
    "infer": "--jobs 1",
    "simulate": "--n 2500 --jobs 1",
    "train": "--max-updates 20 --alarm 0 --members 1 --membership 0",
    "compare": "--n 300 --max-updates 10 --flows mdn --embeddings summary",
    "population": "--sampler laplace",
}
NOT_RUN = {
    "example.org": "is an address for the reader to replace",
    "--model shipped": "needs an N-body box",
    "completion --shell": "changes the startup file of whoever runs the tests",
}


def lines(body: str) -> Iterator[list[str]]:
    """Commands of a shell block, without comments, with the values of variables."""
    for line in os.path.expandvars(body.replace("\\\n", " ")).splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def in_blocks(text: str) -> Iterator[list[str]]:
    """Commands of a page's shell blocks."""
    for kind in ("sh", "bash"):
        for body in fences(text, kind):
            yield from (words for words in lines(body) if words[0] in PROGRAMS)


def in_prose(text: str) -> Iterator[list[str]]:
    """Commands in a page's sentences that are complete: they have an argument or the value of an option."""
    for code in re.findall(r"`([^`]+)`", _FENCE.sub("", text)):
        words = code.replace("\n", " ").split()
        complete = words[0] != "clustermass" or (len(words) > 2 and not words[-1].startswith("--"))
        if words[0] in PROGRAMS and len(words) > 1 and complete:
            yield shlex.split(code)


SHAPE = {"action", "nargs", "required"}


@cache
def script_parser(path: Path) -> argparse.ArgumentParser:
    """A script's arguments, read from its source: names, numbers of values, and which are required."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument":
            kept = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg in SHAPE}
            parser.add_argument(*map(ast.literal_eval, call.args), **kept)
    return parser


def check(words: list[str]) -> None:
    """Fail if a program, script, target, extra, option or argument does not exist."""
    program, *arguments = words
    if program == "clustermass":
        app.parse_args(arguments, exit_on_error=False, print_error=False)
    elif program == "python" and "/" in arguments[0]:  # else the reader's own
        script_parser(ROOT / arguments[0]).parse_args(arguments[1:])
    elif program == "make":
        assert set(arguments) <= TARGETS
    elif program == "pip":
        asked = [extra for word in arguments for extra in re.findall(r"sbi-clustermass\[([\w,]+)\]", word)]
        assert {name for names in asked for name in names.split(",")} <= EXTRAS


@pytest.fixture(autouse=True)
def slurm(monkeypatch):
    """Variables of a job."""
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_parses(page, inputs, monkeypatch):
    monkeypatch.chdir(inputs)  # a table of clusters is read with the options
    for words in [*in_blocks(PAGES[page]), *in_prose(PAGES[page])]:
        try:
            check(words)
        except (Exception, SystemExit) as error:
            pytest.fail(f"{page}: {shlex.join(words)}: {error!r}")


def test_every_option_in_a_sentence_exists(capsys):
    scripts = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")]
    known = set().union(*(script_parser(script)._option_string_actions for script in scripts), app)
    known |= set().union(*(options_of(name, capsys) for name in app if name not in ("-h", "--help", "--version")))
    for page, text in PAGES.items():
        for code in re.findall(r"`([^`\n]+)`", _FENCE.sub("", text)):
            named = set(re.findall(r"(?<!\S)--[a-z][\w-]*", code))
            assert named <= known, f"{page}: {named - known}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_in_blocks_that_are_checked(page):
    for found in _FENCE.finditer(PAGES[page]):
        if re.search(rf"^(?:{'|'.join(PROGRAMS)}) ", found["body"], re.MULTILINE):
            assert found["kind"].strip() in ("sh", "bash"), found["body"]


def sky(cluster: str = "A1", n: int = 90, redshift: float = 0.05, seed: int = 1) -> Table:
    """Galaxies of a cluster at 150, 2 degrees, within half a degree, with 700 km/s."""
    rng = np.random.default_rng(seed)
    radius, angle = 0.3 * rng.random(n), 2 * np.pi * rng.random(n)
    z = redshift + (1 + redshift) * rng.normal(0, 700, n) / 299792.458
    columns = {"ra": 150 + radius * np.cos(angle), "dec": 2 + radius * np.sin(angle), "z": z}
    return Table({"cluster_id": np.full(n, cluster), **columns})


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, model) -> Path:
    """The files that the pages' readers have: tables, an estimator, masses and mocks."""
    folder = tmp_path_factory.mktemp("inputs")
    one, two = sky(), sky("A2", seed=2)
    both = Table({name: np.concatenate([one[name], two[name]]) for name in one.colnames})
    for name in ("cluster.csv", "galaxies.csv"):
        flags = {"ZWARN": np.zeros(90, int), "SPECTYPE": np.full(90, "GALAXY")}
        Table({**one[["ra", "dec", "z"]], **flags}).write(folder / name)
    coma = sky(redshift=0.023)[["ra", "dec", "z"]]
    coma["ra"] += 194.95 - 150
    coma["dec"] += 27.98 - 2
    coma.write(folder / "coma.csv")
    for folder_, suffix in (("clusters", "csv"), ("galaxies", "parquet")):
        (folder / folder_).mkdir()
        one.write(folder / folder_ / f"A1.{suffix}")
        two.write(folder / folder_ / f"A2.{suffix}")
    both.write(folder / "survey.parquet")
    both.rename_column("cluster_id", "cluster")
    both.write(folder / "survey.fits")
    both.write(folder / "members.fits")
    shutil.copytree(folder / "galaxies", folder / "galaxies-0")
    centres = {"id": ["A1", "A2"], "ra": [150.0, 150.0], "dec": [2.0, 2.0], "z": [0.05, 0.05]}
    Table(centres).write(folder / "clusters.csv")
    Table({"ALPHA_J2000": one["ra"], "dec": one["dec"], "ZSPEC": one["z"]}).write(folder / "table.fits")
    radius, velocity = np.linspace(0.5, 18, 90), (one["z"] - 0.05) * 300  # [arcmin], [1000 km/s]
    distances = {"R": radius, "v": velocity, "R_proj_Mpc": radius / 12, "v_los": 1000 * velocity}
    distances = Table({**distances, "z_cluster": np.full(90, 0.05)})
    distances.write(folder / "table.csv")
    np.savetxt(folder / "table.txt", np.transpose([one["ra"], one["dec"], one["z"]]))
    shutil.copytree(model, folder / "FOLDER")
    return folder


def small(words: list[str]) -> list[str]:
    """Arguments of a command of clustermass, fewer of everything, with its patterns of files spelt out."""
    command = words[1]
    extra = SMALL.get(command, "").split() + (["--n", "1000", "--jobs", "1"] if "--for" in words else [])
    spelt = [name for word in words[2:] for name in (sorted(glob(word)) if "*" in word else [word])]
    return [command, *spelt, *extra]


def to_run(page: str) -> Iterator[list[str]]:
    """Commands of clustermass in a page's blocks, without those of `NOT_RUN`."""
    for words in in_blocks(PAGES[page]):
        if words[0] == "clustermass" and not any(part in shlex.join(words) for part in NOT_RUN):
            yield words


def run_commands(page: str) -> None:
    """Run a page's commands of clustermass in order."""
    for words in to_run(page):
        with pytest.raises(SystemExit) as status:
            main(small(words))
        assert not status.value.code, shlex.join(words)


def subcommands(page: str) -> set[str]:
    """Commands of clustermass in a page's blocks."""
    return {words[1] for words in to_run(page)}


@pytest.mark.parametrize("page", [page for page in PAGES if subcommands(page) and subcommands(page) <= QUICK])
def test_the_commands_of_a_page_run(page, inputs, tmp_path, monkeypatch):
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    run_commands(page)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if subcommands(page) - QUICK])
def test_the_commands_of_a_page_that_train_run_in_small(page, inputs, tmp_path, monkeypatch):
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    if "train" not in subcommands(page):
        shutil.copytree("FOLDER", "runs/mine")
    if "population" in subcommands(page):
        write_clusters(tmp_path)  # their observables
    run_commands(page)
