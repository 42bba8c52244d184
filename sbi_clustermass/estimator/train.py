"""From a mock catalogue to a trained estimator.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from clustermocks import Catalogue
from clustermocks.io.settings import installed_version
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.flows import Flow, StackedAffine
from sbi_clustermass.flows.device import resolve_device
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.posterior.prior import fit_effective_prior
from sbi_clustermass.training import Progress, Training
from sbi_clustermass.training.defaults import default_training
from sbi_clustermass.training.ensemble_training import train_members
from sbi_clustermass.training.training_set import TrainingSet, warn_of_gaps, working_storage

_PACKAGES = ("sbi-clustermass", "sbi", "torch", "nflows")


def train(
    catalogue: Catalogue | Iterable[Catalogue],
    *,
    flow: Flow | None = None,
    support: tuple[float, float] | None = None,
    training: Training | None = None,
    mirror: bool = True,
    members: int = 1,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    seed: int | None = None,
    progress: Progress | None = None,
) -> MassEstimator:
    """Train a flow on a mock catalogue.

    Args:
        catalogue: Mock clusters; lines of sight of one host stay on one side of the validation split. Or the parts of
            a catalogue larger than memory, such as a `StoredCatalogue`: they are read one at a time into files, which
            are mapped into memory and removed at the end; the result is the same.
        flow: The architecture, `StackedAffine()` by default.
        support: Lowest and highest log10 mass of the prior [dex]; by default the range of the attempted masses,
            rounded outwards to .01.
        training: The training rule; the one that suits the embedding by default (`default_training`).
        mirror: Show every cluster a second time with v_los reversed, as likely as the first. With an augmentation its
            own `mirror` does that.
        members: Networks to train, as an ensemble: seeds of their weights, splits and batches differ.
        checkpoint: Folder for the state of the training, written at validations at most every half minute. The same
            call goes on from it, to the same result; the folder stays.
        device: "auto" takes CUDA where there is one.
        seed: Of the weights, the split and the order of the batches, in place of the training rule's own.
        progress: Called at every validation.

    Raises:
        ValueError: The catalogue has no masses, or fewer than 100 clusters inside the support; or the checkpoint is of
            another training.
        TypeError: The flow is a builder of something other than `EmbedOnce`.
    """
    flow = flow or StackedAffine()
    training = training or default_training(flow.embedding)
    training = training if seed is None else replace(training, seed=seed)
    flow.config()  # refuses what could not be saved before the time is spent
    if members < 1:
        raise ValueError(f"members must be at least 1, got {members}.")
    folder = None if checkpoint is None else Path(checkpoint)
    streamed = not isinstance(catalogue, Catalogue)
    with working_storage(resolve_device(device), mapped=streamed, parent=folder) as storage:
        clusters = TrainingSet.from_catalogue(catalogue, storage, support).augmented(training.augmentation)
        warn_of_gaps(clusters.clusters, clusters.support)
        training = replace(training, augmentation=clusters.augmentation)
        even = getattr(flow.embedding, "even", False)  # sees no difference: the same would be shown twice
        shown = clusters.mirrored() if mirror and not even and training.augmentation is None else clusters
        found = train_members(shown, flow, training, members=members, checkpoint=folder, progress=progress)
    networks, histories = found
    mocks, n = clusters.clusters, len(networks)
    return MassEstimator(
        network=networks[0] if n == 1 else Ensemble(networks, clusters.support),
        flow=flow,
        prior=fit_effective_prior(mocks, clusters.support),
        observation=clusters.observation,
        cosmology=mocks.cosmology,
        richness=clusters.richness,
        histories=histories,
        provenance=Provenance(
            mocks=mocks.provenance,
            training=training,
            truncated=training.truncated,
            mirror=mirror,
            training_clusters=len(mocks),
            versions={name: installed_version(name) for name in _PACKAGES},
        ),
    )
