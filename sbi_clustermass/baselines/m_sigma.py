"""The M-sigma relation: cluster masses from velocity dispersions alone.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from dataclasses import dataclass
from typing import final

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.kinematics.dispersion import LogDispersion, Method
from clustermocks.kinematics.membership import Removal
from sbi_clustermass.baselines.linear_relation import Direction, FittedRelation, LinearRelation
from sbi_clustermass.baselines.mass_function_prior import Prior


@final
@dataclass(frozen=True)
class MSigma:
    """A straight line between log10 sigma_v and log10 M; by default the one of Ho et al. 2019 (ApJ 887, 25).

    Theirs is the forward relation, log10 sigma = a + b log10 M, inverted, fitted to masses flat in log10 M. Inverting
    it stretches masses, so that a constant has less scatter on clusters that follow the mass function. A fair baseline
    is the inverse regression, or the forward relation as a likelihood, each with the mass function as the prior.

    Attributes:
        method: Estimator of the dispersion.
        interlopers: How interlopers are removed first.
        direction: Which line is fitted (`LinearRelation`).
        prior: Distribution of masses for which it is fitted (`LinearRelation`).
    """

    method: Method = "std"
    interlopers: Removal = "none"
    direction: Direction = "inverted"
    prior: Prior = "flat"

    def __post_init__(self) -> None:
        LogDispersion(self.method, self.interlopers)  # which refuse unknown names
        LinearRelation(self.direction, self.prior)

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> FittedRelation:
        """Fit the line to mocks of known mass; nothing is random.

        Raises:
            ValueError: Fewer than three clusters of known and different masses and positive dispersion.
        """
        return LinearRelation(self.direction, self.prior).fit(LogDispersion(self.method, self.interlopers), mocks)
