"""The page of the command line, written by the program itself."""

from pathlib import Path

from sphinx.application import Sphinx
from written import write_changed

from sbi_clustermass.cli.main import app as program

INTRODUCTION = """# Command line

This page shows the output of `clustermass COMMAND --help` at the time when it was built. A user's mistake gives one
message and exit status 2.

"""


def page() -> str:
    """The whole page, in Markdown."""
    commands = program.generate_docs(output_format="markdown").partition("**Commands**:")[2]
    return INTRODUCTION + commands.lstrip()  # the title and the table of contents are the site's


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the page before Sphinx looks for pages."""
    path = Path(app.srcdir) / "reference" / "command-line.md"
    app.connect("builder-inited", lambda _: write_changed(path, page()), priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
