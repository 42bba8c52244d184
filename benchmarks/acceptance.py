"""Comparison of the simulator with measurements on N-body mocks: `python benchmarks/acceptance.py`.

Prints one line per quantity: found, its error, wanted, tolerance, pass or fail. Masses are M200c [h^-1 Msun]; sigma is
the plain standard deviation of line-of-sight velocities [km/s].

References: Ho et al. 2019, ApJ 887, 25 and its public notebooks (MDPL2 mocks); Evrard et al. 2008, ApJ 672, 122;
Mamon, Biviano & Murante 2010, A&A 520, A30.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float, Int

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.cosmology import MDPL2, Values
from clustermocks.haloes.mass_distributions import FlatMasses, HaloMassFunction
from clustermocks.haloes.satellites import draw_satellites
from clustermocks.haloes.structure import draw_haloes
from clustermocks.mocks.chunk import populate
from clustermocks.mocks.halo_model import HaloModel
from clustermocks.observation import Observation, line_of_sight_velocity

_LOW, _HIGH = 13.5, 15.3  # the published training range
_BOOTSTRAPS = 100
_LARGE = Observation(aperture=2.3, v_cut=3785.0)
_NODES = (13.5, 14.0, 14.5, 15.0)
_HALF_BIN = 0.1  # [dex] around a node


@final
@dataclass(frozen=True)
class Check:
    """One quantity: its value in our mocks with its standard error, that of N-body mocks, and the accepted difference.

    Attributes:
        name: Name of the quantity, with its unit.
        found: Value in our mocks.
        error: Standard error of `found`.
        wanted: Value in the N-body mocks.
        tolerance: Largest difference accepted; None if the difference is only reported.
    """

    name: str
    found: float
    error: float
    wanted: float
    tolerance: float | None

    @property
    def verdict(self) -> str:
        """Verdict: pass, FAIL, or empty if there is no tolerance."""
        if self.tolerance is None:
            return ""
        return "pass" if abs(self.found - self.wanted) <= self.tolerance else "FAIL"

    def __str__(self) -> str:
        tolerance = "" if self.tolerance is None else f"± {self.tolerance:.3g}"
        return f"{self.name:<58}{self.found:>9.4g} ± {self.error:<8.2g}{self.wanted:>9.4g} {tolerance:<9}{self.verdict}"


class _Relation(NamedTuple):
    """log10 sigma = norm + slope (log10_mass - 15), and its scatter [dex in sigma]."""

    slope: float
    norm: float
    scatter: float


class _Clusters(NamedTuple):
    """log10 mass, log10 sigma and P(selected), each (cluster,)."""

    log10_mass: Float[np.ndarray, "cluster"]
    log10_sigma: Float[np.ndarray, "cluster"]
    selected: Float[np.ndarray, "cluster"]

    @classmethod
    def from_catalogue(cls, catalogue: Catalogue) -> "_Clusters":
        """Selected clusters, P(selected) from the share of attempts in bins of .1 dex."""
        edges = np.arange(_LOW, _HIGH + 0.09, 0.1)
        masses, passed = catalogue.attempted()
        share = np.histogram(masses, edges, weights=passed.astype(float))[0] / np.histogram(masses, edges)[0]
        bins = np.clip(np.digitize(catalogue.log10_mass, edges) - 1, 0, len(share) - 1)
        return cls(catalogue.log10_mass, np.log10(dispersions(catalogue)), share[bins])

    def relation(self) -> _Relation:
        """Least squares on a set flat in mass after selection."""
        weight = 1 / self.selected
        slope, norm = np.polyfit(self.log10_mass - 15, self.log10_sigma, 1, w=np.sqrt(weight))
        residual = self.log10_sigma - norm - slope * (self.log10_mass - 15)
        return _Relation(slope, norm, np.sqrt(np.average(residual**2, weights=weight)))

    def bootstrapped(self) -> Iterator["_Clusters"]:
        """Bootstrap samples: as many clusters, drawn with repeats."""
        rng = np.random.default_rng(0)
        for _ in range(_BOOTSTRAPS):
            rows = rng.integers(0, len(self.log10_mass), len(self.log10_mass))
            yield _Clusters(*(column[rows] for column in self))


def dispersions(catalogue: Catalogue) -> Values:
    """Unbiased standard deviation of each cluster's line-of-sight velocities [km/s]."""
    cluster = catalogue.cluster_of_galaxy
    v_los = catalogue.galaxy_column("v_los").astype(float)
    mean = np.bincount(cluster, v_los) / catalogue.n_galaxies
    squares = np.bincount(cluster, (v_los - mean[cluster]) ** 2)
    return np.sqrt(squares / (catalogue.n_galaxies - 1))


def checks(n: int, seed: int, n_jobs: int = 1) -> list[Check]:
    """Measure all quantities, on n clusters flat in mass for each simulator and cylinder.

    Args:
        n: Number of clusters in a catalogue; with 20 000, the errors are well below the tolerances.
        seed: Seed of masses and clusters.
        n_jobs: Worker processes.
    """
    masses = FlatMasses(_LOW, _HIGH).draw(n, seed)

    def simulated(model: HaloModel, offset: int) -> Catalogue:
        return model.simulate(masses, seed=seed + offset, n_jobs=n_jobs)

    ho = HaloModel.ho2019()
    medium, large = simulated(ho, 1), simulated(replace(ho, observation=_LARGE), 2)
    pure = medium.pure()
    everything = simulated(replace(HaloModel(), recentre=False, centre_error=0.0), 3)
    return [
        *_relation_checks("pure", pure, _Relation(0.366, 3.036, 0.069), (0.03, 0.02, 0.01)),
        *_mass_scatter_check("pure", pure, 0.183),
        *_relation_checks("contaminated", medium, _Relation(0.241, 3.001, 0.104), (0.03, 0.02, 0.01)),
        *_mass_scatter_check("contaminated", medium, 0.369),
        *_richness_checks(pure),
        *_member_checks(large),
        *_interloper_checks(large),
        _clumping_check(medium),
        *_abundance_check(),
        *_evrard_checks(),
        _orbit_check(min(n, 2000), seed + 4),
        *_relation_checks("all galaxies", everything, _Relation(0.06, 2.90, 0.116), (0.04, 0.03, 0.015)),
    ]


def _relation_checks(
    name: str, catalogue: Catalogue, wanted: _Relation, tolerances: tuple[float, float, float]
) -> Iterator[Check]:
    clusters = _Clusters.from_catalogue(catalogue)
    errors = np.std([each.relation() for each in clusters.bootstrapped()], axis=0)
    labels = ("slope", "log10 sigma at 10^15", "scatter of log10 sigma [dex]")
    for label, *numbers in zip(labels, clusters.relation(), errors, wanted, tolerances, strict=True):
        yield Check(f"M-sigma, {name}: {label}", *map(float, numbers))


def _mass_scatter_check(name: str, catalogue: Catalogue, wanted: float) -> Iterator[Check]:
    """Scatter of the mass read off the relation, for masses of the mass function with 14 < log10_mass < 15."""
    mass_function = HaloMassFunction(low=_LOW, high=_HIGH)

    def scatter(clusters: _Clusters) -> float:
        slope, norm, _ = clusters.relation()
        residual = 15 + (clusters.log10_sigma - norm) / slope - clusters.log10_mass
        inside = (clusters.log10_mass > 14) & (clusters.log10_mass < 15)
        weight = mass_function.density(clusters.log10_mass[inside])
        mean = np.average(residual[inside], weights=weight)
        return float(np.sqrt(np.average((residual[inside] - mean) ** 2, weights=weight)))

    clusters = _Clusters.from_catalogue(catalogue)
    error = float(np.std([scatter(each) for each in clusters.bootstrapped()]))
    yield Check(f"mass from sigma, {name}: scatter [dex]", scatter(clusters), error, wanted, 0.02)


def _richness_checks(pure: Catalogue) -> Iterator[Check]:
    wanted = ((14.0, 1.47), (14.25, 1.66), (14.5, 1.88), (14.75, 2.12), (15.0, 2.38))
    for mass, log10_n in wanted:
        n = np.log10(pure.n_galaxies[_near(pure, mass)])
        yield Check(f"log10 of median members at 10^{mass}", *_with_error(np.median, n), log10_n, 0.05)


def _member_checks(catalogue: Catalogue) -> Iterator[Check]:
    true = _members(catalogue) / catalogue.n_galaxies
    for mass, share in zip(_NODES, (0.36, 0.55, 0.72, 0.80), strict=True):
        here = _with_error(np.mean, true[_near(catalogue, mass)])
        yield Check(f"share of members in the large cylinder at 10^{mass}", *here, share, 0.05)


def _interloper_checks(catalogue: Catalogue) -> Iterator[Check]:
    interlopers = catalogue.n_galaxies - _members(catalogue)
    for mass, number in zip(_NODES, (20, 25, 33, 62), strict=True):
        here = interlopers[_near(catalogue, mass)]
        yield Check(f"interlopers in the large cylinder at 10^{mass}", *_with_error(np.mean, here), number, None)


def _clumping_check(catalogue: Catalogue) -> Check:
    """Standard deviation of the number of interlopers over that of Poisson: 1 if smooth, 2.3 to 3.3 in clumps."""
    interlopers = (catalogue.n_galaxies - _members(catalogue))[_near(catalogue, 14.0)]
    excess = _with_error(lambda counts: np.std(counts) / np.sqrt(np.mean(counts)), interlopers)
    return Check("interlopers at 10^14: deviation over Poisson's", *excess, 2.8, 1.4)


def _evrard_checks() -> Iterator[Check]:
    """Dispersion of particles inside r200c over 1082.9 km/s [E(z) M / 10^15]^.3361 (Evrard et al. 2008, eq. 6)."""
    particles = replace(HaloModel.dark_matter().galaxies, richness=1000.0)
    scatter, redshift, cosmology = particles.concentration_scatter, Observation.redshift, MDPL2
    for mass in (14.0, 14.5, 15.0):
        rng = np.random.default_rng(0)
        masses = np.full(round(2000 / 10 ** (mass - 14)), mass)
        haloes = draw_haloes(masses, rng, concentration_scatter=scatter, redshift=redshift, cosmology=cosmology)
        drawn = draw_satellites(haloes, rng, particles)
        inside = np.linalg.norm(drawn.separation, axis=1) < haloes.r_200c[drawn.halo]
        halo, v = drawn.halo[inside], drawn.v_jeans[inside]
        sigma = np.sqrt(np.bincount(halo, (v**2).mean(axis=1)) / np.bincount(halo))
        expected = 1082.9 * (cosmology.hubble(redshift) / 100 * 10 ** (mass - 15)) ** 0.3361
        found = _with_error(lambda ratio: np.exp(np.mean(np.log(ratio))), sigma / expected)
        yield Check(f"sigma of dark matter over Evrard et al. 2008 at 10^{mass}", *found, 1.0, 0.02)


class Particles(NamedTuple):
    """Particles of many clusters: index of the cluster, R_proj [r200c], v_los [V200], whether inside r200c."""

    cluster: Int[np.ndarray, "particle"]
    R_proj: Float[np.ndarray, "particle"]
    v_los: Float[np.ndarray, "particle"]
    inside: Bool[np.ndarray, "particle"]


def stacked_particles(n: int, seed: int) -> Particles:
    """All particles around n clusters of `HaloModel.dark_matter()`, flat in log10 mass from 14 to 15, in its units."""
    model = HaloModel.dark_matter()
    clusters, _, drawn = populate(model, FlatMasses(14, 15).draw(n, seed), np.random.default_rng(seed))
    r_200c, v_200 = clusters.r_200c[drawn.cluster], clusters.v_200[drawn.cluster]
    v_los = line_of_sight_velocity(
        drawn.position[:, 2], drawn.v_peculiar, 0.0, model.observation.redshift, model.cosmology
    )
    return Particles(
        drawn.cluster,
        np.hypot(*drawn.position[:, :2].T) / r_200c,
        v_los / v_200,
        np.linalg.norm(drawn.position, axis=1) < r_200c,
    )


def _orbit_check(n: int, seed: int) -> Check:
    """Share of dark matter seen within r200c and 2.7 sigma_los(R) that lies outside the sphere of r200c."""
    particles = stacked_particles(n, seed)
    R, members = particles.R_proj, particles.inside
    ring = np.minimum((10 * R).astype(int), 10)
    sigma = np.sqrt(np.bincount(ring[members], particles.v_los[members] ** 2) / np.bincount(ring[members]))
    seen = (R < 1) & (np.abs(particles.v_los) < 2.7 * np.append(sigma, 0)[ring])
    outside = np.bincount(particles.cluster[seen], ~members[seen], minlength=n)
    total = np.bincount(particles.cluster[seen], minlength=n)
    share = _with_error(lambda rows: rows[:, 0].sum() / rows[:, 1].sum(), np.column_stack([outside, total]))
    return Check("dark matter outside r200c, seen within it and 2.7 sigma", *share, 0.23, 0.03)


def _abundance_check() -> Iterator[Check]:
    number = 1e9 * HaloMassFunction(low=13.5, high=15.7).number_density()
    yield Check("haloes above 10^13.5 in 1 (h^-1 Gpc)^3, z = .117", number, 0.0, 87_700, 0.05 * 87_700)


def _members(catalogue: Catalogue) -> Values:
    """Number of true members in each cluster's cylinder."""
    cluster = catalogue.cluster_of_galaxy
    return np.bincount(cluster, catalogue.galaxy_column("is_member"), minlength=len(catalogue))


def _near(catalogue: Catalogue, mass: float) -> Values:
    return np.abs(catalogue.log10_mass - mass) < _HALF_BIN


def _with_error(statistic: Callable[[Values], Any], values: Values) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    again = [statistic(values[rng.integers(0, len(values), len(values))]) for _ in range(_BOOTSTRAPS)]
    return float(statistic(values)), float(np.std(again))


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 0 if everything passed."""
    parser = argparse.ArgumentParser(prog="python benchmarks/acceptance.py", description=__doc__)
    parser.add_argument("--n", type=int, default=20_000, help="clusters a catalogue (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes; -1 for one a core (default: %(default)s)")
    options = parser.parse_args(arguments)
    found = checks(options.n, options.seed, options.jobs)
    sys.stdout.write(f"{'quantity':<58}{'found':>20}{'wanted':>9}\n")
    sys.stdout.write("\n".join(map(str, found)) + "\n")
    failed = sum(check.verdict == "FAIL" for check in found)
    sys.stdout.write(f"{failed} of {sum(check.tolerance is not None for check in found)} checks failed\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
