"""Rows: galaxies on end, in memory or in a file, give what a padded array gives."""

import numpy as np
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from sbi_clustermass import KDEImage, StackedAffine, Training
from sbi_clustermass.training import (
    DenseDataset,
    GalaxyWriter,
    RaggedDataset,
    Split,
    Storage,
    TrainingData,
    fit,
    precompute_summaries,
)
from sbi_clustermass.training.dataset import RowIndices

CPU = torch.device("cpu")


def padded(counts: list[int], seed: int = 1) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    x = np.zeros((len(counts), max([*counts, 1]), 3), np.float32)
    for row, n in enumerate(counts):
        x[row, :n] = np.column_stack([1.6 * rng.random(n), 800 * rng.standard_normal(n), np.ones(n)])
    return torch.from_numpy(x)


def on_end(x: torch.Tensor, storage: Storage, theta: torch.Tensor, cut: int = 0) -> RaggedDataset:
    writer = GalaxyWriter(storage)
    for part in (x[:cut], x[cut:]):
        writer.append(part[part[..., 2] > 0][:, :2].numpy(), part[..., 2].sum(1).long().numpy())
    return writer.finish(theta)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.data())
def test_a_batch_is_the_padded_rows_cut_to_their_own_width(counts, data):
    x, theta = padded(counts), torch.arange(float(len(counts)))[:, None]
    rows = on_end(x, Storage(CPU), theta, data.draw(st.integers(0, len(counts))))
    chosen = torch.tensor(data.draw(st.lists(st.integers(0, 2 * len(counts) - 1), min_size=1, max_size=8)))
    width = max(counts[i % len(counts)] for i in chosen)
    both = torch.cat([x, x * torch.tensor([1.0, -1.0, 1.0])])
    found = rows.mirrored().take(RowIndices(chosen, chosen))
    assert torch.equal(found, both[chosen, :width])


def test_a_mapped_file_holds_what_memory_holds(tmp_path):
    x, theta = padded([3, 20, 11, 15] * 10), torch.arange(40.0)[:, None]
    memory, mapped = (on_end(x, storage, theta, 17) for storage in (Storage(CPU), Storage(CPU, tmp_path)))
    assert memory.digest() == mapped.digest()
    network = StackedAffine(hidden=(8,), embedding=KDEImage(bins=4))(theta, x)
    tables = [
        precompute_summaries(network, rows, storage)
        for rows, storage in ((memory, Storage(CPU)), (mapped, Storage(CPU, tmp_path)))
    ]
    assert isinstance(tables[0], DenseDataset)
    assert tables[0].digest() == tables[1].digest()
    assert (
        tables[0].subset(torch.arange(5, 9), Storage(CPU, tmp_path)).digest()
        == tables[1].subset(torch.arange(5, 9), Storage(CPU)).digest()
    )
    assert sorted(path.stat().st_size for path in tmp_path.iterdir()) == [4 * 16 * 4, 40 * 16 * 4, 490 * 2 * 4]


class Sum(nn.Module):
    """A learned embedding."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 4)

    def forward(self, x):
        return (self.inner(x[..., :2] / 1000).tanh() * x[..., 2:]).sum(1)


class PerGalaxy(nn.Module):
    def forward(self, x):
        return x * 1.0


def test_a_stage_that_works_galaxy_by_galaxy_is_not_put_into_a_table():
    theta, x = torch.rand(60, 1) + 13, padded([5, 9, 14] * 20)
    rows = on_end(x, Storage(CPU), theta)
    network = StackedAffine(hidden=(8,), embedding=Sum())(theta, x)
    assert precompute_summaries(network, rows, Storage(CPU)) is rows
    network.summary = PerGalaxy()
    assert precompute_summaries(network, rows, Storage(CPU)) is rows


def test_a_learned_embedding_trains_alike_from_memory_and_from_a_file(tmp_path):
    theta, x = torch.rand(60, 1) + 13, padded([5, 9, 14] * 20)
    split, weights = Split(torch.arange(50), torch.arange(50, 60)), []
    for storage in (Storage(CPU), Storage(CPU, tmp_path)):
        torch.manual_seed(1)
        network = StackedAffine(hidden=(8,), embedding=Sum())(theta, x)
        rule = Training(max_updates=20, validate_every=10, batch_size=16, learning_rate=1e-2)
        fit(network, TrainingData(on_end(x, storage, theta), split, storage), support=(13.0, 14.0), training=rule)
        weights.append(network.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
