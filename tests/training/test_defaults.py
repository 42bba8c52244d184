"""Training rules by embedding."""

import pytest
from torch import nn

from sbi_clustermass import EMBEDDINGS, Training
from sbi_clustermass.training.defaults import DEFAULT_TRAINING, default_training


def test_every_embedding_has_a_rule():
    assert set(DEFAULT_TRAINING) == set(EMBEDDINGS)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_an_embedding_gets_its_own_rule(name):
    assert default_training(EMBEDDINGS[name]()) == DEFAULT_TRAINING[name]


def test_the_papers_image_and_a_stranger_get_the_papers_rule():
    assert default_training(EMBEDDINGS["kde"]()) == default_training(nn.Identity()) == Training()
