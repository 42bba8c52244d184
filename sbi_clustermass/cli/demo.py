"""`clustermass demo`: parse, call `run`, print."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from sbi_clustermass.cli.options import FilePath, Flat, Jobs, Seed
from sbi_clustermass.cli.printing import Printing


def demo(
    *,
    out: FilePath = Path("runs/demo"),
    seed: Seed = 1,
    jobs: Jobs = 2,
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Run the whole chain on a small mock catalogue, in a few minutes.

    Simulates clusters with interlopers, trains the flow of Kodi Ramanah et al. 2020, infers held-out clusters, and
    fits the mass function of a mock survey. The folder it writes is a valid --model for `clustermass infer`.

    Args:
        out: Folder for the run.
        printing: How to print.
    """
    from sbi_clustermass.cli.demo_chain import Demo, run
    from sbi_clustermass.cli.progress import console_stage

    summary = run(out, Demo(seed=seed, n_jobs=jobs), console_stage(printing.notes))
    printing.table(summary.table().rich())
    printing.wrote(out, text=f"Wrote {out}/ ({out}/README.md says what each file is).", **asdict(summary))
