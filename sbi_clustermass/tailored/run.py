"""From tables of clusters to an estimator made for them: look, choose, simulate, train."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clustermocks import MDPL2, Cosmology, Observation
from clustermocks.io.atomic import replacing
from clustermocks.io.progress import Stage, silent
from clustermocks.perturbations import Cleaning
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.training_run import TrainingRun, state_folder
from sbi_clustermass.observations.tables import ObservedCluster, TableOptions, Unreadable, read_clusters
from sbi_clustermass.report import Section, Table
from sbi_clustermass.report.markdown import markdown
from sbi_clustermass.tailored.look import FEWEST, DataLook, look_at
from sbi_clustermass.tailored.mocks import simulate
from sbi_clustermass.tailored.settings import Choices

CHOICES, MOCKS = "choices.md", "mocks"


def look_at_tables(
    paths: Sequence[Path],
    options: TableOptions | None = None,
    *,
    cosmology: Cosmology = MDPL2,
    cleaning: Cleaning | None = None,
    seed: int = 1,
) -> DataLook:
    """Read every cluster of some tables, as `infer` does, and measure them.

    Args:
        paths: Tables of galaxies.
        options: What the user says about them.
        cosmology: Of distances and mocks.
        cleaning: How interlopers were removed from them.
        seed: Of the mocks that they are held against.

    Raises:
        ValueError: No cluster can be measured; the message gives the first reasons.
    """
    return look_at(_clusters(paths, options, cosmology), cosmology=cosmology, cleaning=cleaning, seed=seed)


def _clusters(
    paths: Sequence[Path], options: TableOptions | None, cosmology: Cosmology
) -> Iterator[ObservedCluster | Unreadable]:
    observation = Observation(min_galaxies=FEWEST)
    for path in paths:
        yield from read_clusters(path, options=options, observation=observation, cosmology=cosmology)


def section(look: DataLook, choices: Choices, title: str) -> Section:
    """What was chosen and why, for the terminal and for `choices.md`."""
    rows = tuple(map(tuple, choices.because))
    table = Table(title=f"An estimator for {title}", header=("setting", "chosen", "why"), rows=rows)
    text = [f"Clusters measured: {look.clusters}; not measured: {look.unreadable}."]
    return Section("What was chosen, and why", text, tables=[table], warnings=choices.cautions)


def train_for(
    choices: Choices,
    out: Path,
    stage: Stage = silent,
    *,
    run: TrainingRun | None = None,
    explanation: Section | None = None,
    n_jobs: int = 2,
    checkpoint: Path | None = None,
) -> MassEstimator:
    """Simulate what was chosen and train on it; the same call goes on where it was interrupted.

    Args:
        choices: Of `choose`.
        out: Folder for the estimator, its mocks and `choices.md`.
        stage: Shows the progress.
        run: How to train; `tabulated` on `trial_masses`, three networks and an alarm by default.
        explanation: Section that is written as `choices.md`.
        n_jobs: Processes for the simulator.
        checkpoint: Folder for the state of the training, in `out` by default.

    Raises:
        ValueError: The folder holds mocks of other choices, and the message names what differs; or it is that for the
            state as well.
        OSError: The folder cannot be written.
    """
    run = run or TrainingRun(flow="tabulated", embedding="trial_masses", members=3)
    state_folder(out, checkpoint)  # refused before the simulation
    if explanation is not None:
        with replacing(out / CHOICES) as temporary:
            temporary.write_text(markdown([explanation]), encoding="utf-8")
    with stage("simulating clusters", choices.n) as advance:
        mocks = simulate(choices, out / MOCKS, seed=run.seed, n_jobs=n_jobs, progress=advance)
    run = replace(run, richness=choices.richness, notes=_notes(choices))
    return run.run(mocks, out, stage, checkpoint=checkpoint)


def _notes(choices: Choices) -> Mapping[str, str]:
    """Write the choices as text, for the estimator's provenance."""
    return {f"chosen_{'_'.join(each.what.split())}": f"{each.value} ({each.why})" for each in choices.because}
