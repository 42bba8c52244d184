"""Mock clusters with a known likelihood as an sbi task: a prior, a simulator, and the exact posterior to compare with.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.stats import nbinom, poisson
from torch import Tensor
from torch.distributions import biject_to
from torch.distributions.transforms import IndependentTransform, Transform, identity_transform

from clustermocks import SphericalJeans
from sbi_clustermass.diagnostics.counting_simulator import CountingSimulator
from sbi_clustermass.diagnostics.grid_posterior import GridPosterior, legendre_nodes
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from sbi.utils import BoxUniform

_RARE = -7.0  # smallest log P(selected) for rejection sampling
_COARSE, _NEGLIGIBLE = 37, 16.0  # masses of the coarse grid, and how far below the peak a posterior is left out
_FIRST_SEED = 1_000_001  # of the observations, as in sbibm
_FINE = 601  # masses from which reference samples of one parameter are drawn
_TAIL = 1e-10  # probability of more galaxies than the task's width, for the richest clusters


@final
@dataclass(frozen=True)
class JeansTask:
    """`SphericalJeans` in sbi's shapes.

    A cluster below the richness cut is drawn again, with the same parameters, until it passes: `reference_posterior` is
    the posterior of selected clusters under the flat prior.

    It is also a task of sbibm, the benchmark of Lueckmann et al. 2021 (arXiv:2101.04653), whose run scripts of NPE and
    rejection ABC take it: `get_prior`, `get_simulator`, `get_observation`, `get_reference_posterior_samples` and the
    like. There, an observation is one row of 3 `width` numbers; `unflatten_data` gives it its shape back.

    Attributes:
        name, name_display: Names of the task for sbibm.
        num_observations: Number of observations, which are the same on every machine.
        num_posterior_samples, num_reference_posterior_samples: Number of samples that sbibm compares.
        num_simulations: Budgets of sbibm's runs.
        model: Simulator; its `parameters` are the columns of theta.
        low: Lower ends of the flat prior, one for each parameter.
        high: Upper ends of the flat prior.

    Example:
        >>> task = JeansTask(SphericalJeans(background=10.0), low=(13.5,), high=(15.3,))
        >>> theta = task.prior.sample((2,))
        >>> x = task.simulator(theta)  # (2, task.width, 3)
        >>> len(task.reference_posterior(x))
        2
    """

    name: ClassVar[str] = "spherical_jeans"
    name_display: ClassVar[str] = "Spherical Jeans"
    num_observations: ClassVar[int] = 10
    num_posterior_samples: ClassVar[int] = 10_000
    num_reference_posterior_samples: ClassVar[int] = 10_000
    num_simulations: ClassVar[list[int]] = [100, 1000, 10_000, 100_000, 1_000_000]

    model: SphericalJeans = field(default_factory=SphericalJeans)
    low: tuple[float, ...] = (13.5,)
    high: tuple[float, ...] = (15.3,)

    def __post_init__(self) -> None:
        names = self.model.parameters
        if not len(self.low) == len(self.high) == len(names) or not np.less(self.low, self.high).all():
            raise ValueError(f"JeansTask: low and high rise, one value for each of {names}; found {self}.")
        self.model.checked(np.array([self.low, self.high]))
        ends = np.array([self.low, self.high])
        log_selected = float(self.model.log_selected(ends).min())
        if not log_selected >= _RARE:
            raise ValueError(
                f"JeansTask: at one of {self.low} and {self.high} one cluster in {np.exp(-log_selected):.0f} has "
                f"min_galaxies={self.model.observation.min_galaxies}. "
                "Narrow the prior or lower the model's min_galaxies."
            )

    @property
    def prior(self) -> "BoxUniform":
        """Uniform prior between low and high."""
        from sbi.utils import BoxUniform

        return BoxUniform(low=torch.tensor(self.low), high=torch.tensor(self.high))

    @property
    def width(self) -> int:
        """Number of galaxies to which every observation is padded; fewer than one cluster in 10^9 has more."""
        mean, shape = float(np.max(self.model.mean_number([self.low[0], self.high[0]]))), self.model.shape
        members = poisson.isf(_TAIL, mean) if np.isinf(shape) else nbinom.isf(_TAIL, shape, shape / (shape + mean))
        return int(members + poisson.isf(_TAIL, self.model.background)) + 1

    def simulator(self, theta: Float[Tensor, "batch theta"]) -> Float[Tensor, "batch galaxy 3"]:
        """Simulate one selected cluster for each theta, in float32: R_proj, v_los and 1 per galaxy, zeros for padding.

        The random numbers follow `torch.manual_seed`, as sbi's simulators do.

        Raises:
            ValueError: A parameter is out of the model's range.
        """
        rows = self.model.checked(np.asarray(theta.detach().cpu(), float))
        x, missing = np.zeros((len(rows), self.width, 3), np.float32), np.arange(len(rows))
        while missing.size:
            seed = int(torch.randint(2**31 - 1, ()))
            drawn = self.model.simulate(rows[missing], seed=seed)
            passed = drawn.host_id % 2**32
            x[missing[passed]] = drawn.padded(self.width)
            missing = np.delete(missing, passed)
        return torch.from_numpy(x)

    def reference_log_prob(
        self, x: Float[Tensor, "batch galaxy 3"], theta: ArrayLike
    ) -> Float[np.ndarray, "batch theta"]:
        """Natural log of the exact posterior density at every theta for every x, up to a constant per observation."""
        rows = self.model.checked(theta)
        log_like = self.model.log_likelihood(np.asarray(x.detach().cpu()), rows) - self.model.log_selected(rows)
        inside = ((rows >= np.asarray(self.low, np.float32)) & (rows <= np.asarray(self.high, np.float32))).all(axis=1)
        return np.where(inside, log_like, -np.inf)

    def reference_posterior(self, x: Float[Tensor, "batch galaxy 3"], *, points: int = 256) -> MassPosteriors:
        """Compute the exact posterior of the mass, with other parameters integrated out (12 Gauss-Legendre nodes each).

        Args:
            x: Observations in the format of `simulator`.
            points: Number of masses on the grid.
        """
        grid = np.linspace(self.low[0], self.high[0], points)
        others, log_weight = _nodes(self.low[1:], self.high[1:])
        log_prob = np.full((len(x), points), -np.inf)
        for row, log_w in zip(others, log_weight, strict=True):
            theta = np.column_stack([grid, np.tile(row, (points, 1))])
            log_prob = np.logaddexp(log_prob, self.reference_log_prob(x, theta) + log_w)
        return MassPosteriors.from_log_prob(grid, log_prob)

    def reference_joint(
        self, x: Float[Tensor, "batch galaxy 3"], *, masses: int = 181, nodes: int = 6
    ) -> GridPosterior:
        """Compute the exact posterior of all parameters in their box, by the likelihood on a grid.

        A cluster is evaluated only at masses where its posterior is not negligible, as seen on a coarse grid.

        Args:
            x: Observations in the format of `simulator`.
            masses: Number of masses on the grid.
            nodes: Number of Gauss-Legendre nodes of each further parameter.
        """
        grid = np.linspace(self.low[0], self.high[0], masses)
        there = self._masses_of(x, grid)
        log_prob = np.full((len(x), masses, nodes ** (len(self.low) - 1)), -np.inf)
        for j, mass in enumerate(grid):
            rows = np.flatnonzero(there[:, j])
            if rows.size:
                log_prob[rows, j] = self.reference_log_prob(x[rows], self._at(mass, nodes))
        shape = (len(x), masses) + (nodes,) * (len(self.low) - 1)
        return GridPosterior(self.low, self.high, log_prob.reshape(shape))

    @property
    def dim_parameters(self) -> int:
        """Number of parameters."""
        return len(self.low)

    @property
    def dim_data(self) -> int:
        """Number of numbers of one observation in a row."""
        return 3 * self.width

    def get_prior(self) -> Callable[..., Float[Tensor, "sample theta"]]:
        """Return the function `prior(num_samples=1)`, which draws parameters."""
        return lambda num_samples=1: self.prior.sample((num_samples,))

    def get_prior_dist(self) -> "BoxUniform":
        """Return the prior."""
        return self.prior

    def get_prior_params(self) -> dict[str, Float[Tensor, " theta"]]:
        """Return the ends of the prior by name."""
        return {"low": torch.tensor(self.low), "high": torch.tensor(self.high)}

    def get_labels_parameters(self) -> list[str]:
        """Return the names of the parameters."""
        return list(self.model.parameters)

    def get_labels_data(self) -> list[str]:
        """Return the names of the numbers in a row."""
        return [f"{name}_{i}" for i in range(1, self.width + 1) for name in ("R_proj", "v_los", "is_galaxy")]

    def get_simulator(self, max_calls: int | None = None) -> CountingSimulator:
        """Return the simulator, whose observations are rows, and which refuses more than `max_calls` simulations."""
        return CountingSimulator(self, max_calls)

    def flatten_data(self, data: Float[Tensor, "*batch"]) -> Float[Tensor, "batch number"]:
        """Observations as rows."""
        return data.reshape(-1, self.dim_data)

    def unflatten_data(self, data: Float[Tensor, "*batch"]) -> Float[Tensor, "batch galaxy 3"]:
        """Observations in the shape that our embeddings take, from rows."""
        return data.reshape(-1, self.width, 3)

    def get_true_parameters(self, num_observation: int) -> Float[Tensor, "1 theta"]:
        """Return the parameters of an observation, counted from 1."""
        return self._pair(num_observation)[0]

    def get_observation(self, num_observation: int) -> Float[Tensor, "1 number"]:
        """Return an observation, counted from 1, as a row."""
        return self.flatten_data(self._pair(num_observation)[1])

    def get_reference_posterior_samples(self, num_observation: int) -> Float[Tensor, "sample theta"]:
        """Return 10 000 samples of the exact posterior of an observation, the same at every call."""
        x, n = self._pair(num_observation)[1], self.num_reference_posterior_samples
        if self.dim_parameters == 1:
            drawn = self.reference_posterior(x, points=_FINE).sample(n, seed=num_observation)[0][:, None]
        else:
            drawn = self.reference_joint(x).sample(n, seed=num_observation)[0]
        return torch.from_numpy(drawn.astype(np.float32))

    def _get_transforms(self, automatic_transforms_enabled: bool = True) -> dict[str, Transform]:
        """Map of the parameters to unbounded ones, or to themselves, by sbibm's name for it."""
        bounded = biject_to(self.prior.support).inv
        same = IndependentTransform(identity_transform, 1)
        return {"parameters": bounded if automatic_transforms_enabled else same}

    def _pair(self, number: int) -> tuple[Float[Tensor, "1 theta"], Float[Tensor, "1 galaxy 3"]]:
        """Parameters and galaxies of an observation; torch's global generator is unchanged."""
        if not 1 <= number <= self.num_observations:
            raise ValueError(f"JeansTask: observations are numbered 1 to {self.num_observations}, found {number!r}.")
        with torch.random.fork_rng():
            torch.manual_seed(_FIRST_SEED + number - 1)
            theta = self.prior.sample((1,))
            return theta, self.simulator(theta)

    def _masses_of(self, x: Tensor, grid: Float[np.ndarray, "mass"]) -> Bool[np.ndarray, "cluster mass"]:
        """Masses between the first and the last on a coarse grid that reach e^-16 of the highest density."""
        coarse = np.linspace(grid[0], grid[-1], _COARSE)
        highest = np.column_stack([self.reference_log_prob(x, self._at(mass, 3)).max(axis=1) for mass in coarse])
        likely = highest > highest.max(axis=1, keepdims=True) - _NEGLIGIBLE
        first, last = likely.argmax(axis=1), _COARSE - 1 - likely[:, ::-1].argmax(axis=1)
        low, high = coarse[np.maximum(first - 1, 0)], coarse[np.minimum(last + 1, _COARSE - 1)]
        return (grid >= low[:, None]) & (grid <= high[:, None])

    def _at(self, mass: float, nodes: int) -> Float[np.ndarray, "node parameter"]:
        """Parameters of one mass and all nodes of the further ones, the last the fastest."""
        further = [legendre_nodes(*ends, nodes) for ends in zip(self.low[1:], self.high[1:], strict=True)]
        return np.stack(np.meshgrid([mass], *further, indexing="ij"), axis=-1).reshape(-1, len(self.low))


def _nodes(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes in a box, (node, parameter), and log weights; one node without columns in no dimensions."""
    node, weight = np.polynomial.legendre.leggauss(12)
    axes = [a + (b - a) * (node + 1) / 2 for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(low)) if low else np.zeros((1, 0))
    weights = np.ones(1)
    for _ in low:
        weights = np.outer(weights, weight / 2).ravel()
    return points, np.log(weights)
