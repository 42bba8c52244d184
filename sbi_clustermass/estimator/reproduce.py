"""The command that trains an estimator again: `clustermass train` where it has options for all of it, else Python."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from clustermocks import Observation
from sbi_clustermass.estimator.training_run import TrainingRun
from sbi_clustermass.training import Augmentation, Training
from sbi_clustermass.training.defaults import default_training

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

_KINDS = {"Training": Training, "Augmentation": Augmentation}
_SCRIPT = """python - <<'END'
from clustermocks import Catalogue
from sbi_clustermass import Augmentation, Training, train
from sbi_clustermass.flows import flow_from_config

mocks = Catalogue.from_parquet({mocks!r}){view}
{aside}flow = flow_from_config(
    {flow}
)
training = {training}
estimator = train(mocks, flow=flow, training=training, support={support}, mirror={mirror}, members={members})
estimator{alarm}.save({out!r})
END"""
_ASIDE = """from sbi_clustermass.estimator.training_run import held_back
mocks, aside = held_back(mocks, {n}, seed={seed})
"""


def rule_of(estimator: "MassEstimator") -> Training | None:
    """The training rule that an estimator's provenance tells of; None where it tells of none that this version knows.

    Read, not evaluated: only names of fields and literal values count.
    """
    try:
        rule = _built(ast.parse(estimator.provenance.get("training", ""), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, KeyError):
        return None
    if not isinstance(rule, Training):
        return None
    changed = rule.augmentation
    if changed is None or changed.recentre is not None:
        return rule
    return replace(rule, augmentation=replace(changed, recentre=False))  # of a version that never did


def training_command(estimator: "MassEstimator", mocks: str, out: str) -> str:
    """The shell command that trains the same estimator on the same mocks.

    `clustermass train` where it can say all that was chosen, which is checked by building its choices again; a few
    lines of Python otherwise.

    Args:
        estimator: The trained one.
        mocks: Name of the mocks' file, to be put in.
        out: Name of the folder, to be put in.

    Raises:
        ValueError: The provenance tells of no training rule that this version knows.
    """
    rule = rule_of(estimator)
    if rule is None:
        raise ValueError("the estimator's provenance does not tell how it was trained.")
    run = _run(estimator, rule)
    if _says_all(run, estimator, rule):
        return " ".join(_words(run, mocks, out))
    return _script(estimator, rule, mocks, out)


def _built(node: ast.expr) -> object:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        return _KINDS[node.func.id](**{str(each.arg): _built(each.value) for each in node.keywords})
    return ast.literal_eval(node)


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
        pure=estimator.provenance.get("sample") == "members",
        truncated=rule.truncated,
        alarm=_kept_aside(estimator),
        seed=rule.seed,
        **{name: value for name, value in given.items() if value != getattr(usual, name)},
    )


def _kept_aside(estimator: "MassEstimator") -> int:
    return int(estimator.provenance.get("kept_aside", estimator.provenance.get("alarm", 0)))


def _says_all(run: TrainingRun, estimator: "MassEstimator", rule: Training) -> bool:
    training = run.training
    if training.augmentation is not None:
        recentred = estimator.provenance.get("recentre") != "False"
        changed = training.augmentation.within(estimator.observation, recentred=recentred)
        training = replace(training, augmentation=changed)
    same = run.builder.config() == estimator.flow.config() and training == rule
    return same and estimator.provenance.get("mirror") == "True"


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
    least, pure = estimator.observation.min_galaxies, estimator.provenance.get("sample") == "members"
    cut = "" if least == Observation.min_galaxies else f".with_min_galaxies({least})"
    kept, seed = _kept_aside(estimator), rule.seed
    return _SCRIPT.format(
        mocks=mocks,
        aside=_ASIDE.format(n=kept, seed=seed) if kept else "",
        alarm=f".with_alarm(aside, seed={seed})" if estimator.alarm is not None else "",
        view=(".pure()" if pure else "") + cut,
        flow=estimator.flow.config(),
        training=rule,
        support=estimator.support,
        mirror=estimator.provenance.get("mirror", "True") == "True",
        members=len(estimator.histories),
        out=str(Path(out)),
    )
