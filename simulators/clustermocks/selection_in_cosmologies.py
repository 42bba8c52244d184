"""P(selected | mass, Om0, sigma8), fitted to mocks whose true cosmology was drawn (`CosmologyPrior`).

More haloes around a cluster put more interlopers into its field, which brings poorer clusters above a cut in richness.
Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import final

import numpy as np
from jaxtyping import Float

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.catalogue.schema import COSMOLOGY
from clustermocks.haloes.cosmology import Cosmology
from clustermocks.selection import Selection, largest_likelihood, splines


@final
@dataclass(frozen=True)
class SelectionInCosmologies:
    """Selection as a function of the cosmology: the spline's coefficients are quadratic in Om0 and sigma8.

    Attributes:
        coefficients: For each coefficient of the spline those of 1, x, y, x^2, x y, y^2, where x and y are Om0 and
            sigma8 that run from -1 to 1 over their ranges.
        low: Lowest attempted log10 mass [dex].
        high: Highest attempted log10 mass [dex].
        Om0: Lowest and highest matter density of the mocks [1].
        sigma8: Lowest and highest amplitude of the mocks [1].
        covariance: Covariance of the errors of all coefficients, in the order in which they are listed.
    """

    coefficients: tuple[tuple[float, ...], ...]
    low: float
    high: float
    Om0: tuple[float, float]
    sigma8: tuple[float, float]
    covariance: Float[np.ndarray, "coefficient coefficient"] = field(compare=False, repr=False)

    def at(self, cosmology: Cosmology) -> Selection:
        """P(selected | mass) in one cosmology.

        Raises:
            ValueError: It lies outside the ranges of the mocks.
        """
        place = np.array([[getattr(cosmology, name) for name in COSMOLOGY]])
        ends = np.array([self.Om0, self.sigma8])
        if not ((ends[:, 0] <= place) & (place <= ends[:, 1])).all():
            raise ValueError(
                f"selection: Om0 {cosmology.Om0:g} and sigma8 {cosmology.sigma8:g} lie outside those of the mocks, "
                f"{self.Om0[0]:g} to {self.Om0[1]:g} and {self.sigma8[0]:g} to {self.sigma8[1]:g}."
            )
        terms = _terms(place, ends)[0]
        coefficients = np.array(self.coefficients)
        errors = self.covariance.reshape(*coefficients.shape, *coefficients.shape)
        covariance = np.einsum("iakb,a,b->ik", errors, terms, terms)
        return Selection(tuple(float(c) for c in coefficients @ terms), self.low, self.high, covariance)


def fit_selection_in_cosmologies(catalogue: Catalogue) -> SelectionInCosmologies:
    """Fit P(selected | mass, Om0, sigma8) to every attempted cluster, as `fit_selection` does in one cosmology.

    Args:
        catalogue: Mocks drawn from a `CosmologyPrior`.

    Raises:
        ValueError: Their true cosmologies are not known, fewer than six, or all of one Om0 or sigma8.
    """
    if not set(COSMOLOGY) <= set(catalogue.attempts.column_names):
        raise ValueError(
            "selection: the catalogue does not hold the true cosmology of its attempts.\n"
            "  try:    HaloModel.simulate(..., cosmologies=CosmologyPrior())"
        )
    (log10_mass, selected), low, high = catalogue.attempted(), *_ends(catalogue.attempted()[0])
    drawn = np.stack([catalogue.attempts[name].to_numpy() for name in COSMOLOGY], 1)
    places, group = np.unique(drawn, axis=0, return_inverse=True)
    if len(places) < 6 or not np.ptp(places, axis=0).all():
        raise ValueError(
            f"selection: {len(places)} cosmologies in the mocks; a quadratic takes six or more, which differ in both "
            "Om0 and sigma8."
        )
    ends = np.stack([places.min(0), places.max(0)], 1)
    order = np.argsort(group.ravel(), kind="stable")
    edges = np.concatenate([[0], np.cumsum(np.bincount(group.ravel()))])
    basis = splines(log10_mass[order], low, high)
    parts = [(basis[a:b], selected[order][a:b].astype(float)) for a, b in pairwise(edges)]
    found, covariance = largest_likelihood(parts, _terms(places, ends))
    coefficients = tuple(tuple(float(c) for c in row) for row in found)
    Om0, sigma8 = (_ends(column) for column in places.T)
    return SelectionInCosmologies(coefficients, low, high, Om0, sigma8, covariance)


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _terms(places: Float[np.ndarray, "place 2"], ends: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "place 6"]:
    x, y = (2 * (places - ends[:, 0]) / (ends[:, 1] - ends[:, 0]) - 1).T
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)
