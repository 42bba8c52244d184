"""sbi's NPE with the training of Kodi Ramanah et al. 2020.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from sbi.inference import NPE
from sbi.inference.posteriors import DirectPosterior
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from sbi.utils import BoxUniform
from torch import Tensor

from sbi_clustermass.flows import EmbedOnce, Flow, StackedAffine
from sbi_clustermass.flows.box import Boxed, OnBox, in_box
from sbi_clustermass.flows.device import resolve_device
from sbi_clustermass.flows.exact_leakage import ExactLeakage
from sbi_clustermass.training import (
    Checkpoint,
    DenseDataset,
    History,
    Progress,
    Training,
    TrainingData,
    build_network,
    fit,
    split_by_group,
)
from sbi_clustermass.training.identity import identity


class ClusterNPE(NPE):
    """sbi's NPE with the training of Kodi Ramanah et al. 2020; everything else is sbi's.

    No log folder is written. The truncated loss needs one round and a box prior (`mass_prior`). Over several parameters
    it is the plain loss of the flow in the box (`OnBox`), which has no probability outside.

    Example:
        >>> inference = ClusterNPE(mass_prior(13.5, 15.3), density_estimator=StackedAffine())  # doctest: +SKIP
        >>> inference.append_simulations(theta, x).train(Training(seed=1))  # doctest: +SKIP
        >>> posterior = inference.build_posterior()  # doctest: +SKIP
    """

    def __init__(self, prior, density_estimator: Callable | None = None, *, device: str = "auto") -> None:
        """Prepare training.

        Args:
            prior: Prior on theta, an sbi `BoxUniform` for the truncated loss, of one parameter or several.
            density_estimator: Builder of the network, such as `StackedAffine()`, the default.
            device: Device; "auto" takes CUDA if available.
        """
        self.builder = StackedAffine() if density_estimator is None else density_estimator
        self.device = resolve_device(device)
        self.box = _box(prior)
        self.history = History()
        self.network: ConditionalDensityEstimator | None = None
        super().__init__(
            _on_device(prior, self.device),
            self.builder,
            device=self.device,
            tracker=NullTracker(),
            show_progress_bars=False,
        )

    def append_simulations(self, theta: Tensor, x: Tensor, *args: Any, **options: Any) -> Self:
        """sbi's `append_simulations`, without its warning that the padding of sets is constant."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Data has constant values")
            return super().append_simulations(theta, x, *args, **options)

    def train(
        self,
        training: Training | None = None,
        *,
        groups: Int[np.ndarray, "cluster"] | None = None,
        progress: Progress | None = None,
        checkpoint: str | Path | None = None,
    ) -> ConditionalDensityEstimator:
        """Train on the simulations appended so far.

        Args:
            training: Settings of the training.
            groups: Group number of each simulation; simulations of one group (lines of sight of one host) stay on one
                side of the split.
            progress: Callback, called at every validation.
            checkpoint: File for the state of the training, written at validations, at most every half minute. The same
                call continues from it, to the same result; it is kept when training ends.

        Raises:
            TypeError: With a checkpoint, the network holds something by which it cannot be told from another.
            ValueError: `groups` or the number of parameters does not match the simulations, the truncated loss has no
            box prior or one that excludes a simulation, or the checkpoint belongs to another training.
        """
        training = training or Training()
        theta, x, _ = self.get_simulations()
        groups = np.arange(len(theta)) if groups is None else np.asarray(groups)
        if len(groups) != len(theta):
            raise ValueError(f"{len(groups)} groups for {len(theta)} simulations.")
        builder, support = self._within_prior(theta) if training.truncated else (self.builder, None)
        dataset = DenseDataset(theta.to(self.device), x.to(self.device))
        data = TrainingData(dataset, split_by_group(groups, training))
        fitting = data.split.fitting
        network = build_network(builder, dataset.theta[fitting], dataset.x[fitting], seed=training.seed)
        network = network.to(self.device)
        state = None
        if checkpoint is not None:
            box = self.box if training.truncated else None
            state = Checkpoint(Path(checkpoint), *identity(builder, network, data, training, support=box))
        self.history = fit(network, data, support=support, training=training, progress=progress, checkpoint=state)
        self.network = network
        return network

    def build_posterior(self, density_estimator: ConditionalDensityEstimator | None = None, *args: Any, **options: Any):
        """sbi's `build_posterior` with the trained network; the arguments are sbi's.

        A network that is normalised in the prior's box has no leakage, which sbi would estimate from samples.

        Raises:
            RuntimeError: No network has been trained.
        """
        network = density_estimator or self.network
        if network is None:
            raise RuntimeError("nothing to build a posterior from: call train() first.")
        posterior = super().build_posterior(network, *args, **options)
        if isinstance(network, EmbedOnce) and isinstance(network.net, Boxed) and isinstance(posterior, DirectPosterior):
            return ExactLeakage.copy_of(posterior)
        return posterior

    def _within_prior(self, theta: Float[Tensor, "batch theta"]) -> tuple[Callable, tuple[float, float] | None]:
        """The builder and the support of the truncated loss: of several parameters, the flow in the prior's box."""
        if self.box is None:
            raise ValueError("the truncated loss needs a box prior: use mass_prior(), BoxUniform, or truncated=False.")
        low, high = self.box
        if theta.shape[1] != len(low):
            raise ValueError(f"theta has {theta.shape[1]} parameters, the prior {len(low)}.")
        if len(low) == 1:
            return self.builder, (low[0], high[0])
        outside = ~in_box(theta, torch.tensor(low), torch.tensor(high))
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} of {len(theta)} simulations lie outside the prior's box, the first with "
                f"{theta[outside][0].tolist()}: the box is {list(low)} to {list(high)}. Widen the prior."
            )
        return self.builder if isinstance(self.builder, OnBox) else OnBox(cast(Flow, self.builder), low, high), None


class NullTracker:
    """Tracker for sbi that writes nothing."""

    log_dir = None

    def log_metric(self, name: str, value: float, step: int | None = None) -> None: ...
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...
    def log_params(self, params: dict[str, Any]) -> None: ...
    def add_figure(self, name: str, figure: Any, step: int | None = None) -> None: ...
    def flush(self) -> None: ...


def _box(prior) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Lower and upper ends of a box prior."""
    if not isinstance(prior, BoxUniform):
        return None
    return tuple(prior.base_dist.low.tolist()), tuple(prior.base_dist.high.tolist())


def _on_device(prior, device: str):
    """Copy of a box prior on this device: sbi 0.27's `BoxUniform.to` moves the caller's prior, and returns None."""
    if not isinstance(prior, BoxUniform):
        return prior
    return BoxUniform(prior.base_dist.low.to(device), prior.base_dist.high.to(device), device=device)
