"""Every combination of flow and embedding, one after another, each in a folder of its own."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from itertools import product
from pathlib import Path
from time import perf_counter

from rich.console import Console
from torch import nn

from sbi_clustermass.cli.progress import stage
from sbi_clustermass.diagnostics.comparison.score import Entry, Failure, Score
from sbi_clustermass.diagnostics.comparison.setup import Contest
from sbi_clustermass.diagnostics.comparison.table import Comparison
from sbi_clustermass.estimator.train import train
from sbi_clustermass.flows import Flow


def compare(
    contest: Contest,
    flows: Mapping[str, Flow],
    embeddings: Mapping[str, nn.Module],
    *,
    folder: Path | None = None,
    console: Console | None = None,
) -> Comparison:
    """Train every flow on every embedding with the same clusters and rule, and score them on the same test clusters.

    Args:
        contest: Clusters and rule.
        flows: Builders by name; each one's embedding is replaced.
        embeddings: Modules by name; none is trained itself, a flow's builder copies it.
        folder: Where each estimator and its entry go, into `FLOW+EMBEDDING/`, as soon as they are done. An entry found
            there that belongs to the same contest and the same choice is not trained again.
        console: For progress.

    Raises:
        ValueError: There is no flow or no embedding.
        TypeError: A flow is no dataclass with an embedding.
    """
    if not flows or not embeddings:
        raise ValueError(f"nothing to compare: {len(flows)} flows, {len(embeddings)} embeddings.")
    chosen = product(flows.items(), embeddings.items())
    builders = {(flow, name): _on(builder, module) for (flow, builder), (name, module) in chosen}
    exact = None if contest.exact is None else Score.of(contest.exact, contest.test_set.log10_mass)
    return Comparison(tuple(_entries(contest, builders, folder, console or Console(quiet=True))), exact)


def _on(builder: Flow, embedding: nn.Module) -> Flow:
    """The same choice on another embedding."""
    if not is_dataclass(builder) or isinstance(builder, type):
        raise TypeError(f"{builder!r} is no flow: it needs an entry of FLOWS, such as StackedAffine().")
    return replace(builder, embedding=embedding)


def _entries(
    contest: Contest, builders: Mapping[tuple[str, str], Flow], folder: Path | None, console: Console
) -> Iterator[Entry | Failure]:
    for names, builder in builders.items():
        place = None if folder is None else folder / "+".join(names)
        rule = contest.suiting(builder.embedding)
        try:
            yield _known(rule, builder, place) or _trained(rule, names, builder, place=place, console=console)
        except Exception as error:  # whatever a flow raises costs only its own row
            console.print(f"{'+'.join(names)}: failed. {error}", markup=False)
            yield Failure(*names, reason=f"{type(error).__name__}: {error}")


def _known(contest: Contest, builder: Flow, place: Path | None) -> Entry | None:
    return None if place is None else Entry.load(place, _identity(contest, builder))


def _trained(contest: Contest, names: tuple[str, str], builder: Flow, *, place: Path | None, console: Console) -> Entry:
    start = perf_counter()
    with stage(f"training {'+'.join(names)}", None, console) as advance:
        estimator = train(
            contest.train_set,
            flow=builder,
            support=contest.support,
            training=contest.training,
            device=contest.device,
            members=contest.members,
            progress=lambda look: advance(look.update, str(look)),
        )
    seconds = perf_counter() - start
    entry = Entry.measure(names, estimator, contest, training_seconds=seconds)
    if place is not None:
        estimator.save(place)
        entry.save(place, _identity(contest, builder))
    return entry


def _identity(contest: Contest, builder: Flow) -> str:
    return f"{contest.digest} {json.dumps(builder.config(), sort_keys=True)}"
