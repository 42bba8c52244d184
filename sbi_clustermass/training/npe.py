"""sbi's NPE with the paper's training rule, and what it needs of a catalogue.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from sbi.inference import NPE
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from sbi.utils import BoxUniform
from torch import Tensor

from clustermocks import Catalogue
from sbi_clustermass.flows import StackedAffine
from sbi_clustermass.flows.device import resolve_device
from sbi_clustermass.training import Checkpoint, Data, History, Progress, Table, Training, fit, split_by_group


class ClusterNPE(NPE):
    """sbi's NPE with the training rule of Kodi Ramanah et al. 2020; everything else is sbi's.

    Writes no log folder. Needs one round and a box prior (`mass_prior`) for the truncated loss.

    Example:
        >>> inference = ClusterNPE(mass_prior(13.5, 15.3), density_estimator=StackedAffine())  # doctest: +SKIP
        >>> inference.append_simulations(theta, x).train(Training(seed=1))  # doctest: +SKIP
        >>> posterior = inference.build_posterior()  # doctest: +SKIP
    """

    def __init__(self, prior, density_estimator: Callable | None = None, *, device: str = "auto") -> None:
        """Prepare training.

        Args:
            prior: Prior on theta, a sbi `BoxUniform` for the truncated loss.
            density_estimator: A builder such as `StackedAffine()`, the default.
            device: "auto" takes CUDA where there is one.
        """
        self.builder = StackedAffine() if density_estimator is None else density_estimator
        self.device = resolve_device(device)
        self.support = _box(prior)
        self.history = History()
        self.network: ConditionalDensityEstimator | None = None
        super().__init__(
            _on_device(prior, self.device), self.builder, device=self.device, tracker=Silent(), show_progress_bars=False
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
            training: The rule.
            groups: A number for each simulation; simulations of one group (lines of sight of one host) stay on one
                side of the split.
            progress: Called at every validation.
            checkpoint: A file for the state of the training, written at validations at most every half minute. The
                same call goes on from it, to the same result; it stays when training ends.

        Raises:
            ValueError: `groups` does not match the simulations, the truncated loss has no box prior or more than
            one parameter, or the checkpoint is of another training.
        """
        training = training or Training()
        rows = self._rows()
        groups = np.arange(len(rows.theta)) if groups is None else np.asarray(groups)
        if len(groups) != len(rows.theta):
            raise ValueError(f"{len(groups)} groups for {len(rows.theta)} simulations.")
        data, support = Data(rows, split_by_group(groups, training)), self._support(training)
        network = build(self.builder, rows.theta[data.split.fitting], rows.x[data.split.fitting], training.seed)
        network = network.to(self.device)
        self.history = fit(
            network,
            data,
            support=support,
            training=training,
            progress=progress,
            checkpoint=None if checkpoint is None else _checkpoint(Path(checkpoint), self.builder, data, training),
        )
        self.network = network
        return network

    def _rows(self) -> Table:
        theta, x, _ = self.get_simulations()
        return Table(theta.to(self.device), x.to(self.device))

    def _support(self, training: Training) -> tuple[float, float] | None:
        if training.truncated and self.support is None:
            raise ValueError(
                "the truncated loss needs a box prior over one parameter: use mass_prior(), or truncated=False."
            )
        return self.support if training.truncated else None

    def build_posterior(self, density_estimator: ConditionalDensityEstimator | None = None, *args: Any, **options: Any):
        """sbi's `build_posterior` around the trained network; its arguments are sbi's.

        Raises:
            RuntimeError: Nothing was trained yet.
        """
        network = density_estimator or self.network
        if network is None:
            raise RuntimeError("nothing to build a posterior from: call train() first.")
        return super().build_posterior(network, *args, **options)


def build(builder: Callable, theta: Tensor, x: Tensor, seed: int) -> ConditionalDensityEstimator:
    """An untrained network with the weights of this seed, on the CPU; torch's own generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return builder(theta.cpu(), x.cpu())


def _checkpoint(path: Path, builder: Callable, data: Data, training: Training) -> Checkpoint:
    device = data.rows.theta.device.type
    settings = {"flow": repr(builder), "training": repr(training), "device": device, "data": data.rows.digest()}
    return Checkpoint(path, settings)


def as_tensors(catalogue: Catalogue) -> tuple[Float[Tensor, "cluster 1"], Float[Tensor, "cluster galaxy 3"]]:
    """Masses and galaxies of a catalogue as sbi wants them, float32, padded to its richest cluster."""
    theta = torch.from_numpy(catalogue.log10_mass.astype(np.float32))[:, None]
    return theta, torch.from_numpy(catalogue.padded())


class Silent:
    """An sbi tracker that writes nothing."""

    log_dir = None

    def log_metric(self, name: str, value: float, step: int | None = None) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...

    def log_params(self, params: dict[str, Any]) -> None: ...

    def add_figure(self, name: str, figure: Any, step: int | None = None) -> None: ...

    def flush(self) -> None: ...


def _box(prior) -> tuple[float, float] | None:
    if not isinstance(prior, BoxUniform) or prior.event_shape != (1,):
        return None
    return float(prior.base_dist.low), float(prior.base_dist.high)


def _on_device(prior, device: str):
    """A box prior made anew: sbi 0.27's `BoxUniform.to` moves the caller's own, and returns None."""
    if not isinstance(prior, BoxUniform):
        return prior
    return BoxUniform(prior.base_dist.low.to(device), prior.base_dist.high.to(device), device=device)
