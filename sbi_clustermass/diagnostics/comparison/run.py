"""Training and scoring of every combination of flow and embedding, each in a folder of its own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass, replace
from itertools import product
from pathlib import Path
from time import perf_counter

from torch import nn

from clustermocks.io.paths import as_path
from clustermocks.io.progress import Stage, silent
from sbi_clustermass.diagnostics.comparison.score import Entry, Failure, PosteriorScore
from sbi_clustermass.diagnostics.comparison.setup import ComparisonSetup
from sbi_clustermass.diagnostics.comparison.table import Comparison
from sbi_clustermass.estimator.train import train
from sbi_clustermass.flows import Flow


def compare(
    setup: ComparisonSetup,
    flows: Mapping[str, Flow],
    embeddings: Mapping[str, nn.Module],
    *,
    folder: Path | None = None,
    stage: Stage = silent,
    on_result: Callable[[Entry | Failure], None] = lambda result: None,
) -> Comparison:
    """Train every flow on every embedding with the same clusters and rule, and score them on the same test clusters.

    Args:
        setup: Clusters and training rule.
        flows: Builders by name; each one's embedding is replaced.
        embeddings: Modules by name; none is trained itself, because a flow's builder copies it.
        folder: Each estimator and its entry are written into `FLOW+EMBEDDING/` in this folder as soon as they are done.
            An entry found there for the same setup, flow and embedding is not trained again.
        stage: Shows the progress of each training.
        on_result: Called with each combination's result when it is known.

    Raises:
        ValueError: There is no flow or no embedding.
        TypeError: A flow is not a dataclass with an embedding.
    """
    folder = folder and as_path(folder)
    if not flows or not embeddings:
        raise ValueError(f"nothing to compare: {len(flows)} flows, {len(embeddings)} embeddings.")
    chosen = product(flows.items(), embeddings.items())
    builders = {(flow, name): _with_embedding(builder, module) for (flow, builder), (name, module) in chosen}
    results = []
    for names, builder in builders.items():
        place = None if folder is None else folder / "+".join(names)
        own = setup.for_embedding(builder.embedding)
        identity = f"{own.digest} {json.dumps(builder.config(), sort_keys=True)}"
        try:
            known = None if place is None else Entry.load(place, identity)
            result = known or _trained(own, names, builder, place=place, identity=identity, stage=stage)
        except Exception as error:  # whatever a flow raises costs only its own row
            result = Failure(*names, reason=f"{type(error).__name__}: {error}")
        on_result(result)
        results.append(result)
    exact = None if setup.exact is None else PosteriorScore.from_posteriors(setup.exact, setup.test_set.log10_mass)
    return Comparison(tuple(results), exact)


def _with_embedding(builder: Flow, embedding: nn.Module) -> Flow:
    if not is_dataclass(builder) or isinstance(builder, type):
        raise TypeError(f"{builder!r} is no flow: it needs an entry of FLOWS, such as StackedAffine().")
    return replace(builder, embedding=embedding)


def _trained(
    setup: ComparisonSetup, names: tuple[str, str], builder: Flow, *, place: Path | None, identity: str, stage: Stage
) -> Entry:
    start = perf_counter()
    with stage(f"training {'+'.join(names)}", None) as advance:
        estimator = train(
            setup.train_set,
            flow=builder,
            support=setup.support,
            training=setup.training,
            device=setup.device,
            members=setup.members,
            progress=lambda look: advance(look.update, str(look)),
        )
    entry = Entry.measure(names, estimator, setup, training_seconds=perf_counter() - start)
    if place is not None:
        estimator.save(place)
        entry.save(place, identity)
    return entry
