"""The tutorials run, in their fast version, and print what their text promises."""

import ast
import re
import runpy
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_cache import get_cache
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.paths import ROOT

SCRIPTS = ROOT / "examples" / "tutorials"
PRINTED = {  # a line that each prints, with its number
    "first_mass": r"log10 M200c = (1[3-5]\.\d\d), 68 % between",
    "gallery": None,  # ten pictures, each of them a test below
    "swap_the_flow": r"tabulated\+trial_masses +(\d\.\d\d) ± \d\.\d\d nats below the exact posterior",
    "your_own_simulator": r"the network is (\d\.\d+) ± \d\.\d+ nats below the exact posterior",
    "your_own_nbody": r"scatter (0\.\d+) ± \d\.\d+ dex",
    "population_fit": r"log10_density +(-\d\.\d+) ± \d\.\d+",
    "paper_reproduction": r"scatter, 10\^14 to 10\^15 +(0\.\d+) ± 0\.\d+",
}


def test_every_tutorial_is_tested():
    assert {script.stem for script in SCRIPTS.glob("*.py")} == set(PRINTED)


SLOW = ("paper_reproduction",)  # tests/paper runs the example behind it
RUN = [name for name, line in PRINTED.items() if line]


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in RUN])
def test_the_tutorial_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLUSTERMASS_FAST", "1")
    runpy.run_path(str(SCRIPTS / f"{name}.py"))
    printed = capsys.readouterr().out
    assert re.search(PRINTED[name], printed), printed


CELLS = {  # of the gallery, by title
    title: code.replace("# %matplotlib inline", "")
    for title, code in re.findall(
        r"^# ## (.+)\n(?:#.*\n)+\n# %% .*\n((?:(?!# %%).*\n)+)", (SCRIPTS / "gallery.py").read_text(), re.MULTILINE
    )
}
TRAINED = ("Coverage", "A network and the exact posterior")


def test_the_gallery_has_ten_pictures():
    assert len(CELLS) == 10


@pytest.mark.parametrize("title", [pytest.param(name, marks=[pytest.mark.slow] * (name in TRAINED)) for name in CELLS])
def test_the_code_of_each_picture_is_complete(title):
    *statements, last = ast.parse(CELLS[title]).body
    assert isinstance(last, ast.Expr)
    names: dict = {}
    exec(compile(ast.Module(statements, []), title, "exec"), names)
    figure = eval(compile(ast.Expression(last.value), title, "eval"), names)
    assert isinstance(figure, Figure)
    assert all(axes.has_data() for axes in figure.axes if axes.axison)


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


@pytest.mark.parametrize("printed", ["/home/me/lib/x.py:1: UserWarning: old", "done"])
def test_a_run_that_printed_a_path_of_this_machine_is_forgotten(printed, extension, tmp_path):
    page, doctree = tmp_path / "tutorials" / "a.ipynb", tmp_path / "trees" / "tutorials" / "a.doctree"
    cell = new_code_cell("f()", execution_count=1, outputs=[new_output("stream", name="stderr", text=printed)])
    for path in (page, doctree):
        path.parent.mkdir(parents=True)
    doctree.touch()
    nbformat.write(
        new_notebook(cells=[cell], metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}), page
    )
    cache = get_cache(tmp_path / "executed")
    cache.cache_notebook_file(page, check_validity=False)
    config = SimpleNamespace(nb_execution_mode="cache", nb_execution_cache_path=str(tmp_path / "executed"))
    app = SimpleNamespace(config=config, srcdir=tmp_path, doctreedir=tmp_path / "trees")
    extension("tutorial_notebooks").forget_outputs(app, ("/home/me",))
    kept = printed == "done"
    assert doctree.exists() == kept
    assert len(cache.list_cache_records()) == kept


def test_every_picture_of_a_tutorial_has_an_alternative_text():
    for script in SCRIPTS.glob("*.py"):
        cells = re.split(r"^(?=# %%)", script.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for cell in cells:
            lines = [line for line in cell.strip().splitlines() if line]
            drawing = r"(plots\.\w+|draw_\w+|beside_\w+|coverage_curve)\(|figure$|.*\.plot\(\)$"
            draws = re.match(drawing, lines[-1]) if lines else None
            assert not draws or '"alt"' in lines[0], f"{script.name}: {lines[-1]}"


def test_no_formula_of_a_tutorial_is_broken_by_a_line_that_looks_like_a_bullet():
    for script in SCRIPTS.glob("*.py"):
        for cell in re.findall(r"^# %% \[markdown\]\n((?:#.*\n)+)", script.read_text(encoding="utf-8"), re.MULTILINE):
            for block in re.split(r"^#\n|^# (?=[-+*] )", cell, flags=re.MULTILINE):
                assert block.count("$") % 2 == 0, f"{script.name}: {block}"
