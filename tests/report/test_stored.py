"""Sections on disk and back."""

import json

import pytest
from hypothesis import given, settings, strategies as st
from matplotlib.figure import Figure

from sbi_clustermass.report import Picture, Section, Table, html, load_sections, save_sections

PNG = Picture("a", Figure(figsize=(0.2, 0.2)), "Nothing.").png()
TEXT = st.text(max_size=8)  # surrogates and control characters too
NAMES = st.text("abcXYZ019_.+ =-σ", min_size=1, max_size=8).filter(lambda name: name[0].isalnum())


def tuples(each: st.SearchStrategy) -> st.SearchStrategy[tuple]:
    return st.lists(each, max_size=3).map(tuple)


@st.composite
def tables(draw) -> Table:
    width = draw(st.integers(1, 3))
    row = st.lists(TEXT, min_size=width, max_size=width).map(tuple)
    return Table(draw(TEXT), draw(row), draw(tuples(row)), draw(TEXT))


@st.composite
def many_sections(draw) -> list[Section]:
    names = draw(st.lists(NAMES, max_size=4, unique_by=str.casefold))
    alt = TEXT.filter(str.strip)
    pictures = [Picture(name, PNG, draw(alt), draw(TEXT)) for name in names]
    texts = tuples(TEXT)
    first = Section(draw(TEXT), draw(texts), draw(tuples(tables())), tuple(pictures[:2]), draw(texts), draw(texts))
    return [first, Section(draw(TEXT), pictures=tuple(pictures[2:]))]


@settings(max_examples=60)
@given(many_sections())
def test_sections_come_back_as_they_were(tmp_path_factory, sections):
    folder = tmp_path_factory.mktemp("results")
    save_sections(folder, sections)
    assert load_sections(folder) == sections


def test_figures_come_back_as_the_pictures_that_a_page_shows(tmp_path, sections):
    save_sections(tmp_path, sections)
    assert html("T", load_sections(tmp_path)) == html("T", sections)


def test_saving_again_replaces_what_was_there(tmp_path):
    save_sections(tmp_path, [Section("Old")])
    save_sections(tmp_path, [Section("New", pictures=(Picture("a", PNG, "Nothing."),))])
    assert [section.title for section in load_sections(tmp_path)] == ["New"]


def test_two_pictures_of_one_name_are_refused_before_anything_is_written(tmp_path):
    pictures = [Picture("mass", PNG, "One."), Picture("Mass", PNG, "Two: the same file on some systems.")]
    with pytest.raises(ValueError, match="two pictures are named 'mass'"):
        save_sections(tmp_path, [Section("A", pictures=pictures[:1]), Section("B", pictures=pictures[1:])])
    assert not list(tmp_path.iterdir())


def changed(tmp_path, **change) -> None:
    """A saved picture's entry with some fields replaced."""
    save_sections(tmp_path / "in", [Section("A", pictures=[Picture("a", PNG, "Nothing.")])])
    path = tmp_path / "in" / "sections.json"
    card = json.loads(path.read_text())
    card["sections"][0]["pictures"][0] |= change
    path.write_text(json.dumps(card))


@pytest.mark.parametrize("name", ["../secret", "/etc/secret", "a/../../secret", "link"])
def test_no_file_outside_of_the_folder_is_read(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(PNG)
    changed(tmp_path, name=name)
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ValueError, match="not in the folder"):
        load_sections(tmp_path / "in")


@pytest.mark.parametrize("change", [{"name": 3}, {"alt": ""}, {"caption": None}, {"name": "missing"}])
def test_a_damaged_entry_is_named_with_its_file_and_a_cure(tmp_path, change):
    changed(tmp_path, **change)
    with pytest.raises(ValueError, match=r"sections\.json: damaged .*Run again what wrote it"):
        load_sections(tmp_path / "in")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2, "sections": []}',
        '{"format": 1}',
        '{"format": 1, "sections": 3}',
        '{"format": 1, "sections": ["a"]}',
        '{"format": 1, "sections": [{"title": "A"}]}',
    ],
)
def test_a_file_that_holds_no_sections_is_refused(tmp_path, text):
    (tmp_path / "sections.json").write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        load_sections(tmp_path)


def test_a_cut_picture_is_refused(tmp_path):
    save_sections(tmp_path, [Section("A", pictures=[Picture("a", PNG, "Nothing.")])])
    (tmp_path / "a.png").write_bytes(PNG[:50])
    with pytest.raises(ValueError, match="no whole PNG"):
        load_sections(tmp_path)


def test_a_folder_without_sections_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not sections that save_sections wrote"):
        load_sections(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_sections(tmp_path / "nowhere")
