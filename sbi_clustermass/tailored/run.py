"""An estimator for given tables of clusters: measure, choose, simulate, train."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clustermocks import MDPL2, Cosmology, Observation
from clustermocks.catalogue.provenance import Cleaning
from clustermocks.io.atomic import replacing
from clustermocks.io.progress import Stage, silent
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import run_training, state_folder
from sbi_clustermass.observations.tables import ObservedCluster, TableOptions, Unreadable, read_clusters
from sbi_clustermass.report import Section, Table
from sbi_clustermass.report.markdown import markdown
from sbi_clustermass.tailored.mocks import simulate
from sbi_clustermass.tailored.settings import Choices
from sbi_clustermass.tailored.survey_properties import FEWEST, SurveyProperties, measure_clusters

CHOICES, MOCKS = "choices.md", "mocks"


def measure_tables(
    paths: Sequence[Path],
    options: TableOptions | None = None,
    *,
    cosmology: Cosmology = MDPL2,
    cleaning: Cleaning | None = None,
    seed: int = 1,
) -> SurveyProperties:
    """Read every cluster of the tables, as `infer` does, and measure the survey's properties.

    Args:
        paths: Tables of galaxies.
        options: Units, columns and conventions of the tables.
        cosmology: Cosmology of distances and mocks.
        cleaning: How interlopers were removed from the tables.
        seed: Seed of the mocks with which the clusters are compared.

    Raises:
        ValueError: No cluster can be measured; the message gives the first reasons.
    """
    return measure_clusters(_clusters(paths, options, cosmology), cosmology=cosmology, cleaning=cleaning, seed=seed)


def _clusters(
    paths: Sequence[Path], options: TableOptions | None, cosmology: Cosmology
) -> Iterator[ObservedCluster | Unreadable]:
    observation = Observation(min_galaxies=FEWEST)
    for path in paths:
        yield from read_clusters(path, options=options, observation=observation, cosmology=cosmology)


def section(survey: SurveyProperties, choices: Choices, title: str) -> Section:
    """Show the choices and their reasons, for the terminal and for `choices.md`."""
    rows = tuple(map(tuple, choices.because))
    table = Table(title=f"An estimator for {title}", header=("setting", "chosen", "why"), rows=rows)
    text = [f"Clusters measured: {survey.clusters}; not measured: {survey.unreadable}."]
    return Section("What was chosen, and why", text, tables=[table], warnings=choices.cautions)


def train_for(
    choices: Choices,
    out: Path,
    stage: Stage = silent,
    *,
    options: TrainingOptions | None = None,
    explanation: Section | None = None,
    n_jobs: int = 2,
    checkpoint: Path | None = None,
) -> MassEstimator:
    """Simulate mocks and train on them; the same call resumes an interrupted run.

    Args:
        choices: Settings from `choose`.
        out: Folder for the estimator, its mocks and `choices.md`.
        stage: Shows the progress.
        options: Settings of the training; `tabulated` on `trial_masses` and three networks where it leaves them open.
        explanation: Section to write as `choices.md`.
        n_jobs: Number of processes for the simulator.
        checkpoint: Folder for the state of the training, in `out` by default.

    Raises:
        ValueError: The folder holds mocks of other choices, which the message names; or it is also the folder for the
            state.
        OSError: The folder cannot be written.
    """
    options = options or TrainingOptions()
    state_folder(out, checkpoint)  # refused before the simulation
    if explanation is not None:
        with replacing(out / CHOICES) as temporary:
            temporary.write_text(markdown([explanation]), encoding="utf-8")
    with stage("simulating clusters", choices.n) as advance:
        mocks = simulate(choices, out / MOCKS, seed=options.seed, n_jobs=n_jobs, progress=advance)
    options = replace(
        options,
        flow=options.flow or "tabulated",
        embedding=options.embedding or "trial_masses",
        members=options.members or 3,
        richness=choices.richness,
        notes=_notes(choices),
    )
    return run_training(options, mocks, out, stage, checkpoint=checkpoint)


def _notes(choices: Choices) -> Mapping[str, str]:
    """Write the choices as text, for the estimator's provenance."""
    return {f"chosen_{'_'.join(each.what.split())}": f"{each.value} ({each.why})" for each in choices.because}
