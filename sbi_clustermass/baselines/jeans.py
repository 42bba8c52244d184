"""The Jeans likelihood of projected phase space, in the manner of MAMPOSSt (Mamon, Biviano & Boue 2013).

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s], `log_` is natural.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, Self, TypeAlias, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.mass_distributions import HaloMassFunction
from clustermocks.observation import Observation
from clustermocks.spherical_jeans.galaxies import JeansGalaxies
from clustermocks.spherical_jeans.model import LIMITS, SphericalJeans
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.baselines.jeans_cluster import GalaxyBatch, GalaxyModel, log_likelihood
from sbi_clustermass.baselines.jeans_densities import trial_halos
from sbi_clustermass.posterior import MassPosteriors

Background: TypeAlias = float | Literal["fitted", "marginalised", "law"]

_REDSHIFTS = 0.005  # observed clusters are evaluated together up to this difference
_FEWEST = 10  # clusters whose masses define a range
_CHUNK = 500  # clusters evaluated together: their galaxies fit into a processor's cache


@final
@dataclass(frozen=True)
class JeansLikelihood:
    r"""Posterior of the mass from p(R, v | M) of a spherical NFW cluster in Jeans equilibrium, among interlopers.

    Members are those of `SphericalJeans`: NFW in space, with velocities Gaussian at every point, of the second moments
    of the Jeans equation. None of this is fitted to mocks. Interlopers are a second population with density b:
    a galaxy is at R, v with $\mu p + B b$, where mu members and B interlopers are expected in the cylinder.

    Attributes:
        galaxies: Concentration and anisotropy of the members, and their number if `richness` is used. Scatter in
            concentration or anisotropy is integrated out, at 9 or 5 times the cost.
        interlopers: "none": every galaxy is a member; masses whose R_vir does not reach all galaxies are impossible.
            "uniform": spread evenly over the cylinder. "mamon2010": the law of Mamon, Biviano & Murante 2010, which
            scales with the cluster and describes galaxies outside r200c, where members then end.
        background: Number of interlopers. A number is their mean B in the cylinder. "fitted" takes that mean from the
            mocks. "marginalised" gives every share of a cluster's galaxies the same prior probability. "law" is the
            number of mamon2010 for the number of members. None is "marginalised" if `richness` is False, and otherwise
            "law" for mamon2010 and "fitted" for uniform.
        richness: Whether the number of galaxies constrains the mass. False: only distances and velocities do, given the
            number. True: the mean number of members is that of `galaxies` at each mass. "independent": it is
            `galaxies.number` in the cylinder at any mass, as in `SphericalJeans(richness="independent")`; it
            differs from False only in what it implies for membership.
        prior: Prior of the mass between the ends of the support: "flat" in log10 M, or the "mass-function" (Tinker et
            al. 2008) at the redshift and in the cosmology of the mocks.
        support: Lowest and highest log10 mass [dex]; None for those of the mocks.
        step: Largest step of the posterior's grid [dex].

    References:
        Mamon, Biviano & Boue 2013, MNRAS 429, 3079, sect. 2; the counts are those of an inhomogeneous Poisson process
        whose mean scatters (`clustermocks.spherical_jeans.poisson`).

    Example:
        >>> from clustermocks import FlatMasses, SphericalJeans
        >>> model = SphericalJeans(background=5.0)
        >>> mocks = model.simulate(FlatMasses(14.0, 15.0).draw(20, seed=1), seed=1)
        >>> fitted = JeansLikelihood.from_model(model, step=0.05).fit(mocks)
        >>> fitted.predict(mocks).log10_mass.shape == (len(mocks),)
        True
    """

    galaxies: JeansGalaxies = field(default_factory=JeansGalaxies)
    interlopers: Literal["none", "uniform", "mamon2010"] = "uniform"
    background: Background | None = None
    richness: bool | Literal["independent"] = False
    prior: Literal["flat", "mass-function"] = "flat"
    support: tuple[float, float] | None = None
    step: float = 0.02

    def __post_init__(self) -> None:
        for name, allowed in (
            ("interlopers", ("none", "uniform", "mamon2010")),
            ("richness", (False, True, "independent")),
            ("prior", ("flat", "mass-function")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"JeansLikelihood: {name} must be one of {allowed}, found {getattr(self, name)!r}.")
        if not 0 < self.step <= 0.2:
            raise ValueError(f"JeansLikelihood: step must be above 0 and at most .2 dex, found {self.step!r}.")
        if self.support is not None:
            _check_support(self.support)
        self._check_background()

    def _check_background(self) -> None:
        amount, why = self.background, None
        if self.interlopers == "none" and amount is not None:
            why = "there are no interlopers: leave it out"
        elif amount == "marginalised" and self.richness:
            why = "where the number of galaxies counts it must be a number or 'fitted'"
        elif amount == "law" and self.interlopers != "mamon2010":
            why = "only mamon2010 has such a law"
        elif isinstance(amount, str) and amount not in ("fitted", "marginalised", "law"):
            why = "it is a number, 'fitted', 'marginalised' or 'law'"
        elif isinstance(amount, int | float) and not 0 < amount <= 1e4:
            why = "it must be above 0 and at most 10000 galaxies"
        if why:
            raise ValueError(f"JeansLikelihood: background={amount!r} with interlopers={self.interlopers!r}: {why}.")

    @classmethod
    def from_model(
        cls, model: SphericalJeans, *, support: tuple[float, float] | None = None, step: float = 0.02
    ) -> Self:
        """Take over the likelihood of `SphericalJeans`: posteriors of its clusters are exact.

        Args:
            model: The model of the clusters, with their observation and cosmology.
            support: Lowest and highest log10 mass of a flat prior [dex]; None for those of the mocks.
            step: Largest step of the grid [dex].

        Raises:
            ValueError: The model has free parameters besides the mass.
        """
        if model.free:
            raise ValueError(f"JeansLikelihood.from_model: the mass alone may be free, found free={model.free}.")
        return cls(
            galaxies=model.galaxies,
            interlopers="uniform" if model.background else "none",
            background=model.background or None,
            richness=True if model.richness == "mass" else "independent",
            support=support,
            step=step,
        )

    @property
    def resolved_background(self) -> Background | None:
        """Number of interlopers with the default for None filled in; None without interlopers."""
        if self.background is not None or self.interlopers == "none":
            return self.background
        if not self.richness:
            return "marginalised"
        return "law" if self.interlopers == "mamon2010" else "fitted"

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> "FittedJeans":
        """Take the range of masses, and with background="fitted" the number of interlopers, from mocks.

        Raises:
            ValueError: Fewer than ten known masses and no support, masses out of 12.5 to 15.7, or a number of
                interlopers to be fitted without known members in the catalogue.
        """
        low, high = self.support or _range_of(mocks)
        _check_support((low, high))
        grid = np.linspace(low, high, max(8, int(np.ceil((high - low) / self.step)) + 1))
        log_prior = np.zeros(grid.shape)
        if self.prior == "mass-function":
            masses = HaloMassFunction(
                low=low, high=high, redshift=mocks.observation.redshift, cosmology=mocks.cosmology
            )
            log_prior = np.log(masses.density(grid))
        amount = self.resolved_background
        return FittedJeans(self, grid, log_prior, mean_interlopers(mocks) if amount == "fitted" else amount)

    def log_likelihood(
        self, clusters: Catalogue, log10_mass: ArrayLike, *, background: float | None = None
    ) -> Float[np.ndarray, "cluster mass"]:
        r"""Natural log of the density of each cluster's galaxies on the sky and in velocity, at each mass.

        Args:
            clusters: Clusters, with their cylinder, cosmology and redshift (the column `redshift`, if present).
            log10_mass: log10 M200c [dex], (mass,), 12.5 to 15.7.
            background: Number of interlopers, for background="fitted".

        Returns:
            [(h^2 Mpc^-2 s/km)^N], with the probability of N if `richness` is used; up to a constant per cluster if
            members are marginalised. -inf where a galaxy lies outside R_vir and there are no interlopers.

        Raises:
            ValueError: A mass is out of range, or the number of interlopers is missing.
        """
        masses = np.asarray(log10_mass, float)
        _check_range(float(masses.min()), float(masses.max()))
        log_like = np.empty((len(clusters), len(masses)))
        redshift = _redshifts(clusters)
        for z in np.unique(redshift):
            rows = np.flatnonzero(redshift == z)
            population = self._population(replace(clusters.observation, redshift=float(z)), background)
            log_like[rows] = self._at_redshift(clusters, rows, population, masses)
        return log_like

    def _at_redshift(
        self,
        clusters: Catalogue,
        rows: Int[np.ndarray, "row"],
        population: GalaxyModel,
        masses: Float[np.ndarray, "mass"],
    ) -> Float[np.ndarray, "row mass"]:
        where = {"observation": population.observation, "cosmology": clusters.cosmology}
        virial = self.interlopers != "mamon2010"
        trials = [(float(m), trial_halos(float(m), self.galaxies, virial=virial, **where)) for m in masses]
        log_like = np.empty((len(rows), len(masses)))
        order = np.argsort(clusters.n_galaxies[rows], kind="stable")  # of similar richness: rules follow the richest
        for part in np.split(order, range(_CHUNK, len(order), _CHUNK)):
            galaxies = GalaxyBatch.from_catalogue(clusters, rows[part])
            for j, (mass, halos) in enumerate(trials):
                log_like[part, j] = log_likelihood(population, galaxies, mass, halos)
        return log_like

    def _population(self, observation: Observation, background: float | None) -> GalaxyModel:
        amount = background if self.resolved_background == "fitted" else self.resolved_background
        if self.interlopers != "none" and amount is None:
            raise ValueError("JeansLikelihood.log_likelihood: background='fitted' needs a number; give background=...")
        law = "independent" if self.richness == "independent" else "mass"
        counts = SphericalJeans(richness=law, galaxies=self.galaxies) if self.richness else None
        return GalaxyModel(self.interlopers, amount, counts, observation)


@final
@dataclass(frozen=True, eq=False)
class FittedJeans:
    """A `JeansLikelihood` with its prior and its number of interlopers.

    Attributes:
        choice: Settings of the likelihood.
        grid: Log10 mass [dex], (mass,).
        log_prior: Natural log of the prior's density, up to a constant, (mass,).
        background: Mean number of interlopers in the cylinder, or "marginalised" or "law".
    """

    choice: JeansLikelihood
    grid: Float[np.ndarray, "mass"]
    log_prior: Float[np.ndarray, "mass"]
    background: Background | None

    def predict(self, clusters: Catalogue) -> Prediction:
        """Compute the posterior of each cluster's mass.

        Raises:
            ValueError: A cluster's galaxies are impossible at every mass.
        """
        number = self.background if isinstance(self.background, int | float) else None
        log_prob = self.choice.log_likelihood(clusters, self.grid, background=number) + self.log_prior
        impossible = int((~np.isfinite(log_prob.max(axis=1, initial=-np.inf))).sum())
        if impossible:
            raise ValueError(
                f"JeansLikelihood: {impossible} of {len(clusters)} clusters have a galaxy beyond R_vir at every mass "
                f"up to {self.grid[-1]:.2f}. With interlopers='none' all must be members: choose 'uniform', or a wider "
                "support."
            )
        return Prediction.from_posteriors(
            MassPosteriors.from_log_prob(self.grid, log_prob, log_prior=self.log_prior, names=clusters.names)
        )


def mean_interlopers(mocks: Catalogue) -> float:
    """Mean number of galaxies in the cylinder that are not members."""
    if "is_member" not in mocks.columns:
        raise ValueError(
            "JeansLikelihood: background='fitted' counts interlopers, but the catalogue has no is_member: give a "
            "number or background='marginalised'."
        )
    number = float((~mocks.galaxy_column("is_member")).sum()) / max(len(mocks), 1)
    if not number:
        raise ValueError("JeansLikelihood: the mocks have no interlopers to count: choose interlopers='none'.")
    return number


def _redshifts(clusters: Catalogue) -> Float[np.ndarray, "cluster"]:
    """Redshift of each cluster: its own rounded to .005 (.3 % in mass), or that of the observation."""
    common = np.full(len(clusters), clusters.observation.redshift)
    if "redshift" not in clusters.columns:
        return common
    own = np.asarray(clusters.column("redshift"), float)
    rounded = np.maximum(np.round(own / _REDSHIFTS), 1.0) * _REDSHIFTS
    return np.where(np.isfinite(own), rounded, common)


def _range_of(mocks: Catalogue) -> tuple[float, float]:
    known = mocks.log10_mass[np.isfinite(mocks.log10_mass)]
    if known.size < _FEWEST:
        raise ValueError(
            f"JeansLikelihood: {known.size} clusters of known mass tell no range of masses; give support=(low, high)."
        )
    return float(known.min()), float(known.max())


def _check_range(low: float, high: float) -> None:
    lowest, highest = LIMITS["log10_mass"]
    if not lowest <= low <= high <= highest:
        raise ValueError(
            f"JeansLikelihood: masses are log10 of M200c [h^-1 Msun], {lowest:g} to {highest:g}; found {low:g} to "
            f"{high:g}. Give support=(low, high) inside that."
        )


def _check_support(support: tuple[float, float]) -> None:
    low, high = support
    if not low < high:
        raise ValueError(
            f"JeansLikelihood: the support must rise, found {low:g} to {high:g}. Give support=(low, high)."
        )
    _check_range(low, high)
