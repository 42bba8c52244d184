"""Page of the command line: the `--help` of each command, printed by the program itself."""

from pathlib import Path

import typer
from sphinx.application import Sphinx
from written import write_changed

from sbi_clustermass.cli.main import app as program

WIDTH = 88
INTRODUCTION = """# Command line

This page shows the output of `clustermass COMMAND --help` at the time when it was built. A user's mistake gives one
message and exit status 2.
"""


def helps() -> dict[str, str]:
    """Help texts of the program and of each command, by command line."""
    group = typer.main.get_group(program)
    commands = {"clustermass": group, **{f"clustermass {name}": each for name, each in group.commands.items()}}
    return {typed: _help(command, typed) for typed, command in commands.items()}


def _help(command, typed: str) -> str:
    context = command.make_context(typed, [], resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH)
    return command.get_help(context).rstrip()


def page() -> str:
    """Page in Markdown."""
    parts = [f"## `{typed}`\n\n```text\n{text}\n```\n" for typed, text in helps().items()]
    return "\n".join([INTRODUCTION, *parts])


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the page before Sphinx looks for pages."""
    path = Path(app.srcdir) / "reference" / "command-line.md"
    app.connect("builder-inited", lambda _: write_changed(path, page()), priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
