"""Results as text, tables and pictures: on the terminal, in Markdown, in one HTML file."""

from sbi_clustermass.report.content import Picture, Section, Table

__all__ = ["Picture", "Section", "Table"]
