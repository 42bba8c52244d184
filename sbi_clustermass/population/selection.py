"""Selection of a survey: P(selected | mass), which need not be that of a training set.

A cut on the data (richness, a dispersion, a signal) leaves the likelihood of selected data unchanged, and enters the
population's likelihood once, through the expected number. If clusters are lost for a reason that the data do not show,
with a probability that depends on mass, the likelihood of each cluster has that probability as a factor too
(`of_data=False`).

Masses are log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.observables import Observable, Observed
from sbi_clustermass.population.parameters import Parameters, Priors
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.survey import Survey

LogProbability = Callable[[Parameters], Float[Tensor, "*draw #shell mass"]]
Relations = Mapping[str, ScalingRelation]


class SelectionModel(Protocol):
    """P(selected | mass): by default a cut on data, without parameters of its own."""

    @property
    def of_data(self) -> bool:
        """Whether it is a cut on data that the mass posteriors or observables are conditioned on."""
        return True

    @property
    def priors(self) -> Priors:
        """Priors of its own parameters, by the name of their Pyro site."""
        return {}

    def bind(self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Relations) -> LogProbability:
        """Return natural log of P(selected | mass) in each shell, as a function of the parameters.

        Raises:
            ValueError: It is not a probability, or needs a relation that the model lacks.
        """
        ...


@final
@dataclass(frozen=True)
class Everything(SelectionModel):
    """No cluster is lost: a complete sample, or one whose selection is part of its own distribution of masses."""

    def bind(self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Relations) -> LogProbability:
        """Return zero everywhere."""
        zero = torch.zeros(1, len(log10_mass), dtype=torch.float64)
        return lambda parameters: zero


@final
@dataclass(frozen=True)
class KnownSelection(SelectionModel):
    """P(selected | mass) as a function, such as a `clustermocks.Selection` fitted to a simulator's attempts.

    Attributes:
        function: Function of log10 masses [dex], (mass,), that returns probabilities; with `of_redshift`, of masses and
            a redshift.
        of_redshift: Whether the function takes the redshift of the shell too.
        of_data: Whether it is a cut on the data that the posteriors are conditioned on, such as richness.
    """

    function: Callable[..., Float[np.ndarray, "mass"]]
    of_redshift: bool = False
    of_data: bool = True

    def bind(self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Relations) -> LogProbability:
        """Return natural log of the function at the masses, and at the redshifts of the shells if it depends on them.

        Raises:
            ValueError: The result has another shape, leaves [0, 1], or is zero everywhere.
        """
        shells = [(log10_mass, z) for z in survey.redshift] if self.of_redshift else [(log10_mass,)]
        rows = np.stack([_checked(self.function(*shell), log10_mass) for shell in shells])
        if not rows.any():
            raise ValueError(
                f"population: selection is zero from {log10_mass[0]:.2f} to {log10_mass[-1]:.2f}: such a survey holds "
                "no cluster. It takes log10_mass [dex], not a mass."
            )
        with np.errstate(divide="ignore"):
            log_probability = torch.as_tensor(np.log(rows))
        return lambda parameters: log_probability


@final
@dataclass(frozen=True)
class AboveCut(SelectionModel):
    """Cut on the observed value of one of the model's observables.

    In each shell of the survey the mean of the observable is shifted by the offset of its field.

    Attributes:
        observable: Name of the observable.
        cut: Cut on the observed value [unit of the observable; for a `Significance`, xi].
        error: Standard deviation of the observational error near the cut [unit of the observable]; 0 for a
            `Significance`, whose error is known.
        kind: Kind of observable: `Observable` or `Significance`.

    Raises:
        ValueError: The cut is not finite, or the error is negative or not finite.
    """

    observable: str
    cut: float
    error: float = 0.0
    kind: type[Observed] = Observable

    def __post_init__(self) -> None:
        if not (np.isfinite(self.cut) and 0 <= self.error < np.inf):
            raise ValueError(
                f"AboveCut: needs a finite cut and an error of at least 0, found {self.cut} and {self.error}."
            )

    def bind(self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Relations) -> LogProbability:
        """Return natural log of P(observed > cut | mass) in each shell.

        Raises:
            ValueError: The model has no relation for the observable.
        """
        if self.observable not in relations:
            raise ValueError(
                f"selection: cuts on {self.observable!r}, of which the model has no relation; it has: "
                f"{', '.join(sorted(relations)) or 'none'}."
            )
        relation = relations[self.observable]
        masses, redshift = torch.as_tensor(log10_mass), torch.as_tensor(survey.redshift)
        offset = torch.as_tensor(survey.offset(self.observable))[:, None]

        def log_probability(parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
            mean = relation.mean(masses, parameters, redshift) + offset
            exceeds = partial(self.kind.log_exceeds, self.cut, mean, error=self.error)
            return relation.with_outliers(exceeds, relation.std(masses, parameters), parameters)

        return log_probability


def _checked(found: object, log10_mass: Float[np.ndarray, "mass"]) -> Float[np.ndarray, "mass"]:
    selected = np.asarray(found, dtype=np.float64)
    if selected.shape != log10_mass.shape:
        raise ValueError(
            f"population: selection must return one probability a mass, shape {log10_mass.shape}, got {selected.shape}."
        )
    bad = np.flatnonzero(~((selected >= 0) & (selected <= 1)))
    if bad.size:
        raise ValueError(
            f"population: selection must lie in [0, 1], got {selected[bad[0]]} at log10_mass {log10_mass[bad[0]]:.3f} "
            f"and at {bad.size - 1} other masses. Pass P(selected | log10_mass), as fit_selection returns it."
        )
    return selected
