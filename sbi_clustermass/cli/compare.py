"""`clustermass compare`: parse, call `compare`, print."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sbi_clustermass.cli.options import DEVICE, SEED, names

if TYPE_CHECKING:
    from sbi_clustermass.diagnostics.comparison import ComparisonSetup, Entry, Failure
    from sbi_clustermass.training import Training


def compare(
    out: Annotated[Path, typer.Option(help="Folder for the table, the picture and the trained estimators.")],
    flows: Annotated[
        str, typer.Option(help="Flows to compare, commas between; `clustermass train --help` lists them.")
    ] = "stacked_affine,maf,nsf,mdn,tabulated",
    embeddings: Annotated[
        str, typer.Option(help="Embeddings to compare each of them on; `clustermass train --help` lists them.")
    ] = "kde,deep_sets,trial_masses",
    mocks: Annotated[
        Path | None, typer.Option(help="Catalogue from `clustermass simulate`: a part is kept for the test.")
    ] = None,
    jeans: Annotated[
        str | None,
        typer.Option(
            help="Instead of --mocks, clusters whose exact posterior is known, the number of galaxies from the "
            "mass or independent of it: mass, independent, mass+background or independent+background."
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", help="Clusters, test included: all of --mocks, 16000 of --jeans.", min=200)
    ] = None,
    max_updates: Annotated[int | None, typer.Option(help="Weight updates at most.", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate of Adam.")] = None,
    patience: Annotated[int | None, typer.Option(help="Updates without a better validation loss.", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clusters a weight update.", min=1)] = None,
    seed: Annotated[int, SEED] = 1,
    device: Annotated[str, DEVICE] = "auto",
) -> None:
    """Train flows on embeddings, all on the same clusters, and rank them in one table.

    Each embedding is trained by the rule that suits it; with any option of the rule, all by the paper's and that.
    An interrupted comparison goes on with the same command: what is done is not trained again.
    """
    from clustermocks.io.lock import claimed
    from clustermocks.io.registry import lookup
    from sbi_clustermass.cli.progress import console_stage
    from sbi_clustermass.diagnostics.comparison import compare as run
    from sbi_clustermass.diagnostics.comparison.plots import comparison
    from sbi_clustermass.embeddings import EMBEDDINGS, TrialMasses
    from sbi_clustermass.flows import FLOWS
    from sbi_clustermass.report.style import save
    from sbi_clustermass.training import Training

    builders = {name: lookup("flow", name, FLOWS)() for name in names(flows)}
    modules = {name: lookup("embedding", name, EMBEDDINGS)() for name in names(embeddings)}
    if jeans and "trial_masses" in modules:
        modules["trial_masses"] = TrialMasses(edge=True)  # its clusters end at R_vir
    rule = {"max_updates": max_updates, "learning_rate": learning_rate, "patience": patience, "batch_size": batch_size}
    rule = {name: value for name, value in rule.items() if value is not None}
    console = Console(soft_wrap=True, highlight=False)
    setup = _setup(mocks, jeans, n, training=replace(Training(seed=seed), **rule), device=device)
    setup = replace(setup, by_embedding=not rule)
    with claimed(out):
        found = run(
            setup,
            builders,
            modules,
            folder=out,
            stage=console_stage(console),
            on_result=lambda result: _print_failure(result, console),
        )
        console.print(found.markdown(), markup=False)
        if not found.rows:
            raise ValueError("no combination could be trained.")
        found.write(out)
        save(comparison(found), out / "comparison.png")
    console.print(f"Wrote {out}/: comparison.md, comparison.ecsv, comparison.png, and a folder a combination.")


def _print_failure(result: "Entry | Failure", console: Console) -> None:
    from sbi_clustermass.diagnostics.comparison import Failure

    if isinstance(result, Failure):
        console.print(f"{result.name}: failed. {result.reason}", markup=False)


def _setup(
    mocks: Path | None, jeans: str | None, n: int | None, *, training: "Training", device: str
) -> "ComparisonSetup":
    from clustermocks import Catalogue
    from clustermocks.io.registry import lookup
    from sbi_clustermass.diagnostics.comparison import JEANS_SETTINGS, ComparisonSetup

    if (mocks is None) == (jeans is None):
        raise ValueError("give one of --mocks FILE and --jeans SETTING.")
    if mocks is not None:
        return ComparisonSetup.from_mocks(Catalogue.from_parquet(mocks), n, training=training, device=device)
    model = lookup("jeans setting", str(jeans), JEANS_SETTINGS)
    return ComparisonSetup.from_jeans(model, n or 16_000, training=training, device=device)
