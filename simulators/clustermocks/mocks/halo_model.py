"""Mock clusters: HaloModel populates haloes and their surroundings, and observes them through a cylinder.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.catalogue.folder import StoredCatalogue
from clustermocks.haloes.cosmology import CRITICAL_DENSITY, MDPL2
from clustermocks.haloes.environment import CLUSTERED
from clustermocks.haloes.satellites import HaloGalaxies
from clustermocks.io.paths import as_path
from clustermocks.mocks.cluster_model import ClusterModel
from clustermocks.mocks.cosmology_prior import CosmologyPrior
from clustermocks.mocks.priors import PhysicsPrior, Priors, SurveyPrior
from clustermocks.mocks.run import MockRun

LOWEST, HIGHEST = 12.5, 15.9
MOST_LINES = 1000
_PRESSURE = 1.03  # tuned: haloes of N-body boxes are faster than isolated NFW ones by the pressure of what falls in
_VIRIAL_MASS = 1.20  # mass inside R_vir over M200c of cluster haloes


@final
@dataclass(frozen=True)
class HaloModel(ClusterModel):
    """Clusters as triaxial NFW haloes of galaxies, some merging, among neighbours drawn from the mass function.

    The default is the realistic sample, on which estimators for observed clusters train: all galaxies down to a number
    density, the cluster's redshift and centre known only as data know them. `HaloModel.ho2019()` reproduces
    the published mocks. Its fields are those of `ClusterModel` and `Survey`.

    References:
        Ho et al. 2019, ApJ 887, 25 (mocks); Kodi Ramanah et al. 2020, arXiv:2003.05951.
    """

    @classmethod
    def ho2019(cls) -> "HaloModel":
        """The published mocks: interlopers are satellites of other haloes only, true centres and velocities."""
        return cls(interlopers="satellites", recentre=False, centre_error=0.0)

    @classmethod
    def dark_matter(cls, tracer_density: float = 0.0245) -> "HaloModel":
        """Particles of the dark matter in place of galaxies: as many for a mass in haloes as in the field.

        Lighter haloes than 10^11.7 and the field are single particles.

        Args:
            tracer_density: Particles per volume [h^3 Mpc^-3].

        Raises:
            ValueError: tracer_density is not above 0 and at most 1.
        """
        if not 0 < tracer_density <= 1:
            raise ValueError(
                f"HaloModel.dark_matter: tracer_density [h^3 Mpc^-3] must be above 0 and at most 1, "
                f"found {tracer_density!r}."
            )
        in_halo = 1e14 * tracer_density / (MDPL2.Om0 * CRITICAL_DENSITY)
        particles = HaloGalaxies(
            richness=in_halo * _VIRIAL_MASS,
            richness_slope=1.0,
            richness_scatter=0.0,
            galaxy_concentration=None,
            velocity_bias=_PRESSURE,
            central=False,
        )
        return cls(tracer_density=tracer_density, recentre=False, centre_error=0.0, galaxies=particles)

    def with_clustering(self) -> "HaloModel":
        """The same model among neighbours that cluster and flow as in N-body boxes, with galaxies that stay bound.

        On boxes of dark matter it has the right scatter of the number of interlopers, infall and velocities around
        clusters (`benchmarks/nbody_box.py`). It is to become the default with the next estimator that ships.
        """
        return replace(self, neighbours=CLUSTERED, galaxies=replace(self.galaxies, turnaround=5.0))

    def simulate(
        self,
        log10_masses: ArrayLike,
        *,
        seed: int,
        surveys: SurveyPrior | None = None,
        physics: PhysicsPrior | None = None,
        cosmologies: CosmologyPrior | None = None,
        lines_of_sight: int | Int[np.ndarray, "host"] = 1,
        n_jobs: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Catalogue:
        """Simulate one host for each mass, along one line of sight or several.

        Lines of sight through one host share its host_id, so that splits keep them together, and its members: the same
        galaxies in space with the same velocities (`observation.lines_of_sight`: three are orthogonal, more are evenly
        spread). Neighbours are drawn for each line afresh, because the pillars of space that lines look into hardly
        overlap: some 5 h^-1 Mpc of 110. Groups that near are not shared, so interlopers of two lines through one
        host are slightly less correlated than they should be. Errors and losses of galaxies are drawn for each line.

        Args:
            log10_masses: log10 M200c [dex of h^-1 Msun], (host,), 12.5 to 15.9.
            seed: Same seed and masses, same catalogue, whatever n_jobs.
            surveys: Prior from which it is drawn how clusters are observed, for 25 hosts at a time, in place of this
                model's own settings. Every draw is a column of the catalogue, whose `observation` states the median
                redshift and the widest cylinder. Lines of sight to clusters that are not dominant, if the model asks
                for dominance, are drawn again.
            physics: Prior of galaxies in and around clusters, likewise.
            cosmologies: Prior of the true cosmology, for 250 hosts at a time: columns Om0 and sigma8 of the clusters
                and of their `attempts`. The observer still assumes this model's, which the catalogue states.
            lines_of_sight: Number for every host, or for each, (host,): `np.where(masses > 14.6, 9, 3)`, say. Each
                is a cluster of the catalogue, its direction in sight_x, sight_y, sight_z. Numbers that jump with mass
                need `flatten` afterwards, or a training set's effective prior has a step.
            n_jobs: Worker processes; -1 for one a core. None follows `joblib.parallel_config`: one without it, a
                Dask cluster's workers under `joblib.parallel_config(backend="dask")`.
            progress: Called with the number of clusters done, as they are done.

        Returns:
            The clusters with at least observation.min_galaxies in the cylinder; all attempts are remembered.

        Raises:
            ValueError: if a mass is out of range, log10_masses is not one-dimensional, or there is no line of sight.
        """
        masses = _checked(log10_masses)
        lines = _checked_lines(lines_of_sight, len(masses))
        return MockRun(self, masses, lines, seed, Priors(surveys, physics, cosmologies)).simulate(n_jobs, progress)

    def simulate_to(
        self,
        folder: str | Path,
        log10_masses: ArrayLike,
        *,
        seed: int,
        surveys: SurveyPrior | None = None,
        physics: PhysicsPrior | None = None,
        cosmologies: CosmologyPrior | None = None,
        lines_of_sight: int | Int[np.ndarray, "host"] = 1,
        n_jobs: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> StoredCatalogue:
        """Simulate into a folder of Parquet files, in memory that does not grow with the number of clusters.

        The same call goes on where an earlier one was interrupted; truncated files are made again. A call with further
        masses behind those of an earlier one extends its folder to what one call with all of them would have written.
        The folder opens with `Catalogue.from_parquet`, and holds what `simulate` returns.

        Args:
            folder: A new or empty folder, or one that the same call began, or one with fewer masses. One call at a
                time may write there.
            log10_masses: log10 M200c [dex of h^-1 Msun], (host,), 12.5 to 15.9.
            seed: As for `simulate`.
            surveys: As for `simulate`.
            physics: As for `simulate`.
            cosmologies: As for `simulate`.
            lines_of_sight: As for `simulate`.
            n_jobs: As for `simulate`; workers need not see the folder.
            progress: Called with the number of clusters done, those of an earlier call included.

        Returns:
            The folder: iterate for a part at a time, or `load` all of it.

        Raises:
            ValueError: if a mass is out of range, or the folder holds anything else or was begun with other settings;
                the message names them.
            OSError: if the disk is full or not writable; nothing half-written is left.
        """
        masses = _checked(log10_masses)
        lines = _checked_lines(lines_of_sight, len(masses))
        priors = Priors(surveys, physics, cosmologies)
        return MockRun(self, masses, lines, seed, priors).simulate_to(as_path(folder), n_jobs, progress)


def _checked(log10_masses: ArrayLike) -> Float[np.ndarray, "cluster"]:
    masses = np.asarray(log10_masses, float)
    if masses.ndim != 1 or not masses.size:
        raise ValueError(
            f"HaloModel.simulate: log10_masses must be a list of at least one mass, found shape {masses.shape}."
        )
    bad = np.flatnonzero(~((masses >= LOWEST) & (masses <= HIGHEST)))
    if bad.size:
        raise ValueError(
            f"HaloModel.simulate: {bad.size} of {masses.size} masses outside {LOWEST} to {HIGHEST}, the first at "
            f"index {bad[0]}: {masses[bad[0]]:g}. Give log10 of M200c in h^-1 Msun."
        )
    return masses


def _checked_lines(lines_of_sight: int | Int[np.ndarray, "host"], n: int) -> Int[np.ndarray, "host"]:
    lines = np.asarray(lines_of_sight, float)
    if lines.shape not in ((), (n,)) or not ((lines >= 1) & (lines == np.round(lines)) & (lines <= MOST_LINES)).all():
        raise ValueError(
            f"HaloModel.simulate: lines_of_sight must be a whole number of 1 to {MOST_LINES}, or one for each of the "
            f"{n} masses; found {lines_of_sight!r}."
        )
    return np.broadcast_to(lines, n).astype(int)
