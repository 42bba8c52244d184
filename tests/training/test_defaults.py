"""Training rules by embedding."""

import pytest
from torch import nn

from sbi_clustermass import EMBEDDINGS, Training
from sbi_clustermass.training.defaults import RULES, rule_for


def test_every_embedding_has_a_rule():
    assert set(RULES) == set(EMBEDDINGS)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_an_embedding_gets_its_own_rule(name):
    assert rule_for(EMBEDDINGS[name]()) == RULES[name]


def test_the_papers_image_and_a_stranger_get_the_papers_rule():
    assert rule_for(EMBEDDINGS["kde"]()) == rule_for(nn.Identity()) == Training()
