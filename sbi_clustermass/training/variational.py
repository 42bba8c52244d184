"""Variational posterior of a network's last weights: independent Gaussians."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.training.batches import Batches
from sbi_clustermass.training.settings import Training
from sbi_clustermass.training.trained import Trained


@final
@dataclass(frozen=True)
class Variational:
    r"""Independent Gaussians that maximise the evidence lower bound, from the trained weights (Blundell et al. 2015).

    arXiv:1505.05424, eq. 2, with a weight sample for each batch, and the prior $N(0, 1/\lambda)$ of the precision that
    maximises the bound, $1/\lambda = <w^2>$.

    Attributes:
        updates: Number of updates, no more than the training may have.
        learning_rate: Learning rate of Adam for the logs of the standard deviations; the means have that of the
            training. Both fall linearly to zero.
        start: Standard deviations at the start.
    """

    updates: int = 1000
    learning_rate: float = 1e-2
    start: float = 1e-2

    def prepare(self, network: EmbedOnce, training: Training) -> None:
        """Train the network as it is."""

    def draw(self, trained: Trained, n: int) -> list[EmbedOnce]:
        """Networks with weights drawn from the posterior."""
        mean, std = self.fitted(trained)
        generator = trained.generator()
        return [
            trained.with_weights({name: mean[name] + std[name] * _like(mean[name], generator) for name in mean})
            for _ in range(n)
        ]

    def fitted(self, trained: Trained) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Means and standard deviations of the weights by name."""
        weights = trained.last_weights()
        mean = {name: each.detach().clone().requires_grad_() for name, each in weights.items()}
        log_std = {name: torch.full_like(each, self.start).log().requires_grad_() for name, each in mean.items()}
        dataset, rows = trained.fitting()
        loss, generator = trained.loss_on(dataset), trained.generator()
        batches = Batches(rows, trained.training, trained.device)
        trainable = [*mean.values(), *log_std.values()]
        rates = (mean, trained.training.learning_rate), (log_std, self.learning_rate)
        optimizer = torch.optim.Adam([{"params": list(part.values()), "lr": rate} for part, rate in rates])
        updates = min(self.updates, trained.training.max_updates)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, updates)
        for _ in range(updates):
            picked = batches.next()
            drawn = {name: mean[name] + log_std[name].exp() * _like(mean[name], generator) for name in mean}
            data = loss.at(drawn, dataset.theta[picked.device], dataset.take(picked)).mean()
            total = data + _divergence(mean, log_std) / trained.n_clusters
            found = torch.autograd.grad(total, trainable)
            for each, gradient in zip(trainable, found, strict=True):
                each.grad = gradient
            optimizer.step()
            schedule.step()
        return {name: each.detach() for name, each in mean.items()}, {
            name: each.detach().exp() for name, each in log_std.items()
        }


def _divergence(mean: dict[str, Tensor], log_std: dict[str, Tensor]) -> Tensor:
    """Kullback-Leibler divergence from the best prior N(0, 1/lambda), up to a constant."""
    at, log_s = (torch.cat([each.flatten() for each in part.values()]) for part in (mean, log_std))
    return 0.5 * len(at) * (at.square() + (2 * log_s).exp()).mean().log() - log_s.sum()


def _like(values: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise of this shape, drawn on the CPU."""
    return torch.randn(values.shape, dtype=values.dtype, generator=generator).to(values.device)
