"""Make the estimator that ships with the package: simulate, train, measure, publish.

`python benchmarks/ship.py --work FOLDER` takes about half an hour of two cores; the same command continues an
interrupted run. It writes sbi_clustermass/estimator/hub/default, and an archive of it into the working folder.
"""

import argparse
import os
import shutil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks are too small to share

from mocks_to_ship import drawn
from rich.console import Console
from shipped import sections

from sbi_clustermass.cli.progress import console_stage
from sbi_clustermass.estimator.hub import SHIPPED
from sbi_clustermass.estimator.hub.card_metadata import CardMetadata
from sbi_clustermass.estimator.hub.model_card import publish
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import run_training
from sbi_clustermass.report import load_sections, save_sections

OPTIONS = TrainingOptions(
    flow="tabulated", embedding="trial_masses", richness=True, members=3, max_updates=8000, patience=1500, seed=1
)
TO_MEASURE = 6000  # mocks of each kind, before the richness cut
ABOUT = CardMetadata(
    title="Dynamical masses of observed clusters: the estimator that ships with sbi_clustermass",
    author="The sbi_clustermass developers",
    licence="BSD-3-Clause",
    limits=(
        "Mocks are of one redshift. The table under 'How good it is' shows the effect of another redshift.",
        "The field, and how deep or complete a table is, are no input of the network: errors of masses contain all of "
        "it. Bright galaxies are as fast as others in the mocks.",
    ),
)


def train(work: Path, n: int, console: Console) -> Path:
    """Simulate and train, unless that is done; return the folder of the estimator."""
    mocks, model = work / "mocks.parquet", work / "model"
    if not mocks.exists():
        clusters = drawn(n, seed=1)
        clusters.to_parquet(mocks)
        console.print(f"{len(clusters)} mocks of {n}, {clusters.n_galaxies.max()} galaxies at most")
    if not (model / "estimator.json").exists():
        run_training(OPTIONS, mocks, model, console_stage(console))
    return model


def main(work: Path, out: Path, n: int) -> None:
    """Train, measure and publish the estimator."""
    console = Console(width=190)
    measured, published = work / "measured", work / SHIPPED.name
    model = train(work, n, console)
    if not measured.is_dir():
        save_sections(measured, sections(MassEstimator.load(model, device="cpu"), TO_MEASURE))
    found = load_sections(measured)
    for table in found[0].tables:
        console.print(table.rich())
    digest = publish(model, published, ABOUT, validation=found)
    shutil.copytree(published, out, dirs_exist_ok=True)
    console.print(f"Wrote {out}/, and {published}.zip with sha256 {digest}.", soft_wrap=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="Folder for mocks and checkpoints.")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="Folder of the estimator.")
    parser.add_argument("--n", type=int, default=240_000, help="Mocks.")
    chosen = parser.parse_args()
    main(chosen.work, chosen.out, chosen.n)
