"""The command that repeats the training of an estimator: `clustermass train` if its options suffice, else Python."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from clustermocks import Observation
from clustermocks.catalogue.parameters import MASS
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import flow_for, training_for
from sbi_clustermass.training import Training
from sbi_clustermass.training.defaults import default_training, default_training_given_mass

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
estimator = train(
    mocks, flow=flow, training=training, support={support}, mirror={mirror}, members={members}{others}
)
estimator{alarm}{membership}.save({out!r})
END"""
_NUMBERS = (  # options with a value
    *("members", "completeness", "velocity_error", "learning_rate", "patience", "max_updates", "alarm", "membership"),
)
_HELD_OUT = """from sbi_clustermass.estimator.training_run import split_held_out
mocks, held_out = split_held_out(mocks, {n}, seed={seed})
"""


def training_command(estimator: "MassEstimator", mocks: str, out: str) -> str:
    """Write the shell command that trains the same estimator on the same mocks.

    It calls `clustermass train` if the options of that give the same settings, and runs a few lines of Python if not.

    Args:
        estimator: Trained estimator.
        mocks: Name of the mocks' file in the command.
        out: Name of the folder in the command.

    Raises:
        ValueError: The settings of the training are not known.
    """
    training = estimator.provenance.training
    if training is None:
        raise ValueError("the settings of the estimator's training are not known.")
    options = _nearest_options(estimator, training)
    if _is_equivalent(options, estimator, training):
        return " ".join(_command(options, mocks, out))
    return _script(estimator, training, mocks, out)


def _nearest_options(estimator: "MassEstimator", training: Training) -> TrainingOptions:
    """Return the settings closest to the estimator's that `clustermass train` has options for."""
    default, augmentation = default_training(estimator.flow.embedding), training.augmentation
    given = {name: getattr(training, name) for name in ("learning_rate", "patience", "max_updates")}
    completeness, velocity_error = (
        (augmentation.completeness[0], augmentation.velocity_error[1]) if augmentation else (1.0, 0.0)
    )
    min_galaxies, config = estimator.observation.min_galaxies, estimator.flow.config()["embedding"]
    return TrainingOptions(
        flow=estimator.flow.name,
        embedding=str(config["name"]) if isinstance(config, dict) else "",
        parameters=estimator.parameters,
        richness=estimator.counts_galaxies,
        sky=estimator.takes_sky,
        members=None if len(estimator.histories) == 1 else len(estimator.histories),
        completeness=None if completeness == 1 else completeness,
        velocity_error=velocity_error or None,
        min_galaxies=None if min_galaxies == Observation.min_galaxies else min_galaxies,
        pure=estimator.provenance.mocks.sample == "members",
        plain_loss=not training.truncated,
        alarm=estimator.provenance.held_out or 0,
        membership=estimator.provenance.membership_clusters or 0,
        seed=training.seed,
        **{name: value for name, value in given.items() if value != getattr(default, name)},
    )


def _is_equivalent(options: TrainingOptions, estimator: "MassEstimator", training: Training) -> bool:
    repeated = training_for(options)
    if repeated.augmentation is not None:
        recentred = estimator.provenance.mocks.settings.get("recentre") is not False
        augmentation = repeated.augmentation.within(estimator.observation, recentred=recentred)
        repeated = replace(repeated, augmentation=augmentation)
    given_mass = estimator.given_mass
    if given_mass is not None and given_mass.training != default_training_given_mass(training):
        return False
    same = flow_for(options).config() == estimator.flow.config() and repeated == training
    return same and estimator.provenance.mirror


def _command(options: TrainingOptions, mocks: str, out: str) -> Iterator[str]:
    """Yield the parts of the command, without options that have their default."""
    yield f"clustermass train {quote(mocks)} --out {quote(out)} --flow {options.flow} --embedding {options.embedding}"
    default = TrainingOptions()
    if options.parameters != default.parameters:
        yield f"--parameters {','.join(options.parameters)}"
    for name in _NUMBERS:
        if getattr(options, name) != getattr(default, name):
            yield f"--{name.replace('_', '-')} {getattr(options, name)}"
    if options.min_galaxies is not None:
        yield f"--min-galaxies {options.min_galaxies}"
    flags = {"--richness": options.richness, "--sky": options.sky, "--pure": options.pure}
    yield from (flag for flag, on in flags.items() if on)
    if options.plain_loss:
        yield "--plain-loss"
    yield f"--seed {options.seed}"


def _script(estimator: "MassEstimator", training: Training, mocks: str, out: str) -> str:
    min_galaxies, pure = estimator.observation.min_galaxies, estimator.provenance.mocks.sample == "members"
    cut = "" if min_galaxies == Observation.min_galaxies else f".with_min_galaxies({min_galaxies})"
    kept, seed = estimator.provenance.held_out or 0, training.seed
    return _SCRIPT.format(
        mocks=mocks,
        held_out=_HELD_OUT.format(n=kept, seed=seed) if kept else "",
        alarm=f".with_alarm(held_out, seed={seed})" if estimator.alarm is not None else "",
        membership=_membership(estimator, f"Catalogue.from_parquet({mocks!r}){cut}", seed),
        view=(".pure()" if pure else "") + cut,
        flow=estimator.flow.config(),
        training=training,
        support=_supports(estimator),
        others=_others(estimator),
        mirror=estimator.provenance.mirror,
        members=len(estimator.histories),
        out=str(Path(out)),
    )


def _membership(estimator: "MassEstimator", mocks: str, seed: int) -> str:
    """Call that trains the membership on the first mocks of a set."""
    n = estimator.provenance.membership_clusters
    return f".with_membership({mocks}.select(range({n})), seed={seed})" if estimator.membership is not None else ""


def _supports(estimator: "MassEstimator") -> object:
    """Ends of the mass' support, or of each parameter's by its name."""
    given_mass = estimator.given_mass
    if given_mass is None:
        return estimator.support
    ends = zip(given_mass.parameters, zip(given_mass.low, given_mass.high, strict=True), strict=True)
    return {MASS: estimator.support, **dict(ends)}


def _others(estimator: "MassEstimator") -> str:
    """Arguments of `train` for the parameters besides the mass."""
    if estimator.given_mass is None:
        return ""
    return f", parameters={estimator.parameters}, training_given_mass={estimator.given_mass.training}"
