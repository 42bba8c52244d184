"""Results as text, tables and pictures: on a terminal, in Markdown, or in one HTML file."""

from sbi_clustermass.report.content import Picture, Section, Table
from sbi_clustermass.report.markdown import markdown
from sbi_clustermass.report.page import html, write
from sbi_clustermass.report.stored import load_sections, save_sections

__all__ = [
    "Picture",
    "Section",
    "Table",
    "html",
    "load_sections",
    "markdown",
    "save_sections",
    "write",
]
