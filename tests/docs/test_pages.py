"""The pages hold together: what they link to, name and show exists."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

DOCS = ROOT / "docs"
_FENCE = re.compile(r"^(?P<fence>```+|:::+)(?P<kind>[^\n]*)\n(?P<body>.*?)^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)


def fences(text: str, kind: str) -> Iterator[str]:
    """Bodies of the fenced blocks of a kind."""
    return (found["body"] for found in _FENCE.finditer(text) if found["kind"].strip() == kind)


def in_toctree(page: Path, text: str) -> Iterator[Path]:
    """Pages that the toctrees of a page name, patterns resolved to their folder."""
    for body in fences(text, "{toctree}"):
        for line in body.splitlines():
            target = page.parent / line.strip()
            if "*" in target.name and target.name != "*":
                yield from (found.with_suffix("") for found in page.parent.glob(f"{line.strip()}.md"))
            elif line.strip() and not line.startswith(":"):
                yield target


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Headings and named targets of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {slug(heading) for heading in headings} | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))


def test_every_page_stands_in_a_table_of_contents(pages):
    named = {target for page, text in pages.items() for target in in_toctree(page, text)}
    folders = {target.parent for target in named if target.name == "*"}
    for page in pages:
        assert page.with_suffix("") in named or page.parent in folders or page == DOCS / "index.md", page


def test_every_entry_of_a_table_of_contents_is_a_page(pages):
    known = {page.with_suffix("") for page in pages}
    for page, text in pages.items():
        for target in in_toctree(page, text):
            assert target.name == "*" or target in known, f"{page}: {target}"


def test_every_link_between_pages_resolves(pages):
    for page, text in pages.items():
        prose = re.sub(r"`[^`\n]+`", "", _FENCE.sub("", text))
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target in pages or target.is_file(), f"{page}: {link}"
            assert not anchor or anchor in anchors(pages[target]), f"{page}: {link}"


def test_every_public_name_is_documented_or_linked_to_where_it_is(extension):
    reference = extension("reference_pages")
    written = reference.pages()
    for name, module in reference.public_modules().items():
        text = written[f"{name}.md"]
        for public in reference.public_names(module):
            entry = rf"^\.\. (autoclass|autofunction|py:data):: {public}$|^\| {{py:obj}}`{public} <"
            assert re.search(entry, text, re.MULTILINE), f"{name}.{public}"


def test_no_package_with_public_names_is_left_out(extension):
    import clustermocks
    import sbi_clustermass

    public = extension("reference_pages").public_modules()

    for package in (clustermocks, sbi_clustermass):
        for path in Path(inspect.getfile(package)).parent.rglob("__init__.py"):
            if "__all__" in path.read_text(encoding="utf-8"):
                parts = path.parent.relative_to(Path(inspect.getfile(package)).parents[1]).parts
                assert ".".join(parts) in public


def test_every_public_class_and_function_has_a_docstring(extension):
    reference = extension("reference_pages")
    for name, module in reference.public_modules().items():
        for public in reference.public_names(module):
            each = getattr(module, public)
            if inspect.isclass(each) or inspect.isroutine(each):
                assert inspect.getdoc(each), f"{name}.{public}"


def test_every_name_that_a_page_points_to_is_documented(pages, generated):
    entries = set()
    for page, text in generated.items():
        found = re.findall(r"^\.\. (?:autoclass|autofunction|py:data):: (\w+)$", text, re.MULTILINE)
        entries |= {f"{page.stem}.{name}" for name in found}
    for page, text in pages.items():
        for target in re.findall(r"\{py:obj\}`[^`<]*<([\w.]+)>`", text):
            assert target in entries, f"{page}: {target}"


def options_of(command: str, capsys) -> set[str]:
    """Options that the help of a command lists first in their lines."""
    from sbi_clustermass.cli.main import main

    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = re.findall(r"^│\W*?(--?[\w-]+)(?: (-\w)(?!\S))?", capsys.readouterr().out, re.MULTILINE)
    return {option for line in lines for option in line if option} | {"--help"}


def test_python_in_the_pages_is_python_and_imports_what_exists(pages):
    for page, text in pages.items():
        for body in fences(text, "python"):
            compile(body, str(page), "exec")
            for module, names in re.findall(r"^from ([\w.]+) import ([\w, ]+)$", body, re.MULTILINE):
                if module.split(".")[0] in ("clustermocks", "sbi_clustermass"):
                    home = importlib.import_module(module)
                    assert all(hasattr(home, name.strip()) for name in names.split(",")), f"{page}: {module}"


def test_the_embedding_of_the_page_on_extending_trains_a_step(monkeypatch):
    text = (DOCS / "howto" / "write-your-own.md").read_text(encoding="utf-8")
    (body,) = fences(text, "python")
    names: dict = {}
    exec(compile(body, "write-your-own", "exec"), names)
    from clustermocks import FlatMasses, HaloModel
    from sbi_clustermass import Training, as_tensors

    mocks = HaloModel().simulate(FlatMasses(13.0, 15.6).draw(120, seed=1), seed=1)
    names["inference"].append_simulations(*as_tensors(mocks))
    names["inference"].train(Training(max_updates=2))


def test_the_commands_page_has_the_help_of_every_command(generated, capsys):
    from sbi_clustermass.cli.main import app

    text = generated[DOCS / "reference" / "command-line.md"]
    for name in (name for name in app if not name.startswith("-")):
        part = text.partition(f"## clustermass {name}\n")[2].partition("\n## ")[0]
        listed = re.findall(r"^\* `(--[\w-]+)(?:, (-\w))?", part, re.MULTILINE)
        assert options_of(name, capsys) == {option for line in listed for option in line if option} | {"--help"}


@pytest.mark.parametrize("unfinished", ["TODO", "FIXME", "XXX", "lorem ipsum"])
def test_no_page_is_unfinished(pages, unfinished):
    for page, text in pages.items():
        assert unfinished.lower() not in text.lower().split(), page
