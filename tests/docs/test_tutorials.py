"""The tutorials run, in their fast version, and print what their text promises."""

import ast
import re
import runpy

import pytest

from tests.paths import ROOT

SCRIPTS = ROOT / "examples" / "tutorials"
PRINTED = {  # a line that each prints, with its number
    "first_mass": r"log10 M200c = (1[3-5]\.\d\d), 68 % between",
    "swap_the_flow": r"tabulated\+trial_masses +(\d\.\d\d) ± \d\.\d\d nats below the exact posterior",
    "your_own_simulator": r"the network is (\d\.\d+) ± \d\.\d+ nats below the exact posterior",
    "your_own_nbody": r"scatter (0\.\d+) ± \d\.\d+ dex",
    "population_fit": r"log10_density +(-\d\.\d+) ± \d\.\d+",
    "paper_reproduction": r"scatter, 10\^14 to 10\^15 +(0\.\d+) ± 0\.\d+",
}


def test_every_tutorial_is_tested():
    assert {script.stem for script in SCRIPTS.glob("*.py")} == set(PRINTED)


SLOW = ("paper_reproduction",)  # tests/paper runs the example behind it


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PRINTED])
def test_the_tutorial_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLUSTERMASS_FAST", "1")
    runpy.run_path(str(SCRIPTS / f"{name}.py"))
    printed = capsys.readouterr().out
    assert re.search(PRINTED[name], printed), printed


@pytest.mark.parametrize("name", PRINTED)
def test_a_tutorial_imports_nothing_that_is_in_this_repository_only(name):
    """Users download notebooks; kernels that run them know installed packages."""
    tree = ast.parse((SCRIPTS / f"{name}.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module for node in imports if isinstance(node, ast.ImportFrom) and node.module}
    own = {path.stem for path in (ROOT / "examples").iterdir()} | {"tests", "benchmarks"}
    assert not {module.partition(".")[0] for module in named} & own


def test_scripts_become_the_same_notebooks_every_time(extension):
    notebooks = extension("tutorial_notebooks").notebooks
    first = notebooks(SCRIPTS)
    assert set(first) == {f"{name}.ipynb" for name in PRINTED}
    assert notebooks(SCRIPTS) == first
    for text in first.values():
        assert '"%matplotlib inline' in text  # a magic in the notebook, a comment in the script


def test_every_picture_of_a_tutorial_has_an_alternative_text():
    for script in SCRIPTS.glob("*.py"):
        cells = re.split(r"^(?=# %%)", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for cell in cells:
            lines = [line for line in cell.strip().splitlines() if line]
            draws = re.match(r"(plots\.\w+|draw_\w+|beside_\w+)\(", lines[-1]) if lines else None
            assert not draws or '"alt"' in lines[0], f"{script.name}: {lines[-1]}"


def test_no_formula_of_a_tutorial_is_broken_by_a_line_that_looks_like_a_bullet():
    for script in SCRIPTS.glob("*.py"):
        for cell in re.findall(r"^# %% \[markdown\]\n((?:#.*\n)+)", script.read_text(encoding="utf-8"), re.MULTILINE):
            for block in re.split(r"^#\n|^# (?=[-+*] )", cell, flags=re.MULTILINE):
                assert block.count("$") % 2 == 0, f"{script.name}: {block}"
