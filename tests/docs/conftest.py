"""The documentation's own extensions, and its pages."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests.paths import ROOT

DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "_ext"))


@pytest.fixture(scope="session")
def extension() -> Callable[[str], ModuleType]:
    """A module of docs/_ext by its name."""
    return import_module


@pytest.fixture(scope="session")
def generated(extension) -> dict[Path, str]:
    """Pages that are written when the site is built: the reference."""
    reference = extension("reference_pages").pages()
    modules = {DOCS / "reference" / "modules" / name: text for name, text in reference.items()}
    return {**modules, DOCS / "reference" / "command-line.md": extension("command_line").page()}


@pytest.fixture(scope="session")
def pages(generated) -> dict[Path, str]:
    """Text of every page, by path."""
    written = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts and path not in generated]
    tutorials = {
        DOCS / "tutorials" / f"{script.stem}.ipynb": script.read_text(encoding="utf-8")
        for script in (DOCS.parent / "examples" / "tutorials").glob("*.py")
    }
    return {**{path: path.read_text(encoding="utf-8") for path in written}, **generated, **tutorials}
