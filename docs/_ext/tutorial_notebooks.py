"""Tutorials: the scripts of examples/tutorials as notebooks, which myst-nb runs and shows with their output."""

import hashlib
from pathlib import Path

import jupytext
from sphinx.application import Sphinx
from written import write_all

SOURCES = ("sbi_clustermass", "simulators", "examples/tutorials")


def notebooks(scripts: Path) -> dict[str, str]:
    """Each script as the text of a notebook, by file name."""
    made = {}
    for script in sorted(scripts.glob("*.py")):
        notebook = jupytext.read(script, fmt="py:percent")
        for number, cell in enumerate(notebook.cells):  # random ids would look like a change
            cell["id"] = f"{script.stem}-{number}".replace("_", "-")
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        made[f"{script.stem}.ipynb"] = jupytext.writes(notebook, fmt="ipynb")
    return made


def code_digest(root: Path) -> str:
    """Fingerprint of all code that a tutorial may run."""
    found = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the notebooks before Sphinx looks for pages."""
    here = Path(app.srcdir)
    scripts = here.parent / "examples" / "tutorials"
    app.connect("builder-inited", lambda _: write_all(here / "tutorials", notebooks(scripts)), priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
