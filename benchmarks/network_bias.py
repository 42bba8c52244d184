"""Bias of a population fit due to the network alone, without the noise of surveys, by number of clusters.

    python benchmarks/network_bias.py [--out runs/recovery] [--surveys 100] [MODEL ...]

If every mass posterior were exact, the score of the population's likelihood (its gradient at the truth) would be zero
on average, and so would its difference from the score of the true masses. Both are averaged over many surveys at the
middle of the priors, observed as those of recovery.py, which must have made its estimator first. A score times the
parameters' covariance is the shift of a fit. The shifts due to the network and due to the measured selection (with the
noise of the surveys) are printed in units of the posterior's width, with the number of clusters at which that of the
network reaches .2. Models: cosmology, mrp.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from mock_surveys import Observatory
from recovery import Case, log_rate

from sbi_clustermass.population import ObservedClusters, Problem, Survey

STEP = 1e-3  # of a coordinate, whose prior is about 1 wide
TOLERATED = 0.2
SIZES = np.geomspace(100, 1e6, 161)  # clusters


class Scores(NamedTuple):
    """Gradients in the sampler's coordinates, at the middle of the priors.

    Attributes:
        inferred: Gradient of the log integral of likelihood and rate of each cluster, (coordinate, cluster).
        true: Gradient of the log rate at each true mass, (coordinate, cluster).
        expected: Gradient of the expected number, (coordinate,).
    """

    inferred: Float[np.ndarray, "coordinate cluster"]
    true: Float[np.ndarray, "coordinate cluster"]
    expected: Float[np.ndarray, "coordinate"]


def scores(case: Case, observatory: Observatory, surveys: int) -> Scores:
    """Scores by central differences, one survey of 1000 clusters at a time."""
    parts = [_of_survey(case, observatory, seed) for seed in range(surveys)]
    inferred, true = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    return Scores(inferred, true, parts[0].expected)


def _of_survey(case: Case, observatory: Observatory, seed: int) -> Scores:
    population = case.population(observatory.selection)
    survey, centre = Survey.of_volume(case.volume(observatory), sample_variance=False), population.coordinates.centre
    at_centre = population.coordinates.parameters(centre)
    masses, posteriors = observatory.survey(log_rate(case.masses, at_centre, survey.shells[0].volume), seed)
    problem = Problem.from_clusters(population, ObservedClusters(posteriors), survey, counts=True)
    grid = problem.likelihood.log10_mass.numpy()

    def values(position: torch.Tensor) -> tuple[np.ndarray, np.ndarray, float]:
        parameters = population.coordinates.parameters(position)
        log_expected = problem.likelihood.log_expected(problem.log_selected_rate(parameters))
        each = problem.terms(parameters)["clusters"] + log_expected
        return each.numpy(), np.interp(masses, grid, problem.log_rate(parameters)[0].numpy()), float(log_expected.exp())

    steps = STEP * torch.eye(len(centre), dtype=torch.float64)
    sides = [(values(centre + step), values(centre - step)) for step in steps]
    found = [[(up[i] - down[i]) / (2 * STEP) for up, down in sides] for i in range(3)]
    return Scores(*(np.array(each) for each in found))


def prior_precision(case: Case) -> Float[np.ndarray, "coordinate coordinate"]:
    """Curvature of the prior in the coordinates."""
    coordinates = case.masses.coordinates

    def log_prior(position: torch.Tensor) -> torch.Tensor:
        return coordinates.log_prior(position, coordinates.parameters(position))

    return -torch.func.hessian(log_prior)(coordinates.centre).numpy()


class Shift(NamedTuple):
    """Shift of one parameter by an average score that is not zero, over the width of its posterior.

    Attributes:
        clusters: Number of clusters over which the next three are summed.
        score: Score of these clusters, (coordinate,).
        noise: Variance of the score, (coordinate, coordinate).
        information: Fisher information of these clusters, (coordinate, coordinate).
        prior: Curvature of the prior, (coordinate, coordinate).
        direction: Gradient of the parameter, (coordinate,).
    """

    clusters: float
    score: np.ndarray
    noise: np.ndarray
    information: np.ndarray
    prior: np.ndarray
    direction: np.ndarray

    def at(self, clusters: float) -> tuple[float, float]:
        """Shift in a survey of so many clusters, and its Monte Carlo error."""
        times = clusters / self.clusters
        covariance = np.linalg.inv(self.prior + times * self.information)
        along = times * covariance @ self.direction / np.sqrt(self.direction @ covariance @ self.direction)
        return float(along @ self.score), float(np.sqrt(along @ self.noise @ along))


def report(case: Case, found: Scores, weight: Float[np.ndarray, "cluster"]) -> None:
    """Print the shifts of surveys of 1000 and 10 000 clusters, and how many clusters are too many."""
    causes = {
        "network": (found.inferred - found.true, np.zeros(len(found.expected))),
        "selection": (found.true, found.expected),
    }
    information, prior = (found.inferred * weight) @ found.inferred.T, prior_precision(case)
    print(f"\n{case.name}: shift over the width of the posterior")
    print(f"  {'parameter':<16}{'cause':<11}{'1000 clusters':>18}{'10 000 clusters':>18}   beyond {TOLERATED} from")
    for name, direction in zip(*_directions(case), strict=True):
        for cause, (gradient, expected) in causes.items():
            score, noise = gradient @ weight - expected, (gradient * weight**2) @ gradient.T
            shift = Shift(weight.sum(), score, noise, information, prior, direction)
            texts = "".join(f"{value:>+10.3f} ± {error:.3f}" for value, error in (shift.at(1e3), shift.at(1e4)))
            print(f"  {name:<16}{cause:<11}{texts}   {_beyond(shift)} clusters")


def _beyond(shift: Shift) -> str:
    too_many = [size for size in SIZES if abs(shift.at(size)[0]) > TOLERATED]
    return f"{too_many[0]:.0f}" if too_many else f"more than {SIZES[-1]:.0f}"


def _directions(case: Case) -> tuple[list[str], Float[np.ndarray, "parameter coordinate"]]:
    """Names of parameters and derived quantities, and their gradients in the coordinates."""
    coordinates, masses = case.masses.coordinates, case.masses

    def all_of(position: torch.Tensor) -> dict[str, torch.Tensor]:
        parameters = coordinates.parameters(position)
        return {**parameters, **masses.derived(parameters)}

    gradients = torch.func.jacrev(all_of)(coordinates.centre)
    return list(gradients), np.array([gradient.numpy() for gradient in gradients.values()])


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description="Bias of a population from the network alone.")
    parser.add_argument("models", nargs="*", default=("cosmology", "mrp"))
    parser.add_argument("--out", type=Path, default=Path("runs/recovery"), help="of recovery.py")
    parser.add_argument("--surveys", type=int, default=100, help="of 1000 clusters")
    given = parser.parse_args()
    observatory = Observatory.load(given.out)
    for model in given.models:
        case = Case(model, 1000)
        found = scores(case, observatory, given.surveys)
        report(case, found, np.full(found.true.shape[1], 1 / given.surveys))


if __name__ == "__main__":
    main()
