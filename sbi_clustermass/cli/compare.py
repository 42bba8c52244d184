"""`clustermass compare`: parse, call `compare`, print."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from sbi_clustermass.cli.options import Device, FilePath, Seed, names

if TYPE_CHECKING:
    from sbi_clustermass.diagnostics.comparison import ComparisonSetup, Entry, Failure
    from sbi_clustermass.training import Training


def compare(
    *,
    out: FilePath,
    flows: str = "stacked_affine,maf,nsf,mdn,tabulated",
    embeddings: str = "kde,deep_sets,trial_masses",
    mocks: FilePath | None = None,
    jeans: str | None = None,
    n: Annotated[int | None, Parameter(validator=Number(gte=200))] = None,
    max_updates: int | None = None,
    learning_rate: float | None = None,
    patience: int | None = None,
    batch_size: int | None = None,
    seed: Seed = 1,
    device: Device = "auto",
) -> None:
    """Train flows on embeddings, all on the same clusters, and rank them in one table.

    Each embedding is trained by the rule that suits it; with any option of the rule, all by the paper's and that.
    An interrupted comparison goes on with the same command: what is done is not trained again.

    Args:
        out: Folder for the table, the picture and the trained estimators.
        flows: Flows to compare, commas between; `clustermass train --help` lists them.
        embeddings: Embeddings to compare each of them on; `clustermass train --help` lists them.
        mocks: Catalogue from `clustermass simulate`: a part is kept for the test.
        jeans: Instead of --mocks, clusters whose exact posterior is known, the number of galaxies from the mass or
            independent of it: mass, independent, mass+background or independent+background.
        n: Clusters, test included: all of --mocks, 16000 of --jeans.
        max_updates: Largest number of weight updates.
        learning_rate: Learning rate of Adam.
        patience: Number of weight updates without a better validation loss after which training stops.
        batch_size: Clusters a weight update.
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
