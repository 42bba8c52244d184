"""That training does not wait for the device between two looks at the validation set: only CUDA can tell."""

import warnings

import pytest
import torch

from sbi_clustermass.embeddings import DeepSets, KDEImage, SummaryStatistics, TrialMasses
from sbi_clustermass.flows import FLOWS
from sbi_clustermass.training import (
    Augmentation,
    DenseDataset,
    GalaxyWriter,
    Storage,
    Training,
    TrainingData,
    fit,
    split_by_group,
)

LOW, HIGH = 13.5, 15.3
THINNED = Augmentation(recentre=True, min_galaxies=10)
N, GALAXIES, BATCH = 1100, 20, 10  # 100 batches an epoch


def rows(kind):
    torch.manual_seed(1)
    theta = LOW + (HIGH - LOW) * torch.rand(N, 1)
    x = torch.rand(N, GALAXIES, 3) * torch.tensor([1.6, 1000.0, 0.0]) + torch.tensor([0.0, 0.0, 1.0])
    if kind == "padded":
        return DenseDataset(theta.cuda(), x.cuda())
    writer = GalaxyWriter(Storage(torch.device("cuda")))
    writer.append(x[..., :2].flatten(0, 1).numpy(), torch.full((N,), GALAXIES).numpy())
    return writer.finish(theta)


def times_waited(data, flow, *, updates, augmentation):
    """How often a training of so many updates, with one look at its end, made the host wait."""
    network = flow(data.dataset.theta.cpu(), torch.ones(N, GALAXIES, 3)).cuda()
    training = Training(
        max_updates=updates, patience=1000, validate_every=1000, cooldown=0, batch_size=BATCH, augmentation=augmentation
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            fit(network, data, support=(LOW, HIGH), training=training)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(each.message) for each in said)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["padded", "on end"])
@pytest.mark.parametrize(
    ("name", "embedding", "augmentation"),
    [
        ("stacked_affine", KDEImage(), None),
        ("mdn", SummaryStatistics(), THINNED),
        ("stacked_affine", DeepSets(), THINNED),
        ("tabulated", TrialMasses(14.4, 1.8, trials=20), None),
        ("tabulated", TrialMasses(14.4, 1.8, trials=20), THINNED),
    ],
)
def test_the_host_waits_at_looks_and_never_at_updates(kind, name, embedding, augmentation):
    data = TrainingData(rows(kind), split_by_group(torch.arange(N).numpy(), Training()))
    few, many = (
        times_waited(data, FLOWS[name](embedding=embedding), updates=updates, augmentation=augmentation)
        for updates in (20, 80)  # of one epoch: the order of the next is sent over once
    )
    assert few > 0
    assert many == few
