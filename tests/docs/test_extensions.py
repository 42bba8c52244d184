"""What turns docstrings, formulas and built pages into a site, each held against another road."""

import re

import pytest
from docutils.core import publish_doctree
from hypothesis import example, given, strategies as st

from tests.paths import ROOT

WORDS = st.text("abcR_|*\\ .^<>-", min_size=1, max_size=30)


def parsed(lines: list[str]):
    """The document and the complaints of docutils."""
    document = publish_doctree("\n".join(lines), settings_overrides={"report_level": 5, "halt_level": 5})
    return document, [node for node in document.findall() if node.tagname in ("system_message", "problematic")]


@given(st.lists(WORDS, min_size=1, max_size=4))
@example(["R__", "R___", "_R_"])  # links, were they not escaped
def test_plain_text_comes_out_of_restructuredtext_as_it_went_in(extension, words):
    converted = extension("plain_docstrings").converted
    text = f"a {' b '.join(words)} c"  # a mark at the ends of a line would be a bullet, a title or a literal block
    document, complaints = parsed(converted([text]))
    assert not complaints
    assert "".join(document.astext().split()) == "".join(text.split())


def test_formulas_become_formulas_and_doctests_stay(extension):
    converted = extension("plain_docstrings").converted
    document, complaints = parsed(converted(["Of $M_{200c}$:", "", "$$x = \\frac{a}{b}.$$", "", ">>> a | b * c_"]))
    assert not complaints
    assert [node.astext() for node in document.findall() if node.tagname == "math"] == ["M_{200c}"]
    assert [node.astext() for node in document.findall() if node.tagname == "math_block"] == [r"x = \frac{a}{b}."]
    assert [node.astext() for node in document.findall() if node.tagname == "doctest_block"] == [">>> a | b * c_"]


def test_signatures_name_no_folder_of_this_machine(extension):
    portable = extension("plain_docstrings").portable
    assert portable(f"(at={ROOT / 'hub' / 'default'!r}, n=1, f='x')") == "(at='.../hub/default', n=1, f='x')"
    assert portable("(at=WindowsPath('C:/site/hub/default'))") == "(at='.../hub/default')"


def test_every_formula_of_the_code_can_be_drawn(extension):
    drawn = extension("mathml").mathml
    root = ROOT
    found = 0
    for folder in ("sbi_clustermass", "simulators"):
        for path in sorted((root / folder).rglob("*.py")):
            for docstring in re.findall(r'r"""(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL):
                for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", docstring, re.DOTALL):
                    assert "<math" in drawn(block or inline)
                    found += 1
    assert found > 50


SITE = {
    "index.html": '<a href="other.html#there">x</a> <a href="https://example.org">y</a> <img src="picture.png">',
    "other.html": '<p id="there">',
    "picture.png": "",
}


@pytest.mark.parametrize(
    ("page", "fault"),
    [
        ('<a href="gone.html">', "gone.html leads nowhere"),
        ('<a href="other.html#nowhere">', "no such anchor"),
        ('<a href="#nowhere">', "no such anchor"),
        ('<script src="https://cdn.example.org/x.js"></script>', "from another server"),
        ('<link rel="stylesheet" href="//fonts.example.org/x.css">', "from another server"),
        ('<img src="missing.png">', "leads nowhere"),
        ("/home/somebody/build", "contains /home/somebody"),
    ],
)
def test_a_site_that_is_not_closed_is_found_out(extension, tmp_path, page, fault):
    faults = extension("closed_site").faults
    for name, text in SITE.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert not list(faults(tmp_path, private=("/home/somebody",)))
    (tmp_path / "third.html").write_text(page, encoding="utf-8")
    (found,) = faults(tmp_path, private=("/home/somebody",))
    assert fault in found


def test_generated_pages_are_written_only_when_they_change(extension, tmp_path):
    write_all = extension("written").write_all
    write_all(tmp_path, {"a.md": "1", "b.md": "2"})
    before = (tmp_path / "a.md").stat().st_mtime_ns
    write_all(tmp_path, {"a.md": "1"})
    assert (tmp_path / "a.md").stat().st_mtime_ns == before
    assert not (tmp_path / "b.md").exists()
