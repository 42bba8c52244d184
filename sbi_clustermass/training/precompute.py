"""Computations that are done once, before training: summaries without weights, and augmented validation sets."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.training.augmentation import Augmentation
from sbi_clustermass.training.dataset import Dataset, DenseDataset, GalaxyWriter, RaggedDataset, Storage, chunks


def precompute_summaries(network: nn.Module, dataset: Dataset, storage: Storage) -> Dataset:
    """Compute the fixed stage of the network's embedding for all rows.

    The dataset is returned unchanged if there is nothing to gain: the network has no fixed stage, or one that works
    galaxy by galaxy, so that its output is as ragged as its input.
    """
    if not isinstance(network, EmbedOnce) or not _reduces(network, dataset):
        return dataset
    summaries: Tensor | None = None
    for rows in chunks(dataset):
        with torch.no_grad():
            summary = network.summary(dataset.take(rows))
        summaries = storage.empty(len(dataset.theta), *summary.shape[1:]) if summaries is None else summaries
        summaries[int(rows.cpu[0]) : int(rows.cpu[-1]) + 1] = summary
    return dataset if summaries is None else DenseDataset(dataset.theta, summaries, is_summary=True)


def network_on(dataset: Dataset, network: DensityEstimator) -> DensityEstimator:
    """Network to evaluate on a dataset: of summaries, the stages after the summary, which share the weights."""
    is_summary = isinstance(dataset, DenseDataset) and dataset.is_summary
    return network.on_summaries() if is_summary and isinstance(network, EmbedOnce) else network


def augment_once(
    dataset: Dataset,
    rows: Int[Tensor, " some"],
    augmentation: Augmentation,
    *,
    generator: torch.Generator,
    storage: Storage,
) -> Dataset:
    """Augment some rows once, without the clusters below the richness cut; refuse a set of which none is left."""
    writer = GalaxyWriter(storage, sky=dataset.flat.shape[1] > 2) if isinstance(dataset, RaggedDataset) else None
    theta, dense = [dataset.theta[:0]], []
    for chunk in chunks(dataset, rows):
        x, passed = augmentation(dataset.take(chunk), generator)
        theta.append(dataset.theta[chunk.device][passed])
        if writer is None:
            dense.append(x[passed])
        else:
            writer.append_padded(x[passed])
    if not sum(map(len, theta)):
        raise ValueError(
            f"no cluster of the validation set is left with {augmentation.min_galaxies} galaxies after thinning.\n"
            "  try:    a higher completeness, or richer clusters"
        )
    return DenseDataset(torch.cat(theta), torch.cat(dense)) if writer is None else writer.finish(torch.cat(theta))


def _reduces(network: EmbedOnce, dataset: Dataset) -> bool:
    """Return whether the fixed stage gives summaries of one shape, whatever the number of galaxies."""
    if isinstance(network.summary, nn.Identity) or not network.summary_is_fixed:
        return False
    if isinstance(dataset, DenseDataset):
        return not dataset.is_summary
    with torch.no_grad():
        shape = network.condition_shape[-1], dataset.theta.device
        one, two = (network.summary(torch.zeros(1, n, shape[0], device=shape[1])) for n in (1, 2))
    return one.shape == two.shape
