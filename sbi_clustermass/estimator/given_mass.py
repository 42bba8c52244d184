"""Parameters of a cluster besides its mass: their density given the mass and the galaxies.

The mass comes first: its posterior is that of a network of one parameter, exact on a grid, and a second network is told
the mass and sees the galaxies in its units. A draw of all parameters is a mass from the grid, then the others given it.
Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from clustermocks import Catalogue
from clustermocks.catalogue.parameters import MASS
from sbi_clustermass.embeddings.conditions import CONDITIONED
from sbi_clustermass.flows import EmbedOnce, Flow
from sbi_clustermass.flows.box import OnBox
from sbi_clustermass.flows.evaluation import batches_of
from sbi_clustermass.posterior import MassPosteriors, Posteriors
from sbi_clustermass.posterior.tabulated import inverse_cdf, log_prob_at
from sbi_clustermass.training import History, Progress, Training
from sbi_clustermass.training.ensemble_training import train_members
from sbi_clustermass.training.training_set import TrainingSet

CHECKPOINT = "given_mass"
_SLOTS = 200_000  # galaxies and padding of a batch, each as often as there are masses


@final
@dataclass(frozen=True)
class GivenMass:
    """Density of further parameters given the mass and the galaxies, normalised inside a box.

    Attributes:
        network: Trained network of the further parameters, which takes the mass as the last column.
        parameters: Names of the parameters, as in `Catalogue.parameters`.
        low: Lower end of each parameter's support.
        high: Upper end.
        training: Settings of the training.
        history: Losses during the training.
    """

    network: EmbedOnce
    parameters: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    training: Training
    history: History

    def joint(self, of_mass: MassPosteriors, catalogue: Catalogue, n: int, *, seed: int) -> Posteriors:
        """Draw all parameters of each cluster: masses from its posterior, the others given the mass.

        Masses are stratified, one from each nth part of the posterior, in random order.
        """
        rng = np.random.default_rng(seed)
        strata = rng.permuted(np.broadcast_to(np.arange(n), (len(of_mass), n)), axis=1)
        mass = inverse_cdf(of_mass.grid, of_mass.prob, of_mass.cdf, (strata + rng.random(strata.shape)) / n)
        drawn, log_prob = self.sample(catalogue, mass, seed=seed)
        of_draw = log_prob_at(of_mass.grid, np.repeat(of_mass.log_prob, n, axis=0), mass.ravel()).reshape(mass.shape)
        return Posteriors(
            parameters=(MASS, *self.parameters),
            samples=np.concatenate([mass[..., None], drawn], axis=2),
            low=np.array([of_mass.grid[0], *self.low]),
            high=np.array([of_mass.grid[-1], *self.high]),
            names=of_mass.names,
            log_prob=of_draw + log_prob,
            redshift=catalogue.observation_column("redshift"),
        )

    @torch.no_grad()
    def sample(
        self, catalogue: Catalogue, log10_mass: Float[np.ndarray, "cluster n"], *, seed: int
    ) -> tuple[Float[np.ndarray, "cluster n parameter"], Float[np.ndarray, "cluster n"]]:
        """Draw one set of further parameters for each mass of each cluster, with its natural log density."""
        drawn = np.empty((*log10_mass.shape, len(self.parameters)))
        log_prob = np.empty(log10_mass.shape)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for rows, x in self._told(catalogue, log10_mass):
                features = self.network.embed(x)
                theta = self.network.net.sample(torch.Size([1]), features)
                shape = len(rows), log10_mass.shape[1]
                log_prob[rows] = self.network.net.log_prob(theta, features)[0].reshape(shape).cpu().numpy()
                drawn[rows] = theta[0].reshape(*shape, -1).cpu().numpy()
        return drawn, log_prob

    @torch.no_grad()
    def log_prob(
        self,
        catalogue: Catalogue,
        log10_mass: Float[np.ndarray, "cluster n"],
        theta: Float[np.ndarray, "cluster n parameter"],
    ) -> Float[np.ndarray, "cluster n"]:
        """Natural log density of further parameters at each mass of each cluster; -inf outside the box."""
        out = np.empty(log10_mass.shape)
        for rows, x in self._told(catalogue, log10_mass):
            values = torch.as_tensor(theta[rows], dtype=torch.float32, device=x.device).flatten(0, 1)
            out[rows] = -self.network.loss(values, x).reshape(len(rows), -1).cpu().numpy()
        return out

    def _told(
        self, catalogue: Catalogue, log10_mass: Float[np.ndarray, "cluster n"]
    ) -> Iterator[tuple[Int[np.ndarray, "some"], Float[Tensor, "some_n galaxy column"]]]:
        """Rows of some clusters, and their galaxies once for each mass, which is told."""
        n, conditions = log10_mass.shape[1], self.network.condition_shape[1] > CONDITIONED
        device = next(self.network.parameters()).device
        for rows in batches_of(catalogue.n_galaxies, slots=max(_SLOTS // n, 1)):
            x = torch.from_numpy(catalogue.select(rows).padded(conditions=conditions)).to(device)
            mass = torch.as_tensor(log10_mass[rows], dtype=torch.float32, device=device).flatten()
            x = x.repeat_interleave(n, 0)
            yield rows, torch.cat([x, mass[:, None, None] * x[..., 2:3]], -1)


def train_given_mass(
    clusters: TrainingSet,
    supports: Mapping[str, tuple[float, float] | None],
    flow: Flow,
    training: Training,
    *,
    mirrored: bool,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> GivenMass:
    """Train a network of further parameters, which is told the mass; see `train`.

    Args:
        clusters: Training set with these parameters.
        supports: Ends of each parameter's support by its name; None for the range in the clusters.
        flow: Architecture.
        training: Settings. The loss is always the plain one, as nothing leaks out of the box.
        mirrored: Whether every cluster is shown with reversed velocities as well.
        checkpoint: Folder for the state of the training, in which this has a folder of its own.
        progress: Called at every validation.
    """
    names = tuple(supports)
    ranges = zip(clusters.clusters.parameters(names).T, supports.values(), strict=True)
    ends = np.array([_rounded_range(values) if given is None else given for values, given in ranges])
    told = clusters.given_mass(names, ends)
    low, high = (tuple(map(float, side)) for side in ends.T)
    training = replace(training, truncated=False)
    networks, histories = train_members(
        told.mirrored() if mirrored else told,
        OnBox(flow, low, high),
        training,
        members=1,
        checkpoint=None if checkpoint is None else checkpoint / CHECKPOINT,
        progress=progress,
    )
    return GivenMass(networks[0], names, low, high, training, histories[0])


def _rounded_range(values: Float[np.ndarray, "cluster"]) -> tuple[float, float]:
    """Least and greatest value, rounded outwards to .01."""
    return float(np.floor(values.min() * 100) / 100), float(np.ceil(values.max() * 100) / 100)
