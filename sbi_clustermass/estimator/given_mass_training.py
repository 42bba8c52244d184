"""Training of the density of parameters given the mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue
from clustermocks.catalogue.parameters import MASS, PARAMETERS
from clustermocks.io.registry import lookup
from sbi_clustermass.estimator.card import FAR
from sbi_clustermass.estimator.compatibility import check_observation
from sbi_clustermass.estimator.given_mass import GivenMass
from sbi_clustermass.estimator.trained_estimator import TrainedEstimator
from sbi_clustermass.flows import Flow
from sbi_clustermass.flows.box import OnBox
from sbi_clustermass.training import Progress, Training
from sbi_clustermass.training.defaults import default_training_given_mass
from sbi_clustermass.training.ensemble_training import train_members
from sbi_clustermass.training.training_set import TrainingSet, working_storage

Support = tuple[float, float]
_CHECKPOINT = "given_mass"


def train_on_mocks(
    estimator: TrainedEstimator,
    mocks: Catalogue | Iterable[Catalogue],
    parameters: Sequence[str],
    *,
    training: Training | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> GivenMass:
    """Train for an estimator that has the mass already; see `MassEstimator.with_parameters`."""
    check_supports(parameters if isinstance(parameters, str) else (MASS, *parameters), None)
    if not parameters:
        raise ValueError("with_parameters: name at least one parameter besides the mass.")
    flow, provenance, of_mass = estimator.flow, estimator.provenance, estimator.provenance.training
    device = next(estimator.network.parameters()).device.type
    if of_mass is None:
        raise ValueError("the settings of the estimator's training are not known, by which this one would be like it.")
    with working_storage(device, mapped=not isinstance(mocks, Catalogue), parent=checkpoint) as storage:
        clusters = TrainingSet.from_catalogue(
            mocks,
            storage,
            estimator.support,
            conditions=estimator.takes_conditions,
            sky=estimator.takes_sky,
            parameters=(MASS, *parameters),
        )
        smaller = estimator.takes_any_field
        check_observation(clusters.clusters, estimator.observation, estimator.cosmology, smaller=smaller)
        return train_given_mass(
            clusters.augmented(of_mass.augmentation),
            dict.fromkeys(parameters),
            flow,
            training or default_training_given_mass(of_mass),
            mirrored=provenance.mirror and shows_mirror_images(flow, of_mass),
            checkpoint=checkpoint,
            progress=progress,
        )


def train_given_mass(
    clusters: TrainingSet,
    supports: Mapping[str, tuple[float, float] | None],
    flow: Flow,
    training: Training,
    *,
    mirrored: bool,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> GivenMass:
    """Train a network that takes the mass as a condition; see `train`.

    Args:
        clusters: Training set with these parameters.
        supports: Ends of each parameter's support by its name; None for the range in the clusters.
        flow: Architecture.
        training: Settings. The loss is always the plain one, as nothing leaks out of the box.
        mirrored: Whether every cluster is shown with reversed velocities as well.
        checkpoint: Folder for the state of the training, in which this has a folder of its own.
        progress: Called at every validation.
    """
    names = tuple(supports)
    ranges = zip(clusters.clusters.parameters(names).T, supports.values(), strict=True)
    ends = np.array([_rounded_range(values) if given is None else given for values, given in ranges])
    conditioned = clusters.given_mass(names, ends)
    low, high = (tuple(map(float, side)) for side in ends.T)
    training = replace(training, truncated=False)
    networks, histories = train_members(
        conditioned.mirrored() if mirrored else conditioned,
        OnBox(flow, low, high),
        training,
        members=1,
        checkpoint=None if checkpoint is None else checkpoint / _CHECKPOINT,
        progress=progress,
    )
    return GivenMass(networks[0], names, low, high, training, histories[0])


def _rounded_range(values: Float[np.ndarray, "cluster"]) -> tuple[float, float]:
    """Least and greatest value, rounded outwards to .01."""
    return float(np.floor(values.min() * 100) / 100), float(np.ceil(values.max() * 100) / 100)


def shows_mirror_images(flow: Flow, training: Training) -> bool:
    """Whether a training shows mirror images: not of an embedding that sees none, or where augmentation makes them."""
    return not getattr(flow.embedding, "even", False) and training.augmentation is None


def check_supports(parameters: Sequence[str], support: Support | Mapping[str, Support] | None) -> Mapping[str, Support]:
    """Check the parameters, and return the supports that are given, by name.

    Raises:
        ValueError: A name is unknown or there twice, the mass is not the first, or a support is of no parameter.
    """
    if isinstance(parameters, str):
        raise ValueError(f"parameters are a sequence of names; found {parameters!r}.\n  try:    ({parameters!r},)")
    for name in parameters:
        lookup("parameter", name, PARAMETERS)
    if tuple(parameters[:1]) != (MASS,) or len(set(parameters)) < len(parameters):
        raise ValueError(f"parameters are {MASS!r} and behind it others, each once; found {parameters!r}.")
    supports = support if isinstance(support, Mapping) else {} if support is None else {MASS: support}
    for name, ends in supports.items():
        lookup("parameter with a support", name, dict.fromkeys(parameters))
        two = np.shape(ends) == (2,) and all(isinstance(end, Real) for end in ends)
        if not two or not -FAR < ends[0] < ends[1] < FAR:
            raise ValueError(f"support of {name}: two ends that rise, within {FAR:g} of 0; found {ends!r}.")
    return supports
