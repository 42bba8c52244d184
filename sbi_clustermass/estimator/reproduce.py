"""The command that trains an estimator again: `clustermass train` where it has options for all of it, else Python."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from clustermocks import Observation
from sbi_clustermass.estimator.training_run import TrainingRun
from sbi_clustermass.training import Training
from sbi_clustermass.training.defaults import default_training

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

_SCRIPT = """python - <<'END'
from clustermocks import Catalogue
from sbi_clustermass import Augmentation, Training, train
from sbi_clustermass.flows import flow_from_config

mocks = Catalogue.from_parquet({mocks!r}){view}
{held_out}flow = flow_from_config(
    {flow}
)
training = {training}
estimator = train(mocks, flow=flow, training=training, support={support}, mirror={mirror}, members={members})
estimator{alarm}.save({out!r})
END"""
_HELD_OUT = """from sbi_clustermass.estimator.training_run import split_held_out
mocks, held_out = split_held_out(mocks, {n}, seed={seed})
"""


def training_command(estimator: "MassEstimator", mocks: str, out: str) -> str:
    """The shell command that trains the same estimator on the same mocks.

    `clustermass train` where it can say all that was chosen, which is checked by building its choices again; a few
    lines of Python otherwise.

    Args:
        estimator: The trained one.
        mocks: Name of the mocks' file, to be put in.
        out: Name of the folder, to be put in.

    Raises:
        ValueError: The settings of the training are not known.
    """
    rule = estimator.provenance.training
    if rule is None:
        raise ValueError("the settings of the estimator's training are not known.")
    run = _run(estimator, rule)
    if _says_all(run, estimator, rule):
        return " ".join(_words(run, mocks, out))
    return _script(estimator, rule, mocks, out)


def _run(estimator: "MassEstimator", rule: Training) -> TrainingRun:
    """The nearest that the command line can say."""
    usual, changed = default_training(estimator.flow.embedding), rule.augmentation
    given = {name: getattr(rule, name) for name in ("learning_rate", "patience", "max_updates")}
    least, config = estimator.observation.min_galaxies, estimator.flow.config()["embedding"]
    return TrainingRun(
        flow=estimator.flow.name,
        embedding=str(config["name"]) if isinstance(config, dict) else "",
        richness=estimator.counts_galaxies,
        members=len(estimator.histories),
        completeness=changed.completeness[0] if changed else 1.0,
        velocity_error=changed.velocity_error[1] if changed else 0.0,
        min_galaxies=None if least == Observation.min_galaxies else least,
        pure=estimator.provenance.mocks.sample == "members",
        truncated=rule.truncated,
        alarm=estimator.provenance.held_out or 0,
        seed=rule.seed,
        **{name: value for name, value in given.items() if value != getattr(usual, name)},
    )


def _says_all(run: TrainingRun, estimator: "MassEstimator", rule: Training) -> bool:
    training = run.training
    if training.augmentation is not None:
        recentred = estimator.provenance.mocks.settings.get("recentre") is not False
        changed = training.augmentation.within(estimator.observation, recentred=recentred)
        training = replace(training, augmentation=changed)
    same = run.builder.config() == estimator.flow.config() and training == rule
    return same and estimator.provenance.mirror


def _words(run: TrainingRun, mocks: str, out: str) -> Iterator[str]:
    """The command, without the options that would say what is so by default."""
    yield f"clustermass train {quote(mocks)} --out {quote(out)} --flow {run.flow} --embedding {run.embedding}"
    usual = TrainingRun()
    for name in ("members", "completeness", "velocity_error", "learning_rate", "patience", "max_updates", "alarm"):
        if getattr(run, name) != getattr(usual, name):
            yield f"--{name.replace('_', '-')} {getattr(run, name)}"
    if run.min_galaxies is not None:
        yield f"--min-galaxies {run.min_galaxies}"
    yield from (flag for flag, on in (("--richness", run.richness), ("--pure", run.pure)) if on)
    if not run.truncated:
        yield "--plain-loss"
    yield f"--seed {run.seed}"


def _script(estimator: "MassEstimator", rule: Training, mocks: str, out: str) -> str:
    least, pure = estimator.observation.min_galaxies, estimator.provenance.mocks.sample == "members"
    cut = "" if least == Observation.min_galaxies else f".with_min_galaxies({least})"
    kept, seed = estimator.provenance.held_out or 0, rule.seed
    return _SCRIPT.format(
        mocks=mocks,
        held_out=_HELD_OUT.format(n=kept, seed=seed) if kept else "",
        alarm=f".with_alarm(held_out, seed={seed})" if estimator.alarm is not None else "",
        view=(".pure()" if pure else "") + cut,
        flow=estimator.flow.config(),
        training=rule,
        support=estimator.support,
        mirror=estimator.provenance.mirror,
        members=len(estimator.histories),
        out=str(Path(out)),
    )
