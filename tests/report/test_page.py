"""The HTML page as a parser reads it."""

import re
from html.parser import HTMLParser
from zlib import crc32

import pytest
from hypothesis import given, settings, strategies as st
from matplotlib.figure import Figure

from sbi_clustermass.report import Picture, Section, Table, html, write

NASTY = (
    "<script>alert(1)</script>",
    '"onload="x',
    "'",
    "&amp;",
    "&",
    "</td>",
    "<!--",
    "{{ 7 * 7 }}",
    "σ",
    "中",
    "🪐",
    " ",
)
DOT = Picture("dot", Figure(figsize=(0.1, 0.1)), "A dot.").png()


def texts() -> st.SearchStrategy[str]:
    """Any text that a page can hold, often with what HTML takes for its own; no control characters, no surrogates."""
    letters = st.characters(exclude_categories=("Cs", "Cc"))
    return st.lists(st.sampled_from(NASTY) | st.text(letters, min_size=1, max_size=6), min_size=1, max_size=6).map(
        "".join
    )


class Reader(HTMLParser):
    """Tags in their order, the text of each kind of element, and the attributes of each tag."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.attributes: dict[str, list[dict[str, str | None]]] = {}
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.setdefault(tag, []).append(dict(attrs))
        if tag not in ("meta", "link", "img"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"{tag} closes what is not open"

    def handle_data(self, data):
        if self._open:
            self.texts[self._open[-1]][-1] += data


def page_of(text: str) -> Reader:
    """A page that says one text in every place."""
    table = Table(text, (text, text), ((text, text),), text)
    picture = Picture("a_picture", DOT, text if text.strip() else "alt", text)
    section = Section(text, [text], [table], [picture], [text], [text])
    return Reader(html(text, [section, Section("Other")], lead=text))


@settings(max_examples=60)
@given(texts().filter(lambda text: not re.search(r"[`\[]", text)))
def test_any_text_comes_back_as_it_was_and_adds_no_element(text):
    page, plain = page_of(text), page_of("word")
    assert page.tags == plain.tags
    assert page.texts["title"] == page.texts["h1"] == [text]
    assert page.texts["h2"][1] == text
    assert page.texts["figcaption"] == page.texts["code"] == [text]
    assert page.texts["th"] == [text, text, text]
    assert page.texts["td"] == [text]
    assert text in page.texts["a"]
    assert [each for each in page.texts["p"] if each == text][2:]  # lead, paragraph, title of the table, its note
    assert page.attributes["img"][0]["alt"] == (text if text.strip() else "alt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run `clustermass <demo>` now", "run <code>clustermass &lt;demo&gt;</code> now"),
        ("[a & b](https://x.org/?a=1&b=2)", '<a href="https://x.org/?a=1&amp;b=2" rel="noreferrer">a &amp; b</a>'),
        ("[wiki](https://x.org/A_(b))", '<a href="https://x.org/A_(b)" rel="noreferrer">wiki</a>'),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("[km/s] (all)", "[km/s] (all)"),
        ('[x](https://x.org/"onclick="y)', "[x](https://x.org/&quot;onclick=&quot;y)"),
        ("`[x](https://x.org)`", "<code>[x](https://x.org)</code>"),
    ],
)
def test_code_and_web_links_are_the_only_markup(text, expected):
    assert f"<p>{expected}</p>" in html("Title", [Section("A", [text])])


def test_the_page_points_to_nothing_outside_of_itself():
    page = page_of("word")
    sources = [
        each.get("src") or each.get("href") or "" for tag in ("img", "link", "script") for each in page.attributes[tag]
    ]
    assert all(source == "" or source.startswith("data:") for source in sources)
    assert "@import" not in "".join(page.texts["style"])
    assert "url(" not in "".join(page.texts["style"])


def test_sections_of_one_title_have_anchors_of_their_own():
    page = Reader(html("Title", [Section(title) for title in ("Mass", "Mass", "mass 2", "?", "!", "Contents")]))
    anchors = [each["id"] for each in page.attributes["section"]]
    assert len(set(anchors)) == 6
    assert [each["href"] for each in page.attributes["a"]] == [f"#{anchor}" for anchor in anchors]
    assert "contents" not in anchors  # the list's own heading


def test_the_list_of_contents_counts_warnings():
    page = Reader(html("Title", [Section("A", warnings=["w"]), Section("B"), Section("C", warnings=["v", "w"])]))
    assert page.texts["span"] == ["1 warning", "2 warnings"]


def test_columns_of_numbers_are_set_and_sorted_as_numbers_whatever_signs_they_bear():
    rows = (
        ("1", "0.1 ± 0.2", "−3 %", "", "pass", "2"),
        ("2", "-inf", "< 5", ".5", "2", "x"),
        ("3", "NaN", "–", "–", "", "1"),
    )
    page = Reader(html("T", [Section("A", tables=[Table("t", tuple("abcdef"), rows)])]))
    kinds = [each["class"] for each in page.attributes["th"] if each["scope"] == "col"]
    assert kinds == ["text", "number", "number", "number", "text", "text"]  # the first names the rows


def test_the_same_sections_give_the_same_page():
    figure = Figure(figsize=(2, 2))
    figure.subplots().plot([1, 2])
    sections = [Section("A", pictures=[Picture("a", figure, "A line.")])]
    assert crc32(html("T", sections).encode()) == crc32(html("T", sections).encode())


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    write(path, "Old", [])

    class Broken(Figure):
        def savefig(self, *_, **__):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write(path, "New", [Section("A", pictures=[Picture("a", Broken(), "Nothing.")])])
    assert "Old" in path.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_text_that_no_file_can_hold_is_written_all_the_same(tmp_path):
    write(tmp_path / "report.html", "Name \udcff of a file", [])  # as the system gives names that are not UTF-8
    assert "Name" in (tmp_path / "report.html").read_text(encoding="utf-8")
