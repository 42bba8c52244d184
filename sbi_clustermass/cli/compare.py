"""`clustermass compare`: parse, call `compare`, print."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from sbi_clustermass.cli.interruption import continuing
from sbi_clustermass.cli.options import Device, FilePath, Flat, Seed, names
from sbi_clustermass.cli.printing import Printing

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
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Train flows on embeddings, all on the same clusters, and rank them in one table.

    Each embedding is trained by the rule that suits it. If an option of the rule is given, all are trained by the rule
    of the paper with that option. The same command continues an interrupted comparison and trains nothing twice.

    Args:
        out: Folder for the table, the picture and the trained estimators.
        flows: Flows to compare, separated by commas; `clustermass train --help` lists them.
        embeddings: Embeddings with which each flow is trained, separated by commas; `clustermass train --help` lists
            them.
        mocks: Catalogue that `clustermass simulate` wrote, a part of which is kept for the test.
        jeans: In place of --mocks, clusters whose exact posterior is known. Their number of galaxies follows from the
            mass or is independent of it, without or with a background: mass, independent, mass+background or
            independent+background.
        n: Number of clusters, those of the test included; by default all of --mocks, or 16000 of --jeans.
        max_updates: Largest number of weight updates.
        learning_rate: Learning rate of Adam.
        patience: Number of weight updates without a better validation loss after which training stops.
        batch_size: Number of clusters in a weight update.
        printing: How to print.
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
    setup = _setup(mocks, jeans, n, training=replace(Training(seed=seed), **rule), device=device)
    setup = replace(setup, by_embedding=not rule)
    with continuing(f"The same command goes on with {out}/."), claimed(out):
        found = run(
            setup,
            builders,
            modules,
            folder=out,
            stage=console_stage(printing.notes),
            on_result=lambda result: _print_failure(result, printing),
        )
        printing.text(found.markdown())
        if not found.rows:
            raise ValueError("no combination could be trained.")
        found.write(out)
        save(comparison(found), out / "comparison.png")
    text = f"Wrote {out}/: comparison.md, comparison.ecsv, comparison.png, and a folder a combination."
    table = found.as_table()
    printing.wrote(out, text=text, comparison=[{name: row[name] for name in table.colnames} for row in table])


def _print_failure(result: "Entry | Failure", printing: Printing) -> None:
    from sbi_clustermass.diagnostics.comparison import Failure

    if isinstance(result, Failure):
        printing.note(f"{result.name}: failed. {result.reason}")


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
