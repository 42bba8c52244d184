"""`clustermass report`: parse, call `sections_of_run` and `write`, print."""

from rich.console import Console

from sbi_clustermass.cli.options import FilePath

_LEAD = "What was trained on what, what it gives, when not to trust it, and how to run it again."


def report(
    run: FilePath,
    /,
    *,
    out: FilePath | None = None,
    title: str | None = None,
) -> None:
    """Write one HTML file about a run: what was trained on what, its results, warnings, versions and commands.

    It also shows what other commands left in the run's subfolders, such as `clustermass validate` in RUN/validation.
    The file needs no network: style, script and pictures are inside.

    Args:
        run: Folder of a trained estimator, from `clustermass train` or `demo`.
        out: HTML file to write; by default report.html in RUN.
        title: Title of the page; by default the folder's name.
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
    console = Console(soft_wrap=True, highlight=False)
    size = path.stat().st_size / 1e6
    count = {0: "no warnings", 1: "1 warning"}.get(warnings, f"{warnings} warnings")
    console.print(f"Wrote {path}: {len(sections)} sections, {count}, {size:.1f} MB.", markup=False)
