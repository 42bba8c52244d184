r"""A fit of the cosmology whose masses and selection are those of the cosmology that it finds.

Mocks of one cosmology c give likelihoods $L_i(m; c)$ and P(selected | m; c). With these held fixed the mass function is
fitted, and the mean $\hat c$ that is found moves with c. The answer is the cosmology that is found again,
$\hat c(c) = c$: at the true one a fit is unbiased. With c held fixed the noise of $\hat c$ has the posterior's
covariance C, so that the noise of the answer has $(1 - B)^{-1} C (1 - B)^{-T}$, where $B = d\hat c / dc$.

Information comes from the mass function alone: $L_i$ and P are never differentiated by the cosmology. Numbers and
velocities of interlopers tell of it too, but by a model of galaxies in haloes that is less certain; and a network that
is told c gives each cluster's density of masses without its factor that depends on c alone.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final
from warnings import warn

import numpy as np
import torch
from jaxtyping import Float

from clustermocks import Cosmology
from clustermocks.catalogue.schema import COSMOLOGY
from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.hierarchical_fit import fit
from sbi_clustermass.population.model import Population
from sbi_clustermass.population.sampling import NUTS, Laplace, Sampler
from sbi_clustermass.population.survey import Survey

if TYPE_CHECKING:
    from arviz import InferenceData

InCosmology = Callable[[Cosmology], tuple[Population, ObservedClusters]]
_SAMPLER, _ON_THE_WAY = NUTS(), Laplace()
_NEAR = 1.0  # distance of what is found from what was assumed at which B is measured [width of the posterior]
_STEP = 2.0  # steps by which it is measured [width]
_AGREED = 0.2  # distance that is left at the end, above which you are warned [width]


def fit_self_consistently(
    in_cosmology: InCosmology,
    survey: Survey,
    *,
    start: Cosmology = MDPL2,
    sampler: Sampler = _SAMPLER,
    rounds: int = 10,
) -> "InferenceData":
    """Fit Om0 and sigma8 with masses and selection of the cosmology that is found.

    Args:
        in_cosmology: Returns the population, with the selection, and the clusters, with their posteriors, as mocks of
            a cosmology give them: `SelectionInCosmologies.at`, and `estimator.posterior(catalogue.in_cosmology(...))`.
            The masses are a `CosmologyMassFunction`.
        survey: Survey that found the clusters.
        start: Cosmology that is assumed first. Of the others only Om0 and sigma8 differ.
        sampler: Sampler of the last fit; the others are by `Laplace`.
        rounds: Largest number of fits on the way to one that finds about what it assumed. Two more measure the
            feedback B, and one is the last.

    Returns:
        What `fit` returns for the last fit, with the draws of its posterior changed to what is known of the cosmology
        that is found again. `attrs["feedback"]` is B, found by assumed, and `attrs["assumed"]` what was assumed last.

    Raises:
        ValueError: No cosmology is found again in so many rounds; or what `fit` raises.

    Warns:
        UserWarning: The last fit does not find what it assumed to within a fifth of its error; or what `fit` warns of.
    """
    assumed = np.array([getattr(start, name) for name in COSMOLOGY])

    def found(at: Float[np.ndarray, "2"], by: Sampler = _ON_THE_WAY) -> _Found:
        population, clusters = in_cosmology(replace(start, **dict(zip(COSMOLOGY, map(float, at), strict=True))))
        return _Found(population, fit(population, clusters, survey, sampler=by))

    here = found(assumed)
    for _ in range(rounds - 1):
        if here.distance(assumed) < _NEAR:
            break
        assumed = here.middle
        here = found(assumed)
    if not here.distance(assumed) < _NEAR:
        raise ValueError(f"no cosmology is found again in {rounds} rounds.\n  try:    more rounds, or another start")
    steps = _STEP * here.widths
    slopes = here.slopes([found(assumed + step) for step in np.diag(steps)], steps)
    assumed = assumed + _amplified(slopes) @ (here.middle - assumed)
    last = found(assumed, sampler)
    if last.distance(assumed) > _AGREED:
        warn(
            f"Om0 and sigma8 of {assumed.round(4)} are assumed, and {last.middle.round(4)} are found: "
            f"{last.distance(assumed):.2f} of their errors apart.\n  try:    start there",
            UserWarning,
            stacklevel=2,
        )
    return last.of_fixed_point(assumed, slopes)


@final
@dataclass(frozen=True)
class _Found:
    """A fit with masses and selection of one cosmology."""

    population: Population
    idata: "InferenceData"

    @property
    def parameters(self) -> dict[str, Float[np.ndarray, "chain draw *event"]]:
        """Draws of the parameters of the population."""
        posterior = self.idata["posterior"]
        return {name: posterior[name].values for name in self.population.priors if name in posterior}

    @property
    def means(self) -> dict[str, Float[np.ndarray, "*event"]]:
        """Mean of each."""
        return {name: draws.mean((0, 1)) for name, draws in self.parameters.items()}

    @property
    def middle(self) -> Float[np.ndarray, "2"]:
        """Mean Om0 and sigma8."""
        return np.array([self.means[name] for name in COSMOLOGY])

    @property
    def widths(self) -> Float[np.ndarray, "2"]:
        """Their standard deviations."""
        return np.array([self.parameters[name].std() for name in COSMOLOGY])

    def distance(self, assumed: Float[np.ndarray, "2"]) -> float:
        """Largest distance of one of them from what was assumed [standard deviation]."""
        return float(np.abs((self.middle - assumed) / self.widths).max())

    def slopes(self, others: "list[_Found]", steps: Float[np.ndarray, "2"]) -> dict[str, Float[np.ndarray, "*event 2"]]:
        """Change of each parameter's mean with Om0 and sigma8 that are assumed, by fits a step away in each."""
        return {
            name: np.stack(
                [
                    (other.parameters[name] - draws).mean((0, 1)) / step
                    for other, step in zip(others, steps, strict=True)
                ],
                -1,
            )
            for name, draws in self.parameters.items()
        }

    def of_fixed_point(self, assumed: Float[np.ndarray, "2"], slopes: Mapping[str, np.ndarray]) -> "InferenceData":
        """The fit with its draws changed to those of the fixed point: all parameters follow Om0 and sigma8."""
        drawn = np.stack([self.parameters[name] for name in COSMOLOGY], -1) - assumed
        moved = drawn @ _amplified(slopes).T
        parameters = {
            name: torch.as_tensor(draws + np.tensordot(moved, slopes[name], (-1, -1)))
            for name, draws in self.parameters.items()
        }
        idata = self.idata.copy()
        posterior = idata["posterior"]
        for name, draws in {**parameters, **self.population.derived(parameters)}.items():
            posterior[name] = posterior[name].copy(data=np.asarray(draws))
        feedback = [slopes[name].tolist() for name in COSMOLOGY]
        idata.attrs |= {"assumed": assumed.tolist(), "feedback": [each for row in feedback for each in row]}
        return idata


def _amplified(slopes: Mapping[str, np.ndarray]) -> Float[np.ndarray, "2 2"]:
    """(1 - B)^-1: change of the fixed point with that of what is found."""
    return np.linalg.inv(np.eye(2) - np.stack([slopes[name] for name in COSMOLOGY]))
