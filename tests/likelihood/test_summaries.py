"""Learned summaries of clusters."""

import pytest
import torch

from sbi_clustermass.embeddings import DeepSets
from sbi_clustermass.likelihood import SUMMARIES, FrozenSummaries
from sbi_clustermass.training.dataset import as_tensors


@pytest.mark.parametrize("name", SUMMARIES)
def test_an_embedding_that_is_not_even_has_even_summaries_of_each_cluster_alone(name, mocks):
    some = mocks.select(torch.arange(30).numpy())
    theta, x = as_tensors(some)
    choice = SUMMARIES[name](embedding=DeepSets(8, 1, mirror=False))
    summaries = FrozenSummaries(choice(theta, x), even=False)
    found, mirror = summaries.of(some), torch.tensor([1.0, -1.0, 1.0])
    torch.testing.assert_close(summaries(x * mirror), summaries(x), rtol=1e-5, atol=1e-6)  # float32
    torch.testing.assert_close(found, summaries(x), rtol=1e-5, atol=1e-5)  # other batches, padded to other widths
    assert found.isfinite().all()
    assert found.std(0).min() > 0
    assert not any(weight.requires_grad for weight in summaries.parameters())
