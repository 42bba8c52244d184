"""sbi's NPE with the training of Kodi Ramanah et al. 2020.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, Unpack, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from sbi.inference import NPE
from sbi.inference.posteriors import DirectPosterior
from sbi.inference.posteriors.base_posterior import NeuralPosterior
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from torch import Tensor
from torch.distributions import Distribution

from clustermocks.io.paths import as_path
from sbi_clustermass.flows import Flow, StackedAffine
from sbi_clustermass.flows.box import OnBox, in_box
from sbi_clustermass.flows.device import resolve_device
from sbi_clustermass.flows.exact_leakage import ExactLeakage
from sbi_clustermass.flows.pairs import check_pairs
from sbi_clustermass.flows.sbi_names import as_builder
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
from sbi_clustermass.training.box_prior import as_box, box_of, is_same
from sbi_clustermass.training.identity import identity
from sbi_clustermass.training.sbi_options import SbiOptions, as_training
from sbi_clustermass.training.tracker import NullTracker


class ClusterNPE(NPE):
    """sbi's NPE with the training of Kodi Ramanah et al. 2020; everything else is sbi's.

    No log folder is written. There is one round, and the truncated loss needs a box prior (`mass_prior`). Over several
    parameters it is the plain loss of the flow in the box (`OnBox`), which has no probability outside.

    Example:
        >>> inference = ClusterNPE(mass_prior(13.5, 15.3), density_estimator=StackedAffine())  # doctest: +SKIP
        >>> inference.append_simulations(theta, x).train(Training(seed=1))  # doctest: +SKIP
        >>> posterior = inference.build_posterior()  # doctest: +SKIP
    """

    def __init__(
        self, prior: Distribution | None, density_estimator: str | Callable | None = None, *, device: str = "auto"
    ) -> None:
        """Prepare training.

        Args:
            prior: Prior on theta, of one parameter or several; for the truncated loss it is flat in a box: sbi's
                `BoxUniform`, torch's `Independent(Uniform(...), 1)`, or a `Uniform` of one parameter.
            density_estimator: Builder of the network, such as `StackedAffine()`, the default; or one of sbi's names,
                which are also ours after `register()`.
            device: Device; "auto" takes CUDA if available.

        Raises:
            TypeError: The builder is a class instead of an object.
            ValueError: The name or the device is unknown.
        """
        self.builder = StackedAffine() if density_estimator is None else as_builder(density_estimator)
        self.device = resolve_device(device)
        self.prior, self.box = as_box(prior, self.device), box_of(prior)
        self.history = History()
        self.network: ConditionalDensityEstimator | None = None
        self.shapes: tuple[torch.Size, torch.Size] | None = None  # of one simulation's theta and x
        super().__init__(self.prior, self.builder, device=self.device, tracker=NullTracker(), show_progress_bars=False)

    def append_simulations(
        self,
        theta: Tensor,
        x: Tensor,
        proposal: Distribution | NeuralPosterior | None = None,
        exclude_invalid_x: bool | None = None,
        data_device: str | None = None,
    ) -> Self:
        """sbi's `append_simulations`, without its warning that the padding of sets is constant.

        Raises:
            TypeError: theta or x is not a dense tensor of floating-point numbers.
            ValueError: They are no pairs, or have other shapes than those appended before; or the proposal is not the
                prior, so that the loss would be that of another posterior.
        """
        check_pairs("append_simulations", theta, x)
        shapes = theta.shape[1:], x.shape[1:]
        if self.shapes not in (None, shapes):
            raise ValueError(_other_shapes(self.shapes, shapes))
        if proposal is not None and not is_same(proposal, self.prior):
            raise ValueError(
                "ClusterNPE trains one round: its loss would take these simulations for ones from the prior, and the "
                "posterior would be too narrow.\n"
                "  try:    sbi's NPE(prior, density_estimator=...) with the same builder, for several rounds; or "
                "simulations from the prior"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Data has constant values")
            super().append_simulations(theta, x, None, exclude_invalid_x, data_device)
        self.shapes = shapes
        return self

    def train(
        self,
        training: Training | None = None,
        *,
        groups: Int[np.ndarray, "cluster"] | None = None,
        progress: Progress | None = None,
        checkpoint: str | Path | None = None,
        **options: Unpack[SbiOptions],
    ) -> ConditionalDensityEstimator:
        """Train on the simulations appended so far, from the beginning.

        Args:
            training: Settings of the training.
            groups: Group number of each simulation; simulations of one group (lines of sight of one host) stay on one
                side of the split.
            progress: Callback, called at every validation.
            checkpoint: File for the state of the training, written at validations, at most every half minute. The same
                call continues from it, to the same result; it is kept when training ends.
            **options: Options of sbi's `NPE.train`, such as `max_num_epochs`, instead of fields of `training`.

        Raises:
            TypeError: An option is unknown; or, with a checkpoint, the network holds something by which it cannot be
            told from another; or the builder returns no density estimator.
            RuntimeError: No simulations have been appended.
            ValueError: `groups` or the number of parameters does not match the simulations, the truncated loss has no
            box prior or one that excludes a simulation, an option of sbi's has no counterpart, or the checkpoint
            belongs to another training.
        """
        if self.shapes is None:
            raise RuntimeError("nothing to train on: call append_simulations(theta, x) first.")
        theta, x, _ = self.get_simulations()
        groups = np.arange(len(theta)) if groups is None else np.atleast_1d(groups)
        if len(groups) != len(theta):
            raise ValueError(f"{len(groups)} groups for {len(theta)} simulations.")
        training = as_training(training, options, groups)
        if options.get("show_train_summary") and progress is None:
            progress = print
        builder, support = self._within_prior(theta) if training.truncated else (self.builder, None)
        dataset = DenseDataset(theta.to(self.device), x.to(self.device))
        data = TrainingData(dataset, split_by_group(groups, training))
        fitting = data.split.fitting
        network = build_network(builder, dataset.theta[fitting], dataset.x[fitting], seed=training.seed)
        network = network.to(self.device)
        state = None
        if checkpoint is not None:
            box = self.box if training.truncated else None
            state = Checkpoint(as_path(checkpoint), *identity(builder, network, data, training, support=box))
        self.history = fit(network, data, support=support, training=training, progress=progress, checkpoint=state)
        self.network = network
        return network

    def build_posterior(
        self,
        density_estimator: ConditionalDensityEstimator | None = None,
        prior: Distribution | None = None,
        *args: Any,
        **options: Any,
    ):
        """sbi's `build_posterior` with the trained network; the arguments are sbi's.

        A `DirectPosterior`, sbi's default, is an `ExactLeakage`: sbi's own is normalised for the first observation.

        Raises:
            RuntimeError: No network has been trained.
        """
        network = density_estimator or self.network
        if network is None:
            raise RuntimeError("nothing to build a posterior from: call train() first.")
        posterior = super().build_posterior(network, as_box(prior, self.device), *args, **options)
        return ExactLeakage.copy_of(posterior) if isinstance(posterior, DirectPosterior) else posterior

    def _within_prior(self, theta: Float[Tensor, "batch theta"]) -> tuple[Callable, tuple[float, float] | None]:
        """The builder and the support of the truncated loss: of several parameters, the flow in the prior's box."""
        if self.box is None:
            raise ValueError("the truncated loss needs a box prior: use mass_prior(), BoxUniform, or truncated=False.")
        low, high = self.box
        if theta.shape[1] != len(low):
            raise ValueError(f"theta has {theta.shape[1]} parameters, the prior {len(low)}.")
        outside = ~in_box(theta, theta.new_tensor(low), theta.new_tensor(high))
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} of {len(theta)} simulations lie outside the prior's box, the first with "
                f"{theta[outside][0].tolist()}: the box is {list(low)} to {list(high)}. Widen the prior."
            )
        if len(low) == 1:
            return self.builder, (low[0], high[0])
        return self.builder if isinstance(self.builder, OnBox) else OnBox(cast(Flow, self.builder), low, high), None


def _other_shapes(before: tuple[torch.Size, torch.Size], now: tuple[torch.Size, torch.Size]) -> str:
    found = [
        f"{name} of shape {tuple(new)}, those before {tuple(old)}"
        for name, old, new in zip(("theta", "x"), before, now, strict=True)
        if old != new
    ]
    return (
        f"append_simulations: these simulations have {', and '.join(found)}.\n"
        "  try:    sets of galaxies padded with zeros to the same number; or another ClusterNPE"
    )
