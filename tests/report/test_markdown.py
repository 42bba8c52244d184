"""Sections as Markdown, read back by another parser: markdown-it, which follows CommonMark and GitHub's tables."""

import pytest
from hypothesis import example, given, settings, strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from matplotlib.figure import Figure

from sbi_clustermass.report import Picture, Section, Table, markdown

MARKS = (
    "*",
    "_",
    "**",
    "`",
    "~~",
    "<b>",
    "&lt;",
    "[",
    "](",
    "|",
    "\\",
    "# ",
    "1. ",
    "- ",
    "> ",
    "---",
    "===",
    "!",
    "a_b",
    "x",
)


def parsed(text: str) -> list[Token]:
    """Blocks of a Markdown text."""
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)


def said(block: Token) -> str:
    """Text of a block, as a reader sees it."""
    kinds = ("text", "text_special", "code_inline")
    return "".join(each.content if each.type in kinds else "" for each in block.children or [])


def texts() -> st.SearchStrategy[str]:
    """Texts full of Markdown's own signs."""
    letters = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Zs"))
    return st.lists(st.sampled_from(MARKS) | st.text(letters, max_size=4), min_size=1, max_size=8).map("".join)


def one_line(text: str) -> str:
    """With single spaces: Markdown does not tell more of them."""
    return " ".join(text.split())


@settings(max_examples=300)
@example("1. no list")
@example("C #")
@example("--- no rule")
@example("!")
@example("__a_b__")
@given(texts().filter(lambda text: text.strip() and "`" not in text))
def test_a_text_is_a_paragraph_of_the_same_words_whatever_signs_it_holds(text):
    heading, _, _, *rest = parsed(markdown([Section("Title", [text])]))
    assert heading.tag == "h2"
    assert [block.type for block in rest] == ["paragraph_open", "inline", "paragraph_close"]
    assert one_line(said(rest[1])) == one_line(text)


@settings(max_examples=200)
@given(texts().filter(str.strip), texts(), texts())
def test_titles_and_cells_come_back_whatever_signs_they_hold(title, head, cell):
    table = Table("t", ("name", head), (("row", cell), ("other", "")))
    blocks = parsed(markdown([Section(title, tables=[table])]))
    inline = [one_line(said(block)) for block in blocks if block.type == "inline"]
    assert inline == [one_line(title), "t", "name", one_line(head), "row", one_line(cell), "other", ""]


def test_code_and_links_stay_what_they_are():
    blocks = parsed(markdown([Section("T", ["see `a*b*` and [M_200](https://x.org/a_b_c)"])]))
    children = blocks[4].children or []
    assert [each.content for each in children if each.type == "code_inline"] == ["a*b*"]
    assert [each.attrs["href"] for each in children if each.type == "link_open"] == ["https://x.org/a_b_c"]


def test_blanks_around_code_and_links_stay():
    text = "the column `v_los` of [a survey](https://example.org) in km/s"
    assert text in markdown([Section("title", text=(text,))])


def test_ordinary_physics_stays_readable_in_the_raw_file():
    text = "Scatter of log10_mass: -0.12 ± 0.01 [dex], |res.| < 0.3 & falling; P(M) = 10^-3 (h^-1 Msun)."
    shown = markdown([Section("T", [text])])
    assert "log10_mass: -0.12 ± 0.01" in shown
    assert "P(M) = 10^-3 (h^-1 Msun)." in shown


def test_pictures_are_linked_by_the_names_under_which_they_are_saved():
    picture = Picture("mass residuals", Figure(), "Residuals [dex].", "Below zero.")
    blocks = parsed(markdown([Section("T", pictures=[picture])], pictures="figures/"))
    image = (blocks[4].children or [])[0]
    assert (image.attrs["src"], said(image)) == ("figures/mass%20residuals.png", "Residuals [dex].")


@pytest.mark.parametrize("command", ["clustermass demo", "cat <<'E'\n```\nE", "echo '````'"])
def test_commands_come_back_from_their_fence(command):
    fences = [block.content for block in parsed(markdown([Section("T", commands=[command])])) if block.type == "fence"]
    assert fences == [command + "\n"]


def test_warnings_are_quoted_one_a_line():
    blocks = parsed(markdown([Section("T", warnings=["Few.", "Wide."])]))
    assert "blockquote_open" in [block.type for block in blocks]
    assert sum(block.type == "hardbreak" for block in blocks[5].children or []) == 1
