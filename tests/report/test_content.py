"""What a report is made of: what it refuses, and how it looks on a terminal."""

import pytest
from matplotlib.figure import Figure
from rich.console import Console

from sbi_clustermass.report import Picture, Section, Table
from sbi_clustermass.report.content import screen_size


def test_a_table_on_a_terminal_keeps_its_units_in_brackets():
    table = Table("Scatter [dex]", ("method [x]", "scatter [dex]"), (("[bold]", "0.1"),), "Not [km/s].")
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(table.rich())
    for text in ("Scatter [dex]", "method [x]", "scatter [dex]", "[bold]", "Not [km/s]."):
        assert text in capture.get()


def test_a_table_with_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="a row of 1 cells under 2 headings"):
        Table("T", ("a", "b"), (("1",),))


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a\\b", ".hidden", "a\0b", "a\nb", "x" * 200, "C:b"])
def test_a_picture_whose_name_is_no_plain_file_name_is_refused(name):
    with pytest.raises(ValueError, match="must do for a file"):
        Picture(name, Figure(), "alt")


def test_a_picture_without_an_alternative_text_is_refused():
    with pytest.raises(ValueError, match="Say in a sentence what is to be seen"):
        Picture("a", Figure(), " ")


@pytest.mark.parametrize(
    "damage",
    [lambda png: b"", lambda png: png[:60], lambda png: b"GIF89a" + png, lambda png: png[:45] + b"?" + png[46:]],
)
def test_bytes_that_are_no_whole_png_are_refused(damage):
    png = Picture("a", Figure(figsize=(1, 1)), "Nothing.").png()
    with pytest.raises(ValueError, match="no whole PNG"):
        Picture("a", damage(png), "Nothing.")


def test_a_picture_read_back_is_the_picture_that_was_written():
    png = Picture("a", Figure(figsize=(1, 1)), "Nothing.").png()
    assert Picture("a", png, "Nothing.").png() == png


@pytest.mark.parametrize("size", [(5.4, 3.6), (3.6, 6.2), (10.8, 6.2)])
def test_a_picture_takes_its_size_in_inches_on_the_page(size):
    png = Picture("a", Figure(figsize=size), "Nothing.").png()
    assert screen_size(png) == pytest.approx([96 * each for each in size], abs=1)  # 96 CSS pixels an inch, whole ones


def test_a_picture_of_other_resolution_keeps_its_size(tmp_path):
    Figure(figsize=(5, 3)).savefig(tmp_path / "a.png", dpi=70)
    assert screen_size((tmp_path / "a.png").read_bytes()) == pytest.approx((480, 288), abs=1)


@pytest.mark.parametrize("field", ["text", "commands", "warnings"])
def test_a_string_in_place_of_a_list_of_strings_is_refused(field):
    with pytest.raises(TypeError, match="give a list of strings"):
        Section("T", **{field: "one string"})  # pyright: ignore[reportArgumentType]
