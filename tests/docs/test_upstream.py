"""The scripts of docs/upstream still find their faults in the installed sbi: one that does not ends a workaround."""

import ast
import re
import runpy
import sys

import pytest

from tests.paths import ROOT

FOLDER = ROOT / "docs" / "upstream"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py"))
every_script = pytest.mark.parametrize("name", SCRIPTS)


@every_script
@pytest.mark.filterwarnings("ignore")
def test_the_fault_is_still_there(name, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # sbi writes its logs into the working directory
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    *_, found, verdict = capsys.readouterr().out.splitlines()
    assert verdict == "The fault is there.", f"remove the workaround that {name} names"
    assert "found" in found
    assert "right" in found


@every_script
def test_a_script_needs_sbi_alone_and_names_a_workaround_that_exists(name):
    source = (FOLDER / name).read_text()
    tree = ast.parse(source)
    imported = {each.module or "" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)}
    imported |= {alias.name for each in ast.walk(tree) if isinstance(each, ast.Import) for alias in each.names}
    assert {module.split(".")[0] for module in imported} - sys.stdlib_module_names <= {"sbi", "torch"}
    ours = re.findall(r"sbi_clustermass/[\w/]+\.py", ast.get_docstring(tree) or "")
    assert ours
    assert all((ROOT / path).is_file() for path in ours)
    page = (FOLDER / "index.md").read_text()
    assert f"]({name})" in page
    assert all(path.removeprefix("sbi_clustermass/") in page for path in ours)
    assert "0.27.0" in source
