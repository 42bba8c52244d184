"""Tutorials: the scripts of examples/tutorials as notebooks, which myst-nb runs and shows with their output."""

import hashlib
import json
from pathlib import Path

import jupytext
from closed_site import private_paths
from jupyter_cache import get_cache
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


def forget_outputs(app: Sphinx, private: tuple[str, ...]) -> None:
    """Forget the runs that printed a path of this machine, as a library's warning does, so that the next build runs
    those notebooks again."""
    if app.config.nb_execution_mode != "cache":
        return
    cache = get_cache(app.config.nb_execution_cache_path)
    for record in cache.list_cache_records():
        cells = cache.get_cache_bundle(record.pk).nb.cells
        printed = json.dumps([cell.get("outputs", []) for cell in cells])
        if any(path in printed for path in private):
            cache.remove_cache(record.pk)
            page = Path(app.doctreedir, Path(record.uri).relative_to(app.srcdir))
            page.with_suffix(".doctree").unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the notebooks before Sphinx looks for pages."""
    here = Path(app.srcdir)
    scripts = here.parent / "examples" / "tutorials"
    app.connect("builder-inited", lambda _: write_all(here / "tutorials", notebooks(scripts)), priority=100)
    app.connect("build-finished", lambda app, _: forget_outputs(app, private_paths(app)), priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
