"""Fit a population model to the posteriors of many clusters.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; volumes are comoving [h^-3 Mpc^3].
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import pyro
from jaxtyping import Bool, Float
from torch import Tensor

from sbi_clustermass.population.likelihood import PopulationLikelihood, Selection
from sbi_clustermass.population.mass_function import MassFunction
from sbi_clustermass.population.sampling import Sampler, draw
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from arviz import InferenceData

MAX_OUTSIDE = 0.01
_SAMPLER = Sampler()


def fit(
    model: MassFunction,
    posteriors: MassPosteriors,
    *,
    selection: Selection,
    volume: float | None = None,
    counts: bool = True,
    sampler: Sampler = _SAMPLER,
) -> "InferenceData":
    """Posterior of a population's parameters, given each cluster's mass posterior and the survey's selection.

    The likelihood is that of `population_model`. Clusters count as independent haloes: pass one line of sight a host.
    `selection` must be a cut on the data that the posteriors are conditioned on, such as richness. Where a survey
    also loses clusters by chance, or by what the posteriors do not see, with probability P'(log10_mass), multiply
    `selection` by P', and subtract log P' on the grid from the posteriors' `log_prior`.

    Args:
        model: The mass function and the priors of its parameters.
        posteriors: Mass posteriors; their training prior is divided out.
        selection: The survey's P(selected | log10_mass), from masses [dex] to [0, 1], such as a
            `clustermocks.Selection`.
        volume: Comoving volume of the survey [h^-3 Mpc^3]; needed for counts.
        counts: Whether the number of clusters informs the fit (Poisson). If not, only the shape is fitted, and the
            amplitude's posterior is its prior.
        sampler: Settings of the sampler.

    Returns:
        Groups `posterior` (parameters and what is derived from them), `log_likelihood` (`clusters`: each cluster's data
        given that it was selected; `count`: their Poisson number, up to -log N!; together the fitted likelihood),
        `sample_stats` (`diverging`), `observed_data` (each cluster's posterior mean and standard deviation [dex]) and
        `constant_data` (volume, and the selection on its masses). Its attribute `model` records the model as JSON.

    Raises:
        ValueError: More than 1 % of the expected selected clusters lie outside the posteriors' grid, at the centre of
            the priors or at the fitted posterior mean; a likelihood or the selection is invalid; or counts have no
            volume.

    Warns:
        UserWarning: R-hat exceeds 1.05, fewer than 100 draws are effective, or trajectories diverged.
    """
    if counts and not (volume is not None and 0 < volume < np.inf):
        raise ValueError(
            f"population: counts need the survey's volume [h^-3 Mpc^3], got {volume}. Pass it, or counts=False."
        )
    likelihood = PopulationLikelihood.from_posteriors(posteriors, selection=selection, mass_range=model.mass_range)
    problem = _Problem(model, likelihood, volume if counts else None)
    problem.refuse_outside(model.centre, "at the centre of the model's priors")
    positions, diverging = draw(problem.potential, model.centre, sampler)
    problem.refuse_outside(positions.mean(dim=(0, 1)), "at the fitted posterior mean")
    idata = _inference_data(problem, posteriors, positions, diverging)
    _warn_unless_converged(idata)
    return idata


def population_model(model: MassFunction, likelihood: PopulationLikelihood, volume: float | None) -> None:
    r"""Pyro model of a survey's clusters, for Pyro's own samplers and guides: the density from which `fit` draws.

    $\ln\mathcal{L} = \sum_i \ln (\int L_i \phi\,dm / \int \phi P\,dm) + N \ln N_e - N_e$ with
    $N_e = V \int \phi P\,dm$; it equals $\sum_i \ln \int L_i \phi V\,dm - N_e$. Without a volume, only the first sum.

    References:
        Loredo 2004, AIP Conf. Proc. 735, 195; Mandel, Farr & Gair 2019, MNRAS 486, 1086.
    """
    log_phi = model(likelihood.log10_mass)
    for name, term in _terms(likelihood, log_phi, volume).items():
        pyro.factor(name, term.sum())


def _terms(
    likelihood: PopulationLikelihood, log_phi: Float[Tensor, "*draw mass"], volume: float | None
) -> dict[str, Float[Tensor, "..."]]:
    log_clusters, log_count = likelihood.log_density(log_phi, 1.0 if volume is None else volume)
    return {"clusters": log_clusters} if volume is None else {"clusters": log_clusters, "count": log_count}


@final
@dataclass(frozen=True)
class _Problem:
    """A population model and the survey it is fitted to; without a volume, only its shape is."""

    model: MassFunction
    likelihood: PopulationLikelihood
    volume: float | None

    def log_phi(self, parameters: Mapping[str, Float[Tensor, "*draw"]]) -> Float[Tensor, "*draw mass"]:
        return self.model.log_density(self.likelihood.log10_mass, parameters)

    def potential(self, position: Float[Tensor, "parameter"]) -> Float[Tensor, ""]:
        """Negative log posterior density in the sampler's coordinates."""
        parameters = self.model.parameters(position)
        terms = _terms(self.likelihood, self.log_phi(parameters), self.volume)
        return -self.model.log_prior(parameters) - sum(term.sum() for term in terms.values())

    def refuse_outside(self, position: Float[Tensor, "parameter"], where: str) -> None:
        """Refuse a survey too much of which lies where the posteriors are blind."""
        log_phi = self.log_phi(self.model.parameters(position))
        below, above = self.likelihood.outside(log_phi)
        if below + above <= MAX_OUTSIDE:
            return
        grid = self.likelihood.log10_mass[self.likelihood.support]
        low, high = float(grid[0]), float(grid[-1])
        need_low, need_high = self.likelihood.support_holding(log_phi, 1 - 0.5 * MAX_OUTSIDE)
        raise ValueError(
            f"population: {below + above:.1%} of the expected selected clusters lie outside the posteriors' masses, "
            f"{where}. More than {MAX_OUTSIDE:.0%} would bias the fit.\n"
            f"  found:  {below:.1%} below log10_mass {low:.2f}, {above:.1%} above {high:.2f}\n"
            f"  try:    raise the survey's richness cut until it hardly selects clusters of log10_mass < {low:.2f}, or "
            f"train the estimator on {min(need_low, low):.2f} to {max(need_high, high):.2f}"
        )


def _inference_data(
    problem: _Problem,
    posteriors: MassPosteriors,
    positions: Float[Tensor, "chain draw parameter"],
    diverging: Bool[np.ndarray, "chain draw"],
) -> "InferenceData":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # arviz announces its next major version at import
        import arviz

    model, likelihood = problem.model, problem.likelihood
    parameters = model.parameters(positions)
    draws = {name: value.numpy() for name, value in {**parameters, **model.derived(parameters)}.items()}
    terms = _terms(likelihood, problem.log_phi(parameters), problem.volume)
    return arviz.from_dict(
        posterior=draws,
        log_likelihood={name: term.numpy() for name, term in terms.items()},
        sample_stats={"diverging": diverging},
        observed_data={"log10_mass_mean": posteriors.mean, "log10_mass_std": posteriors.std},
        constant_data={"p_selected": likelihood.selected.numpy(), "volume": problem.volume or np.nan},
        coords={"cluster": list(posteriors.names), "log10_mass": likelihood.log10_mass.numpy()},
        dims={
            "clusters": ["cluster"],
            "log10_mass_mean": ["cluster"],
            "log10_mass_std": ["cluster"],
            "p_selected": ["log10_mass"],
        },
        attrs={"model": json.dumps({"name": type(model).__name__, **asdict(model)})},
    )


def _warn_unless_converged(idata: "InferenceData") -> None:
    import arviz

    n_diverging = int(idata["sample_stats"]["diverging"].sum())
    names = list(idata["posterior"].data_vars)
    draws = {name: idata["posterior"][name].values for name in names}
    ess = {name: float(arviz.ess(values)) for name, values in draws.items()}
    rhat = {name: float(arviz.rhat(values)) for name, values in draws.items() if len(values) > 1}
    found = [f"R-hat of {name} is {value:.3f} (at most 1.05)" for name, value in rhat.items() if value > 1.05]
    found += [f"{name} has {value:.0f} effective draws (at least 100)" for name, value in ess.items() if value < 100]
    if n_diverging:
        found.append(f"{n_diverging} of {idata['sample_stats']['diverging'].size} trajectories diverged")
    if found:
        warnings.warn(f"population fit: {'; '.join(found)}. Run more warm-up and samples.", UserWarning, stacklevel=3)
