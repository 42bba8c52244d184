"""Mocks of other cosmologies than the one that their observer assumes.

An observer turns angles into lengths, and redshifts into distances, by an assumed cosmology. The true one decides how
many haloes surround a cluster, how they cluster and move, how large and how concentrated haloes are, and what length
an angle is. Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import dataclass, field, replace
from typing import TypeVar, final

import numpy as np

from clustermocks.haloes.cosmology import Cosmology
from clustermocks.io.settings import check_ranges
from clustermocks.mocks.cluster_model import ClusterModel
from clustermocks.mocks.prior import LAW, Law, Prior, Range
from clustermocks.mocks.survey import RadialCompleteness

Model = TypeVar("Model", bound=ClusterModel)
_PLASTIC = 1.3247179572447458  # real root of x^3 = x + 1
_STEP = 1 / np.array([_PLASTIC, _PLASTIC**2])


@final
@dataclass(frozen=True)
class CosmologyPrior(Prior):
    """Flat prior of the true cosmology, of which the observer of the mocks knows nothing: he assumes the model's.

    Tables of haloes take about a second for each cosmology, so that mocks share a number of them, which are spread
    evenly (the R2 sequence of Roberts 2018, extremelearning.com.au). Everything that depends on cosmology does so
    smoothly over these ranges.

    Attributes:
        Om0: Matter density today, in units of the critical density [1].
        sigma8: Linear rms density contrast in spheres of 8 h^-1 Mpc today [1].
        number: Number of different cosmologies.
    """

    Om0: Range = field(default=(0.2, 0.42), metadata={LAW: Law(0.1, 0.7)})
    sigma8: Range = field(default=(0.65, 1.0), metadata={LAW: Law(0.4, 1.4)})
    number: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, number=(1, 10_000))

    def draw(self, assumed: Cosmology, rng: np.random.Generator) -> Cosmology:
        """Draw one of the cosmologies: the assumed one but for Om0 and sigma8."""
        shares = (0.5 + rng.integers(self.number) * _STEP) % 1
        values = zip(self.laws.items(), shares, strict=True)
        return replace(assumed, **{name: law.quantile(getattr(self, name), share) for (name, law), share in values})


def seen_from(model: Model, cosmology: Cosmology) -> tuple[Model, float]:
    """The model in another cosmology than its own, by which its observer goes on measuring lengths.

    Angles are what they were: the field, the error of the centre, and a core that was observed more deeply.

    Returns:
        The model with true lengths, and the factor that turns these into lengths as the observer sees them.
    """
    redshift = model.observation.redshift
    stretch = float(model.cosmology.comoving_distance(redshift) / cosmology.comoving_distance(redshift))
    completeness = model.completeness
    if isinstance(completeness, RadialCompleteness):
        completeness = replace(completeness, core=completeness.core / stretch)
    changed = replace(
        model,
        cosmology=cosmology,
        observation=replace(model.observation, aperture=model.observation.aperture / stretch),
        centre_error=model.centre_error / stretch,
        completeness=completeness,
    )
    return changed, stretch
