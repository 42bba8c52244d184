"""Selection of a survey: P(selected | mass), which need not be that of a training set.

A cut on the data (richness, a dispersion, a signal) leaves the likelihood of selected data unchanged, and enters the
population's likelihood once, through the expected number. If clusters are lost for a reason that the data do not show,
with a probability that depends on mass, the likelihood of each cluster has that probability as a factor too
(`of_data=False`).

Masses are log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from clustermocks.selection import Selection
from sbi_clustermass.population.observables import Observable, Observed
from sbi_clustermass.population.parameters import Parameters, Priors
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.survey import Survey

LogProbability = Callable[[Parameters], Float[Tensor, "*draw #shell mass"]]
Relations = Mapping[str, ScalingRelation]


class SelectionModel(Protocol):
    """P(selected | mass): by default a cut on data, without parameters of its own, and known exactly."""

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

    def log_errors(
        self, log10_mass: Float[np.ndarray, "mass"], survey: Survey
    ) -> Float[np.ndarray, "error shell mass"]:
        """Independent errors of ln P(selected | mass): it is off by their sum times standard normal numbers."""
        return np.zeros((0, len(survey), len(log10_mass)))


@final
@dataclass(frozen=True)
class Everything(SelectionModel):
    """No cluster is lost: a complete sample, or one whose selection is part of its own distribution of masses."""

    def bind(self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Relations) -> LogProbability:
        """Return zero everywhere."""
        zero = torch.zeros(1, len(log10_mass), dtype=torch.float64)
        return lambda parameters: zero


@final
@dataclass(frozen=True, kw_only=True)
class KnownSelection:
    """P(selected | mass) as a function, which is known.

    Attributes:
        function: Function of log10 masses [dex], (mass,), that returns probabilities; with `of_redshift`, of masses and
            a redshift.
        of_data: Whether it is a cut on the data that the posteriors are conditioned on, such as their galaxies' number.
            A cut on anything else, for masses that come from elsewhere, is not: with the wrong answer a fit is off by
            many of its errors.
        of_redshift: Whether the function takes the redshift of the shell too.
        threshold_error: Standard deviation of an error of its threshold, by which it is shifted in mass [dex].
    """

    function: Callable[..., Float[np.ndarray, "mass"]] = field(kw_only=False)
    of_data: bool
    of_redshift: bool = False
    threshold_error: float = 0.0

    @property
    def priors(self) -> Priors:
        """It has no parameters."""
        return {}

    def bind(self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Relations) -> LogProbability:
        """Return natural log of the function at the masses, and at the redshifts of the shells if it depends on them.

        Raises:
            ValueError: The result has another shape, leaves [0, 1], or is zero everywhere.
        """
        log_probability = torch.as_tensor(self._log(log10_mass, survey))
        return lambda parameters: log_probability

    def log_errors(
        self, log10_mass: Float[np.ndarray, "mass"], survey: Survey
    ) -> Float[np.ndarray, "error shell mass"]:
        """The error of the threshold, if there is one."""
        return _threshold_errors(self._log(log10_mass, survey), log10_mass, survey, self.threshold_error)

    def _log(self, log10_mass: Float[np.ndarray, "mass"], survey: Survey) -> Float[np.ndarray, "#shell mass"]:
        shells = [(log10_mass, z) for z in survey.redshift] if self.of_redshift else [(log10_mass,)]
        rows = np.stack([_checked(self.function(*shell), log10_mass) for shell in shells])
        if not rows.any():
            raise ValueError(
                f"population: selection is zero from {log10_mass[0]:.2f} to {log10_mass[-1]:.2f}: such a survey holds "
                "no cluster. It takes log10_mass [dex], not a mass."
            )
        with np.errstate(divide="ignore"):
            return np.log(rows)


@final
@dataclass(frozen=True)
class MeasuredSelection(SelectionModel):
    """P(selected | mass) as measured on mocks by `clustermocks.fit_selection`, with the error of that measurement.

    It is a cut on the data that the posteriors are conditioned on. The fit marginalises over its error, and warns if
    the mocks were too few.

    Attributes:
        selections: P(selected | mass), the same in all shells, or one for each.
        threshold_error: Standard deviation of the difference between the mocks' threshold and the survey's, by which it
            is shifted in mass [dex].
    """

    selections: Selection | tuple[Selection, ...]
    threshold_error: float = 0.0

    def bind(self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Relations) -> LogProbability:
        """Return natural log of the measured selections.

        Raises:
            ValueError: There is neither one selection nor one for each shell.
        """
        log_probability = torch.as_tensor(self._log(log10_mass, survey))
        return lambda parameters: log_probability

    def log_errors(
        self, log10_mass: Float[np.ndarray, "mass"], survey: Survey
    ) -> Float[np.ndarray, "error shell mass"]:
        """Errors of each measurement, which shells share if they share it, and of the threshold."""
        parts = [_threshold_errors(self._log(log10_mass, survey), log10_mass, survey, self.threshold_error)]
        for number, selection in enumerate(self._each):
            errors = selection.log_errors(log10_mass)
            used = np.arange(len(survey)) == number if len(self._each) > 1 else np.ones(len(survey), bool)
            parts.append(errors[:, None] * used[:, None])
        return np.concatenate(parts)

    @property
    def _each(self) -> tuple[Selection, ...]:
        return self.selections if isinstance(self.selections, tuple) else (self.selections,)

    def _log(self, log10_mass: Float[np.ndarray, "mass"], survey: Survey) -> Float[np.ndarray, "#shell mass"]:
        if len(self._each) not in (1, len(survey)):
            raise ValueError(
                f"population: {len(self._each)} measured selections for {len(survey)} shells. Pass one for all or one "
                "for each."
            )
        return np.stack([selection.log(log10_mass) for selection in self._each])


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


def _threshold_errors(
    log_probability: Float[np.ndarray, "#shell mass"],
    log10_mass: Float[np.ndarray, "mass"],
    survey: Survey,
    error: float,
) -> Float[np.ndarray, "error shell mass"]:
    """Change of ln P by an error of the threshold: its slope times that error."""
    if not error:
        return np.zeros((0, len(survey), len(log10_mass)))
    with np.errstate(invalid="ignore"):
        slope = np.nan_to_num(np.gradient(log_probability, log10_mass, axis=1), nan=0.0, posinf=0.0, neginf=0.0)
    return error * np.broadcast_to(slope, (1, len(survey), len(log10_mass)))


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
