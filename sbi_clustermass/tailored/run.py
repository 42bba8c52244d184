"""An estimator for given clusters: simulate the mocks that were chosen, and train.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import replace
from pathlib import Path

from clustermocks import PhysicsPrior
from clustermocks.io.atomic import replacing
from clustermocks.io.paths import as_path
from clustermocks.io.progress import Stage, silent
from clustermocks.io.settings import flat
from clustermocks.io.version import installed_version
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import run_training, state_folder
from sbi_clustermass.report import Section, Table
from sbi_clustermass.report.markdown import markdown
from sbi_clustermass.tailored.choices import MASSES, Choices

CHOICES, MOCKS = "choices.md", "mocks"


def _explanation(choices: Choices) -> Section:
    table = Table("An estimator for these clusters", ("setting", "chosen", "why"), tuple(map(tuple, choices.because)))
    return Section("What was chosen, and why", tables=[table], warnings=choices.cautions)


def tailored_identity(choices: Choices, options: TrainingOptions) -> dict[str, str]:
    """All that decides what `train_for` makes, by name, as text; its device does not count."""
    return {
        **flat(replace(options, device=TrainingOptions.device)),
        **flat(choices.model, "model"),
        **flat(choices.surveys, "surveys"),
        "mocks": str(choices.n),
        "version": installed_version("sbi-clustermass"),
    }


def train_for(
    choices: Choices,
    out: Path,
    stage: Stage = silent,
    *,
    options: TrainingOptions | None = None,
    n_jobs: int = 2,
    checkpoint: Path | None = None,
) -> MassEstimator:
    """Simulate mocks and train on them; the same call resumes an interrupted run.

    Args:
        choices: Settings from `choose`.
        out: Folder for the estimator, its mocks and `choices.md`.
        stage: Shows the progress.
        options: Settings of the training: `tabulated` on `trial_masses` and three networks where it leaves them open.
            The number of galaxies always counts. What `choose` took from them is in the mocks.
        n_jobs: Number of processes for the simulator.
        checkpoint: Folder for the state of the training, in `out` by default.

    Raises:
        ValueError: The folder holds mocks of other choices, which the message names; or it is also the folder for the
            state.
        OSError: The folder cannot be written.
    """
    options, out = options or TrainingOptions(), as_path(out)
    identity = tailored_identity(choices, options)
    state_folder(out, checkpoint)  # refused before the simulation
    with replacing(out / CHOICES) as temporary:
        temporary.write_text(markdown([_explanation(choices)]), encoding="utf-8")
    masses = MASSES.draw(choices.n, options.seed)
    with stage("simulating clusters", choices.n) as advance:
        choices.model.simulate_to(
            out / MOCKS, masses, seed=options.seed, surveys=choices.surveys, physics=PhysicsPrior(), n_jobs=n_jobs,
            progress=advance,
        )  # fmt: skip
    options = replace(
        options,
        flow=options.flow or "tabulated",
        embedding=options.embedding or "trial_masses",
        members=options.members or 3,
        richness=True,
        completeness=None,
        velocity_error=None,
        cleaning=None,
        min_galaxies=None,
        notes={f"chosen_{'_'.join(what.split())}": f"{value} ({why})" for what, value, why in choices.because},
    )
    return run_training(options, out / MOCKS, out, stage, checkpoint=checkpoint, identity=identity)
