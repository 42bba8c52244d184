"""`clustermass report`: parse, call `sections_of_run` and `write`, print."""

from typing import Annotated

from sbi_clustermass.cli.options import FilePath, Flat
from sbi_clustermass.cli.printing import Printing

_LEAD = "What was trained on what, what it gives, when not to trust it, and how to run it again."


def report(
    run: FilePath,
    /,
    *,
    out: FilePath | None = None,
    title: str | None = None,
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Write one HTML file about a run: what was trained on what, its results, warnings, versions and commands.

    It also shows what other commands left in the run's subfolders, such as `clustermass validate` in RUN/validation.
    The file needs no network: style, script and pictures are inside.

    Args:
        run: Folder of a trained estimator, from `clustermass train` or `demo`.
        out: HTML file to write; by default report.html in RUN.
        title: Title of the page; by default the folder's name.
        printing: How to print.
    """
    from clustermocks.io.atomic import check_output
    from sbi_clustermass.estimator.run_report import sections_of_run
    from sbi_clustermass.report import write

    path = out or run / "report.html"
    if out is not None:
        check_output(path, (".html", ".htm"))
    sections = sections_of_run(run)
    write(path, title or run.resolve().name, sections, lead=_LEAD)
    warnings = sum(len(section.warnings) for section in sections)
    size = path.stat().st_size / 1e6
    count = {0: "no warnings", 1: "1 warning"}.get(warnings, f"{warnings} warnings")
    text = f"Wrote {path}: {len(sections)} sections, {count}, {size:.1f} MB."
    printing.wrote(path, text=text, sections=len(sections), warnings=warnings)
