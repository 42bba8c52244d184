"""`clustermass demo`: parse, call `run`, print."""

from pathlib import Path

from rich.console import Console

from sbi_clustermass.cli.options import FilePath, Jobs, Seed


def demo(
    *,
    out: FilePath = Path("runs/demo"),
    seed: Seed = 1,
    jobs: Jobs = 2,
) -> None:
    """Run the whole chain on a small mock catalogue, in a few minutes.

    Simulates clusters with interlopers, trains the flow of Kodi Ramanah et al. 2020, infers held-out clusters, and
    fits the mass function of a mock survey. The folder it writes is a valid --model for `clustermass infer`.

    Args:
        out: Folder for the run.
    """
    from sbi_clustermass.cli.demo_chain import Demo, run
    from sbi_clustermass.cli.progress import console_stage

    console = Console()
    summary = run(out, Demo(seed=seed, n_jobs=jobs), console_stage(console))
    console.print(summary.table().rich())
    console.print(f"Wrote {out}/ ({out}/README.md says what each file is).", soft_wrap=True)
