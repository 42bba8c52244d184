"""Density or density ratio of summaries given the mass, by stock sbi, on a grid of masses.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; log densities are natural [nats].
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, final

import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.posterior.prior import mass_prior
from sbi_clustermass.training.tracker import NullTracker

_PAIRS = 100_000  # of a cluster and a mass, evaluated together


class SummaryLikelihood(Protocol):
    """A method of sbi, as a frozen dataclass."""

    def trainer(self, support: tuple[float, float]) -> Any:
        """sbi's trainer, with a flat prior over the support [dex]."""
        ...

    def log_likelihood(
        self, estimator: Any, summaries: Float[Tensor, "cluster summary"], grid: Float[Tensor, " mass"]
    ) -> Float[Tensor, "cluster mass"]:
        """Natural log of p(summaries | mass) by what sbi's trainer returned, up to a constant for each cluster."""
        ...


@final
@dataclass(frozen=True)
class NeuralLikelihood:
    """Neural likelihood estimation (Papamakarios et al. 2019, arXiv:1805.07226): sbi's `NLE`.

    Attributes:
        density_estimator: Name of sbi's density estimator.
    """

    density_estimator: Literal["mdn", "maf", "nsf", "made"] = "mdn"

    def trainer(self, support: tuple[float, float]) -> Any:
        """sbi's `NLE`, with a flat prior over the support [dex]."""
        from sbi.inference import NLE

        return NLE(mass_prior(*support), self.density_estimator, tracker=NullTracker(), show_progress_bars=False)

    def log_likelihood(
        self, estimator: Any, summaries: Float[Tensor, "cluster summary"], grid: Float[Tensor, " mass"]
    ) -> Float[Tensor, "cluster mass"]:
        """Natural log of p(summaries | mass), a density in the summaries' unit."""
        return torch.cat(
            [
                estimator.log_prob(some[:, None].expand(-1, len(grid), -1), grid[:, None])
                for some in _blocks(summaries, grid)
            ]
        )


@final
@dataclass(frozen=True)
class NeuralRatio:
    """Neural ratio estimation (Durkan et al. 2020, arXiv:2002.03712): sbi's `NRE`.

    Attributes:
        classifier: Name of sbi's classifier: "linear", "mlp" or "resnet".
    """

    classifier: str = "mlp"

    def trainer(self, support: tuple[float, float]) -> Any:
        """sbi's `NRE`, with a flat prior over the support [dex]."""
        from sbi.inference import NRE

        return NRE(mass_prior(*support), self.classifier, tracker=NullTracker(), show_progress_bars=False)

    def log_likelihood(
        self, estimator: Any, summaries: Float[Tensor, "cluster summary"], grid: Float[Tensor, " mass"]
    ) -> Float[Tensor, "cluster mass"]:
        """Natural log of p(summaries | mass) over a function of the summaries."""

        def ratio(some: Tensor) -> Tensor:
            theta, x = grid.repeat(len(some))[:, None], some.repeat_interleave(len(grid), 0)
            return estimator(theta, x).reshape(len(some), len(grid))

        return torch.cat([ratio(some) for some in _blocks(summaries, grid)])


METHODS: dict[str, type[SummaryLikelihood]] = {"nle": NeuralLikelihood, "nre": NeuralRatio}


def _blocks(summaries: Float[Tensor, "cluster summary"], grid: Float[Tensor, " mass"]) -> tuple[Tensor, ...]:
    return summaries.split(max(_PAIRS // len(grid), 1))
