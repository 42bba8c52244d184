"""Which clusters a survey keeps: P(selected | mass), of the survey and not of a training set.

A cut on the data (richness, a dispersion, a signal) leaves the likelihood of selected data as it is, and enters the
population's likelihood once, through the expected number. Clusters lost for a reason that the data do not show, with a
probability of their mass, also have it as a factor of their own likelihood (`of_data=False`).

Masses are log10_mass [dex]; `log_` is natural.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.population.parameters import Parameters, Priors, log_normal, normal
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.survey import Survey

LogProbability = Callable[[Parameters], Float[Tensor, "*draw #shell mass"]]


class SelectionModel(Protocol):
    """P(selected | mass), its uncertain parameters included."""

    @property
    def of_data(self) -> bool:
        """Whether it is a cut on data that the mass posteriors or observables are conditioned on."""
        ...

    @property
    def priors(self) -> Priors:
        """Of its own parameters, by site."""
        ...

    def bound(
        self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Mapping[str, ScalingRelation]
    ) -> LogProbability:
        """Natural log of P(selected | mass) in each shell, as a function of the parameters.

        Raises:
            ValueError: It is no probability, or needs a relation that is not there.
        """
        ...


@final
@dataclass(frozen=True)
class Everything:
    """No cluster is lost: a complete sample, or one whose selection is left to its own distribution of masses."""

    @property
    def of_data(self) -> bool:
        """Nothing is cut."""
        return True

    @property
    def priors(self) -> Priors:
        """None."""
        return {}

    def bound(
        self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Mapping[str, ScalingRelation]
    ) -> LogProbability:
        """Zero everywhere."""
        zero = torch.zeros(1, len(log10_mass), dtype=torch.float64)
        return lambda parameters: zero


@final
@dataclass(frozen=True)
class KnownSelection:
    """P(selected | mass) as a function, such as a `clustermocks.Selection` fitted to a simulator's attempts.

    Attributes:
        function: From log10 masses [dex], (mass,), to probabilities; of (masses, redshift) with `of_redshift`.
        of_redshift: Whether it takes the redshift of the shell too.
        of_data: Whether it is a cut on the data that the posteriors are conditioned on, such as richness.
    """

    function: Callable[..., Float[np.ndarray, "mass"]]
    of_redshift: bool = False
    of_data: bool = True

    @property
    def priors(self) -> Priors:
        """None: it is known."""
        return {}

    def bound(
        self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Mapping[str, ScalingRelation]
    ) -> LogProbability:
        """Natural log of the function at the masses, and at the shells' redshifts where it depends on them.

        Raises:
            ValueError: It has another shape, leaves [0, 1], or is zero everywhere.
        """
        shells = [(log10_mass, z) for z in survey.redshift] if self.of_redshift else [(log10_mass,)]
        rows = np.stack([_checked(self.function(*shell), log10_mass) for shell in shells])
        _refuse_none(rows, log10_mass)
        with np.errstate(divide="ignore"):
            log_probability = torch.as_tensor(np.log(rows))
        return lambda parameters: log_probability


@final
@dataclass(frozen=True)
class SoftThreshold:
    r"""$P = \Phi[(m - c) / w]$ with uncertain threshold and width: sites `selection_threshold`, `selection_width`.

    Attributes:
        threshold: Normal prior of c, where half of the clusters are kept [dex], (centre, width).
        width: Log-normal prior of w [dex], (median, scatter of its natural log).
        of_data: Whether it is a cut on the data that the posteriors are conditioned on.

    Raises:
        ValueError: A prior's width or median is not positive.
    """

    threshold: tuple[float, float]
    width: tuple[float, float]
    of_data: bool = True

    def __post_init__(self) -> None:
        _ = self.priors  # refuses what is no prior

    @property
    def priors(self) -> Priors:
        """Of threshold and width."""
        owner = type(self).__name__
        return {
            "selection_threshold": normal(owner, "threshold", self.threshold),
            "selection_width": log_normal(owner, "width", self.width),
        }

    def bound(
        self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Mapping[str, ScalingRelation]
    ) -> LogProbability:
        """Natural log of P at the masses."""
        masses = torch.as_tensor(log10_mass)

        def log_probability(parameters: Parameters) -> Float[Tensor, "*draw 1 mass"]:
            threshold, width = (parameters[f"selection_{name}"][..., None, None] for name in ("threshold", "width"))
            return torch.special.log_ndtr((masses - threshold) / width)

        return log_probability


@final
@dataclass(frozen=True)
class AboveCut:
    """Clusters whose observed value of one of the model's observables exceeds a cut.

    Attributes:
        observable: Its name.
        cut: [unit of the observable].
        error: Standard deviation of the observational error near the cut [unit of the observable].

    Raises:
        ValueError: The cut is not finite, or the error negative or not finite.
    """

    observable: str
    cut: float
    error: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.cut) and 0 <= self.error < np.inf):
            raise ValueError(
                f"AboveCut: needs a finite cut and an error of at least 0, found {self.cut} and {self.error}."
            )

    @property
    def of_data(self) -> bool:
        """It cuts on the observable."""
        return True

    @property
    def priors(self) -> Priors:
        """None beside the relation's."""
        return {}

    def bound(
        self, log10_mass: Float[np.ndarray, "mass"], survey: Survey, relations: Mapping[str, ScalingRelation]
    ) -> LogProbability:
        """Natural log of P(observed > cut | mass) in each shell.

        Raises:
            ValueError: The model has no relation for the observable.
        """
        relation = relation_of(self.observable, relations)
        masses, redshift = torch.as_tensor(log10_mass), torch.as_tensor(survey.redshift)
        offset = torch.as_tensor(survey.offset(self.observable))[:, None]

        def log_probability(parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
            mean = relation.mean(masses, parameters, redshift) + offset
            spread = (relation.std(masses, parameters) ** 2 + self.error**2).sqrt()
            return torch.special.log_ndtr((mean - self.cut) / spread)

        return log_probability


def relation_of(observable: str, relations: Mapping[str, ScalingRelation]) -> ScalingRelation:
    """The relation of an observable.

    Raises:
        ValueError: There is none.
    """
    if observable not in relations:
        raise ValueError(
            f"selection: cuts on {observable!r}, of which the model has no relation; it has: "
            f"{', '.join(sorted(relations)) or 'none'}."
        )
    return relations[observable]


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


def _refuse_none(selected: Float[np.ndarray, "shell mass"], log10_mass: Float[np.ndarray, "mass"]) -> None:
    if not selected.any():
        raise ValueError(
            f"population: selection is zero from {log10_mass[0]:.2f} to {log10_mass[-1]:.2f}: such a survey holds "
            "no cluster. It takes log10_mass [dex], not a mass."
        )
