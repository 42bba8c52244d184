"""Training of an estimator on a mock catalogue.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from clustermocks import Catalogue
from clustermocks.catalogue.parameters import MASS
from clustermocks.io.paths import as_path
from clustermocks.io.version import installed_version
from sbi_clustermass.embeddings import TrialMasses
from sbi_clustermass.embeddings.sky import takes_sky
from sbi_clustermass.estimator.given_mass_training import (
    Support,
    check_supports,
    shows_mirror_images,
    train_given_mass,
)
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.flows import Flow, StackedAffine
from sbi_clustermass.flows.device import resolve_device
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.posterior.prior import fit_effective_prior
from sbi_clustermass.training import Progress, Training
from sbi_clustermass.training.defaults import default_training, default_training_given_mass
from sbi_clustermass.training.ensemble_training import train_members
from sbi_clustermass.training.training_set import TrainingSet, warn_of_counts, warn_of_gaps, working_storage

_PACKAGES = ("sbi-clustermass", "sbi", "torch", "nflows")


def train(
    catalogue: Catalogue | Iterable[Catalogue],
    *,
    flow: Flow | None = None,
    parameters: Sequence[str] = (MASS,),
    support: Support | Mapping[str, Support] | None = None,
    training: Training | None = None,
    training_given_mass: Training | None = None,
    mirror: bool = True,
    members: int = 1,
    conditions: bool | None = None,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    seed: int | None = None,
    progress: Progress | None = None,
) -> MassEstimator:
    """Train a flow on a mock catalogue.

    You are warned if a network that does not see the number of galaxies can read it from a galaxy in the very centre.

    Args:
        catalogue: Mock clusters, or the parts of a catalogue larger than memory, such as a `StoredCatalogue`. Parts
            are read one at a time into memory-mapped files, which are removed at the end; the result is the same. All
            lines of sight through a host halo stay on one side of the validation split.
        flow: Architecture, `StackedAffine()` by default.
        parameters: What is inferred: "log10_mass" and, behind it, "log10_c200c" (concentration of the mass [dex]) and
            "beta" (velocity anisotropy [1]). The others get a network of the same flow, with the mass as a condition
            (`MassEstimator.joint`); the mass is inferred as without them. Their prior is that of the mocks.
        support: Lowest and highest log10 mass of the prior [dex]; by default the range of the attempted masses,
            rounded outwards to .01. Or the two ends of each parameter, by its name.
        training: Settings of the training; by default those that suit the embedding (`default_training`).
        training_given_mass: Settings of the training of the other parameters; by default
            `default_training_given_mass`.
        mirror: Whether every cluster is shown a second time with reversed velocities, which are as likely. An
            augmentation has a `mirror` of its own instead.
        members: Number of networks, which make an ensemble; they differ in the seeds of weights, split and batches.
        conditions: Whether the network is told redshift, velocity error and whether interlopers were removed
            (`Catalogue.conditions`); by default where the mocks were drawn from a `SurveyPrior` or a `CosmologyPrior`.
            With mocks of the latter it is also told Om0 and sigma8 (`Catalogue.in_cosmology`).
        checkpoint: Folder for the state of the training, saved at validations, at most every half minute. The same
            call resumes from it, to the same result. The folder is not removed.
        device: "auto" takes CUDA if it is available.
        seed: Seed of the weights, the split and the order of the batches; replaces the one in `training`.
        progress: Called at every validation.

    Raises:
        ValueError: The catalogue has no masses or fewer than 100 clusters inside the support, does not hold a
            parameter, or has it outside its support; `members` is below 1, or the checkpoint is of another training.
        TypeError: The flow cannot be saved, or builds something other than an `EmbedOnce`.
    """
    flow = flow or StackedAffine()
    training = training or default_training(flow.embedding)
    training = training if seed is None else replace(training, seed=seed)
    flow.config()  # refuses a flow that could not be saved, before the training
    supports = check_supports(parameters, support)
    if members < 1:
        raise ValueError(f"members must be at least 1, got {members}.")
    folder = None if checkpoint is None else as_path(checkpoint)
    streamed = not isinstance(catalogue, Catalogue)
    with working_storage(resolve_device(device), mapped=streamed, parent=folder) as storage:
        clusters = TrainingSet.from_catalogue(
            catalogue,
            storage,
            supports.get(MASS),
            conditions=conditions,
            sky=takes_sky(flow.embedding),
            parameters=parameters,
        ).augmented(training.augmentation)
        warn_of_gaps(clusters.clusters, clusters.support)
        if isinstance(flow.embedding, TrialMasses):
            flow = replace(flow, embedding=flow.embedding.covering(*clusters.support))
        if not getattr(flow.embedding, "richness", False):
            warn_of_counts(clusters)
        training = replace(training, augmentation=clusters.augmentation)
        mirrored = mirror and shows_mirror_images(flow, training)
        networks, histories = train_members(
            clusters.mirrored() if mirrored else clusters,
            flow,
            training,
            members=members,
            checkpoint=folder,
            progress=progress,
        )
        given_mass = None
        if len(parameters) > 1:
            given_mass = train_given_mass(
                clusters,
                {name: supports.get(name) for name in parameters[1:]},
                flow,
                training_given_mass or default_training_given_mass(training),
                mirrored=mirrored,
                checkpoint=folder,
                progress=progress,
            )
    mocks, n = clusters.clusters, len(networks)
    return MassEstimator(
        network=networks[0] if n == 1 else Ensemble(networks, clusters.support),
        flow=flow,
        prior=fit_effective_prior(mocks, clusters.support),
        observation=clusters.observation,
        cosmology=mocks.cosmology,
        richness=clusters.richness,
        histories=histories,
        given_mass=given_mass,
        provenance=_provenance(mocks, training, mirror=mirror),
    )


def _provenance(mocks: Catalogue, training: Training, *, mirror: bool) -> Provenance:
    return Provenance(
        mocks=mocks.provenance,
        training=training,
        truncated=training.truncated,
        mirror=mirror,
        training_clusters=len(mocks),
        versions={name: installed_version(name) for name in _PACKAGES},
    )
