"""Mock clusters: HaloModel populates haloes and their surroundings, and observes them through a cylinder.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, final

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.catalogue.folder import StoredCatalogue
from clustermocks.haloes.cosmology import CRITICAL_DENSITY, MDPL2, Cosmology
from clustermocks.haloes.environment import CLUSTERED, Neighbours
from clustermocks.haloes.satellites import HaloGalaxies
from clustermocks.io.settings import check_ranges
from clustermocks.mocks.run import MockRun
from clustermocks.mocks.spectroscopy import SURVEY_RANGES, RadialCompleteness
from clustermocks.observation import Observation

LOWEST, HIGHEST = 12.5, 15.7
MOST_LINES = 1000
_PRESSURE = 1.03  # tuned: haloes of N-body boxes are faster than isolated NFW ones by the pressure of what falls in
_VIRIAL_MASS = 1.20  # mass inside R_vir over M200c of cluster haloes


@final
@dataclass(frozen=True)
class HaloModel:
    """Clusters as triaxial NFW haloes of galaxies, some merging, among neighbours drawn from the mass function.

    The default is the realistic sample, on which estimators for observed clusters train: all galaxies down to a number
    density, the cluster's redshift and centre known only as data know them. `HaloModel.ho2019()` reproduces
    the published mocks.

    Attributes:
        observation: Redshift, cylinder and least number of galaxies.
        cosmology: Background, power spectrum.
        interlopers: "satellites": only satellites of haloes are galaxies, as in Ho et al.'s mocks. "all": also the
            centrals of all haloes and of the cluster itself, and galaxies that orbit beyond its R_vir.
        tracer_density: Number of galaxies per volume with "all", which sets the lightest halo with a central
            [h^3 Mpc^-3]; .0245 is that of UniverseMachine galaxies in MDPL2 with M_acc > 10^11 h^-1 Msun.
        recentre: Measure the cluster's redshift from its galaxies, by the function used for observed data.
        centre_error: Gaussian error of the centre on each sky axis [comoving h^-1 Mpc]. A choice: offsets of bright
            cluster galaxies from X-ray centres are mostly below .1.
        velocity_error: Gaussian error of a galaxy's velocity [km/s].
        completeness: Probability that a galaxy has a redshift [1], the same everywhere or `RadialCompleteness`.
        fibre_collision: Least angle between two galaxies of a cluster with redshifts [arcsec], as many comoving h^-1
            Mpc as that spans at the cluster's redshift; 55 for SDSS (.09 h^-1 Mpc). Which of two goes is random;
            galaxies inside the aperture collide whatever their velocity, as far in front and behind as neighbours are
            simulated (v_cut + 3000 km/s), and before completeness thins them. 0 for none.
        dominant: Whether a cluster counts only where no heavier halo reaches into its cylinder. Cluster finders do so
            (percolation). Without it, groups near rich clusters pass any richness cut: they are few at a given mass,
            but the mass function makes them a large share of a survey.
        galaxies: How galaxies populate a halo.
        neighbours: How haloes surround the cluster.

    References:
        Ho et al. 2019, ApJ 887, 25 (mocks); Kodi Ramanah et al. 2020, arXiv:2003.05951.
    """

    observation: Observation = field(default_factory=Observation)
    cosmology: Cosmology = MDPL2
    interlopers: Literal["satellites", "all"] = "all"
    tracer_density: float = 0.0245
    recentre: bool = True
    centre_error: float = 0.05
    velocity_error: float = 0.0
    completeness: float | RadialCompleteness = 1.0
    fibre_collision: float = 0.0
    dominant: bool = False
    galaxies: HaloGalaxies = field(default_factory=HaloGalaxies)
    neighbours: Neighbours = field(default_factory=Neighbours)

    def __post_init__(self) -> None:
        if self.interlopers not in ("satellites", "all"):
            raise ValueError(f"HaloModel: interlopers must be 'satellites' or 'all', found {self.interlopers!r}.")
        check_ranges(self, tracer_density=(0, 1.0, "h^3 Mpc^-3"), **SURVEY_RANGES)

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
            log10_masses: log10 M200c [dex of h^-1 Msun], (host,), 12.5 to 15.7.
            seed: Same seed and masses, same catalogue, whatever n_jobs.
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
        return MockRun(self, masses, _checked_lines(lines_of_sight, len(masses)), seed).simulate(n_jobs, progress)

    def simulate_to(
        self,
        folder: str | Path,
        log10_masses: ArrayLike,
        *,
        seed: int,
        lines_of_sight: int | Int[np.ndarray, "host"] = 1,
        n_jobs: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> StoredCatalogue:
        """Simulate into a folder of Parquet files, in memory that does not grow with the number of clusters.

        The same call goes on where an earlier one was interrupted; truncated files are made again. The folder then
        opens with `Catalogue.from_parquet`, and holds what `simulate` returns.

        Args:
            folder: A new or empty folder, or one that the same call began. One call at a time may write there.
            log10_masses: log10 M200c [dex of h^-1 Msun], (host,), 12.5 to 15.7.
            seed: As for `simulate`.
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
        run = MockRun(self, masses, _checked_lines(lines_of_sight, len(masses)), seed)
        return run.simulate_to(Path(folder), n_jobs, progress)


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
