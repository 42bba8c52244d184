"""Make the estimator that ships with the package: simulate, train, measure, publish.

`python benchmarks/ship.py --work FOLDER` takes about an hour of two cores and 20 GB of disk; the same command continues
an interrupted run, also one that has the mass but not yet what comes besides it. It writes
sbi_clustermass/estimator/hub/default, and an archive of it into the working folder.
"""

import argparse
import os
import shutil
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks are too small to share

from mocks_to_ship import FLAT, MODEL, PHYSICS, SURVEYS
from rich.console import Console
from shipped import in_words, sections

from clustermocks import Catalogue
from clustermocks.catalogue.folder import StoredCatalogue
from sbi_clustermass.cli.progress import console_stage
from sbi_clustermass.estimator.hub import SHIPPED
from sbi_clustermass.estimator.hub.card_metadata import CardMetadata
from sbi_clustermass.estimator.hub.model_card import publish
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.provenance import BUDGET
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import run_training
from sbi_clustermass.report import load_sections, save_sections

OPTIONS = TrainingOptions(
    flow="tabulated", embedding="trial_masses", richness=True, members=4, max_updates=16_000, patience=3000, seed=1
)
GIVEN_MASS = ("log10_c200c", "beta")
TO_MEASURE = 30_000  # mocks of each kind, before the richness cut
ABOUT = CardMetadata(
    title="Dynamical masses of observed clusters: the estimator that ships with sbi_clustermass",
    author="The sbi_clustermass developers",
    licence="BSD-3-Clause",
    limits=(
        "The network is told the redshift, and velocity errors and cleaning where a table states them; it sees where "
        "the field and the velocity window end. How deep or complete a table is, it is not told: errors of masses "
        "contain all of that. Bright galaxies are as fast as others in the mocks.",
    ),
)


def train(work: Path, n: int, console: Console) -> Path:
    """Simulate and train, unless that is done; return the folder of the estimator."""
    mocks, model, stage = work / "mocks", work / "model", console_stage(console)
    if not (model / "estimator.json").exists():
        with stage("simulating clusters", n) as advance:
            stored = MODEL.simulate_to(
                mocks, FLAT.draw(n, 1), seed=1, surveys=SURVEYS, physics=PHYSICS, n_jobs=2, progress=advance
            )
        console.print(f"{len(stored)} mocks of {n}")
        run_training(OPTIONS, mocks, model, stage)
    estimator = MassEstimator.load(model, device="cpu")
    if estimator.given_mass is None:
        with stage("training concentration and anisotropy", None) as advance:
            parts, state = StoredCatalogue.open(mocks), work / "given_mass"
            estimator = estimator.with_parameters(
                parts, GIVEN_MASS, checkpoint=state, progress=lambda look: advance(look.update, str(look))
            )
        estimator.save(model)
    if estimator.membership is None:
        with stage("training memberships", None):
            estimator = estimator.with_membership(Catalogue.from_parquet(mocks), seed=1)
        estimator.save(model)
    return model


def _note_budget(model: Path, text: str) -> None:
    """Write what errors are made of into the estimator's provenance, which `--explain` prints."""
    estimator = MassEstimator.load(model, device="cpu")
    notes = {**estimator.provenance.notes, BUDGET: text}
    replace(estimator, provenance=replace(estimator.provenance, notes=notes)).save(model)


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
    _note_budget(model, in_words(found[0].tables[1]))
    digest = publish(model, published, ABOUT, validation=found)
    shutil.copytree(published, out, dirs_exist_ok=True)
    console.print(f"Wrote {out}/, and {published}.zip with sha256 {digest}.", soft_wrap=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="Folder for mocks and checkpoints.")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="Folder of the estimator.")
    parser.add_argument("--n", type=int, default=600_000, help="Mocks.")
    chosen = parser.parse_args()
    main(chosen.work, chosen.out, chosen.n)
