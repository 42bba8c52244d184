"""What the members of an ensemble are: networks trained by themselves, or draws of the weights of one.

Each choice ends in ordinary networks, whose mixture is the posterior.
"""

from collections.abc import Mapping
from typing import Protocol

from clustermocks.io.registry import lookup
from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.training.dropout import Dropout
from sbi_clustermass.training.settings import Training
from sbi_clustermass.training.trained import Trained
from sbi_clustermass.training.variational import Variational


class DrawnWeights(Protocol):
    """A distribution of the weights of one network."""

    def prepare(self, network: EmbedOnce, training: Training) -> None:
        """Change the untrained network.

        Raises:
            ValueError: It has nothing to change, or cannot be trained so.
        """
        ...

    def draw(self, trained: Trained, n: int) -> list[EmbedOnce]:
        """Draw networks, the same for the same seed of the training."""
        ...


INDEPENDENT = "independent"
WEIGHTS: Mapping[str, DrawnWeights | None] = {
    INDEPENDENT: None,  # every member is trained
    "variational": Variational(),
    "dropout": Dropout(),
}


def check_members(members: int, weights: str) -> None:
    """Refuse a number of members that these weights cannot have.

    Raises:
        ValueError: The weights are unknown, or there are too few members.
    """
    drawn = lookup("weights", weights, WEIGHTS)
    if members < 1:
        raise ValueError(f"members must be at least 1, got {members}.")
    if drawn is not None and members < 2:
        raise ValueError(
            f"weights={weights!r} draws the members of an ensemble; found members={members}.\n"
            "  try:    members=8, or weights='independent' for one network"
        )
