"""Parameters of a cluster besides its mass: their density given the mass and the galaxies.

The mass comes first: its posterior is that of a network of one parameter, exact on a grid. A second network takes the
mass as a condition and sees the galaxies in its units. A joint draw is a mass from the grid, then the others given it.
Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import cast, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from clustermocks import Catalogue
from clustermocks.catalogue.parameters import MASS
from sbi_clustermass.embeddings.conditions import Columns
from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.box import Boxed
from sbi_clustermass.flows.evaluation import batches_of
from sbi_clustermass.flows.precision import precision_of
from sbi_clustermass.posterior import MassPosteriors, Posteriors
from sbi_clustermass.posterior.tabulated import log_prob_at
from sbi_clustermass.training import History, Training

_SLOTS = 200_000  # galaxies and padding of a batch, each as often as there are masses


@final
@dataclass(frozen=True)
class GivenMass:
    """Density of parameters given the mass and the galaxies, normalised inside a box.

    Attributes:
        network: Trained network, which takes the mass as the last column.
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

    def joint(self, of_mass: MassPosteriors, catalogue: Catalogue, n: int, *, seeds: Sequence[int]) -> Posteriors:
        """Draw all parameters of each cluster, with their log densities; see `draw`."""
        drawn = self.draw(of_mass, catalogue, n, seeds=seeds)
        mass, others = drawn.samples[..., 0], drawn.samples[..., 1:]
        of_each = [log_prob_at(of_mass.grid, of_mass.log_prob, values) for values in mass.T]
        return replace(drawn, log_prob=np.stack(of_each, 1) + self.log_prob(catalogue, mass, others))

    def draw(
        self, of_mass: MassPosteriors, catalogue: Catalogue, n: int, *, each: int = 1, seeds: Sequence[int]
    ) -> Posteriors:
        """Draw all parameters of each cluster: masses from its posterior, the others given the mass.

        Masses are stratified, one from each nth part of the posterior, in random order.

        Args:
            of_mass: Posteriors of the mass.
            catalogue: The clusters.
            n: Number of masses.
            each: Draws of the other parameters for each mass.
            seeds: Seed of each cluster, so that its draws do not depend on the others.
        """
        if not isinstance(n, Integral) or n < 2:
            raise ValueError(f"joint: it needs two draws of each cluster or more, a whole number; found n={n!r}.")
        mass = of_mass.stratified(n, seeds)
        drawn = self.sample(catalogue, mass, each=each, seeds=seeds)
        return Posteriors(
            parameters=(MASS, *self.parameters),
            samples=np.concatenate([np.repeat(mass, each, axis=1)[..., None], drawn], axis=2),
            low=np.array([of_mass.grid[0], *self.low]),
            high=np.array([of_mass.grid[-1], *self.high]),
            names=of_mass.names,
            redshift=catalogue.observation_column("redshift"),
        )

    @torch.no_grad()
    def sample(
        self, catalogue: Catalogue, log10_mass: Float[np.ndarray, "cluster n"], *, each: int = 1, seeds: Sequence[int]
    ) -> Float[np.ndarray, "cluster draw parameter"]:
        """Draw the parameters `each` times for each mass, mass after mass."""
        n, (count, masses) = len(self.parameters), log10_mass.shape
        drawn = np.empty((count, masses, each, n))
        for rows, x in self._with_masses(catalogue, log10_mass):
            features = self.network.embed(x)
            theta = self._from_seeds(features, [seeds[row] for row in rows], each)
            drawn[rows] = theta.unflatten(1, (-1, masses)).permute(1, 2, 0, 3).cpu().numpy()
        return drawn.reshape(count, -1, n)

    def _from_seeds(
        self, features: Float[Tensor, "cluster_n feature"], seeds: Sequence[int], each: int
    ) -> Float[Tensor, "each cluster_n parameter"]:
        """Draw from the seed of each cluster, so that its draws do not depend on those beside it."""
        boxed, masses = cast(Boxed, self.network.net), len(features) // len(seeds)
        size = each, masses, len(self.parameters)
        level = np.concatenate([np.random.default_rng(seed).random(size, np.float32) for seed in seeds], axis=1)
        drawn = boxed.at_levels(torch.from_numpy(level).to(features), features)
        if drawn is not None:
            return drawn
        parts = []
        with torch.random.fork_rng():
            for seed, own in zip(seeds, features.split(masses), strict=True):
                torch.manual_seed(seed)
                with precision_of(own):
                    parts.append(boxed.sample(torch.Size([each]), own))
        return torch.cat(parts, 1)

    @torch.no_grad()
    def log_prob(
        self,
        catalogue: Catalogue,
        log10_mass: Float[np.ndarray, "cluster n"],
        theta: Float[np.ndarray, "cluster n parameter"],
    ) -> Float[np.ndarray, "cluster n"]:
        """Natural log density of the parameters at each mass of each cluster; -inf outside the box."""
        out = np.empty(log10_mass.shape)
        for rows, x in self._with_masses(catalogue, log10_mass):
            values = torch.as_tensor(theta[rows], dtype=torch.float32, device=x.device).flatten(0, 1)
            out[rows] = -self.network.loss(values, x).reshape(len(rows), -1).cpu().numpy()
        return out

    def _with_masses(
        self, catalogue: Catalogue, log10_mass: Float[np.ndarray, "cluster n"]
    ) -> Iterator[tuple[Int[np.ndarray, "some"], Float[Tensor, "some_n galaxy column"]]]:
        """Rows of some clusters, and their galaxies once for each mass, which is in the last column."""
        n = log10_mass.shape[1]
        for rows in batches_of(catalogue.n_galaxies, slots=max(_SLOTS // n, 1)):
            yield rows, _repeated(self._observed(catalogue.select(rows)), log10_mass[rows])

    def _observed(self, catalogue: Catalogue) -> Float[Tensor, "cluster galaxy column"]:
        columns = Columns.of(self.network, self.network.condition_shape[1] - 1)  # the mass is the last
        return torch.from_numpy(catalogue.padded(**columns._asdict())).to(next(self.network.parameters()).device)


def _repeated(
    x: Float[Tensor, "cluster galaxy column"], log10_mass: Float[np.ndarray, "cluster n"]
) -> Float[Tensor, "cluster_n galaxy one_more"]:
    """Repeat each cluster for each of its masses, with the mass as a column more that is 0 where there is no galaxy."""
    mass = torch.as_tensor(log10_mass, dtype=torch.float32, device=x.device).flatten()
    x = x.repeat_interleave(log10_mass.shape[1], 0)
    return torch.cat([x, mass[:, None, None] * x[..., 2:3]], -1)
