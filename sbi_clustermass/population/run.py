"""A population fit from files: files and names in, a folder with the fit, a table and pictures out.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; volumes comoving [h^-3 Mpc^3].
"""

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from clustermocks import MDPL2, Catalogue, HaloMassFunction
from clustermocks.io.atomic import replacing
from clustermocks.io.lock import claimed
from clustermocks.io.progress import Stage, silent
from clustermocks.io.registry import lookup
from clustermocks.selection import fit_selection
from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.hierarchical_fit import fit
from sbi_clustermass.population.masses import MASSES, Masses
from sbi_clustermass.population.model import Population
from sbi_clustermass.population.observables import Observable
from sbi_clustermass.population.plots import corner, mass_function, relation as relation_figure
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.sampling import SAMPLERS
from sbi_clustermass.population.selection import KnownSelection
from sbi_clustermass.population.shrinkage import mass_function_band, shrink
from sbi_clustermass.population.survey import Survey
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report.style import save

if TYPE_CHECKING:
    from arviz import InferenceData
    from astropy.table import Table

MODELS = ("mass-function", "scaling-relation")
FIT, TABLE, SHRUNK = "fit.nc", "parameters.ecsv", "masses.parquet"
_LINES = 200  # draws of a relation in its picture


@final
@dataclass(frozen=True)
class PopulationRun:
    """Settings of `clustermass population`.

    Attributes:
        model: What to fit: mass-function, or scaling-relation (observables with the masses).
        form: Shape of the mass distribution: mrp, cosmology, or normal for a sample's own.
        mocks: Mock catalogue, flat in mass from 10^12.5, that was selected as the survey was.
        min_galaxies: Richness cut of the survey, in addition to that of the mocks.
        complete: Whether the survey lost no cluster: in place of `mocks`.
        volume: Volume of the survey, comoving [h^-3 Mpc^3].
        area: Area of the survey on the sky [deg^2], with `redshifts`.
        redshifts: Edges of its shells of redshift.
        shape_only: Whether the number of clusters is left out of the fit.
        table: Table with a column `name`, redshift, and observables NAME, NAME_err.
        observables: Columns of the table [dex].
        correlated: Whether the intrinsic scatters of the observables are correlated.
        same_galaxies: Observables from the galaxies that gave the masses; only with `consistency_check`.
        consistency_check: Whether to fit these nevertheless: the scatter then means nothing.
        truth: Mass function put into mocks of MDPL2's cosmology, to draw: tinker08.
        sampler: nuts, svi or laplace.
        seed: Seed: the same seed gives the same result.
    """

    model: str = MODELS[0]
    form: str = "mrp"
    mocks: Path | None = None
    min_galaxies: int | None = None
    complete: bool = False
    volume: float | None = None
    area: float | None = None
    redshifts: tuple[float, ...] = ()
    shape_only: bool = False
    table: Path | None = None
    observables: tuple[str, ...] = ()
    correlated: bool = False
    same_galaxies: tuple[str, ...] = ()
    consistency_check: bool = False
    truth: str | None = None
    sampler: str = "nuts"
    seed: int = 1

    def run(self, masses: Path, out: Path, stage: Stage = silent) -> "InferenceData":
        """Fit, and write fit, table of parameters, masses and pictures.

        Args:
            masses: File that `MassPosteriors.to_parquet` wrote.
            out: Folder for the results: `FIT`, `TABLE`, `SHRUNK` and pictures.
            stage: Shows progress.

        Returns:
            Result of `fit`; `attrs["consistency_check"]` names observables from the galaxies that gave the masses.

        Raises:
            ValueError: The settings contradict each other or the files.
            BlockingIOError: Another process writes into the folder.
            OSError: The folder cannot be written.
        """
        if (self.mocks is None) == (not self.complete) and self.form != "normal":
            raise ValueError("population: say what the survey selects: one of --mocks FILE and --complete.")
        clusters, population = self._clusters(masses), self._population()
        sampler = lookup("sampler", self.sampler, SAMPLERS)(seed=self.seed)
        population = replace(population, relations=_weak_relations(clusters))
        with claimed(out):
            with stage(f"fitting {len(clusters)} clusters", sampler.total) as advance:
                idata = fit(
                    population,
                    clusters,
                    self._survey,
                    counts=self._counts,
                    sampler=sampler,
                    same_galaxies_allowed=self.consistency_check,
                    progress=advance,
                )
            self._write(out, idata, population, clusters)
        return idata

    # ---- the model --------------------------------------------------------------------------------------------------

    @property
    def _counts(self) -> bool:
        return not self.shape_only and self._masses.counts

    @cached_property
    def _masses(self) -> Masses:
        return lookup("form of the masses", self.form, MASSES)()

    def _population(self) -> Population:
        lookup("model", self.model, dict.fromkeys(MODELS))
        if (self.model == MODELS[1]) != bool(self.observables):
            raise ValueError("population: --model scaling-relation needs --table and --observable, and they need it.")
        if self.mocks is None:
            return Population(self._masses, correlated=self.correlated)
        mocks = Catalogue.from_parquet(self.mocks)
        mocks = mocks if self.min_galaxies is None else mocks.with_min_galaxies(self.min_galaxies)
        attempted, passed = mocks.attempted()
        span = (float(np.floor(10 * attempted.min()) / 10), 16.0)
        selection = KnownSelection(fit_selection(attempted, passed))
        return Population(self._masses, selection=selection, mass_range=span, correlated=self.correlated)

    @cached_property
    def _survey(self) -> Survey | None:
        if self.volume is not None and self.area is not None:
            raise ValueError("population: give --volume, or --area and --redshifts, not both.")
        if self.area is not None:
            return Survey.of_sky(self.area, self.redshifts)
        return None if self.volume is None else Survey.of_volume(self.volume)

    # ---- the clusters -----------------------------------------------------------------------------------------------

    def _clusters(self, path: Path) -> ObservedClusters:
        posteriors = MassPosteriors.from_parquet(path)
        if self.table is None:
            return ObservedClusters(posteriors)
        rows = _rows_of(posteriors.names, self.table)
        redshift = np.asarray(rows["redshift"], float) if "redshift" in rows.colnames else None
        return ObservedClusters(posteriors, redshift, {name: self._observable(rows, name) for name in self.observables})

    def _observable(self, rows: "Table", name: str) -> Observable:
        missing = [column for column in (name, f"{name}_err") if column not in rows.colnames]
        if missing:
            raise ValueError(f"{self.table}: no column {', '.join(missing)}. It has: {', '.join(rows.colnames)}.")
        values, errors = (np.ma.filled(np.ma.asarray(rows[column], float), np.nan) for column in (name, f"{name}_err"))
        return Observable(values, errors, measured=np.isfinite(values), same_galaxies=name in self.same_galaxies)

    # ---- results ----------------------------------------------------------------------------------------------------

    def _write(self, out: Path, idata: "InferenceData", population: Population, clusters: ObservedClusters) -> None:
        with replacing(out / FIT) as temporary:
            idata.to_netcdf(str(temporary), engine="h5netcdf")
        with replacing(out / TABLE) as temporary:
            parameter_table(idata).write(temporary, format="ascii.ecsv", overwrite=True)
        shrink(idata, population, clusters, self._survey).to_parquet(out / SHRUNK)
        cosmology = self.truth is not None and self.form == "cosmology"
        truth = {name: getattr(MDPL2, name) for name in ("Om0", "sigma8", "S8")} if cosmology else {}
        save(corner(idata, _scalars(idata), truth=truth), out / "corner.png")
        if self._counts:
            save(self._mass_function(idata, clusters.posteriors), out / "mass_function.png")
        for relation in population.relations:
            save(_relation_picture(idata, relation, clusters), out / f"relation_{relation.observable}.png")

    def _mass_function(self, idata: "InferenceData", posteriors: MassPosteriors) -> Figure:
        points, volume = posteriors.mean, float(np.sum(idata["constant_data"]["volume"].values))
        grid = np.linspace(*_span(points), 91)
        truth = None if self.truth is None else HaloMassFunction(self.truth, low=10.0, high=17.0).density(grid)
        return mass_function(grid, mass_function_band(idata, grid), points=points, volume=volume, truth=truth)


def parameter_table(idata: "InferenceData") -> "Table":
    """Mean, deviation and percentiles of each parameter, with effective draws, and R-hat if there are chains."""
    import arviz
    from astropy.table import Column, Table

    rows = []
    for name in _scalars(idata):
        draws = idata["posterior"][name].values
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rhat = float(arviz.rhat(draws)) if len(draws) > 1 else np.nan
            effective = float(arviz.ess(draws))
        low, middle, high = np.percentile(draws, [16, 50, 84])
        row: dict[str, Any] = {"parameter": name, "mean": draws.mean(), "std": draws.std()}
        rows.append({**row, "p16": low, "p50": middle, "p84": high, "effective_draws": effective, "rhat": rhat})
    numbers = {name: Column([row[name] for row in rows], format=".4g") for name in list(rows[0])[1:]}
    return Table({"parameter": [row["parameter"] for row in rows], **numbers})


def _scalars(idata: "InferenceData") -> list[str]:
    """Names of the parameters that are single numbers."""
    return [str(name) for name, values in idata["posterior"].data_vars.items() if values.ndim == 2]


def _weak_relations(clusters: ObservedClusters) -> tuple[ScalingRelation, ...]:
    """Scaling relations with weak priors in the units of the observables."""
    found = []
    for name, observed in clusters.observables.items():
        if isinstance(observed, Observable):
            values = observed.values[np.asarray(observed.measured)]
            spread = float(values.std()) or 1.0
            found.append(ScalingRelation(name, (float(values.mean()), 3 * spread), (0.0, 10 * spread), 2 * spread))
    return tuple(found)


def _relation_picture(idata: "InferenceData", relation: ScalingRelation, clusters: ObservedClusters) -> Figure:
    posterior, observed = idata["posterior"], clusters.observables[relation.observable]
    if not isinstance(observed, Observable):
        raise TypeError(f"{relation.observable} has no errors to draw.")
    sites = (posterior[relation.site(name)].values.ravel() for name in ("intercept", "slope", "scatter"))
    intercept, slope, scatter = sites
    low, high = _span(clusters.posteriors.mean)
    grid, every = np.linspace(low, high, 51), max(1, len(slope) // _LINES)
    lines = intercept[::every, None] + slope[::every, None] * (grid - relation.pivot)
    known, posteriors = np.asarray(observed.measured), clusters.posteriors
    return relation_figure(
        grid,
        lines,
        float(np.median(scatter)),
        masses=(posteriors.mean[known], posteriors.std[known]),
        observed=(observed.values[known], np.asarray(observed.errors)[known]),
        name=relation.observable,
    )


def _span(points: Float[np.ndarray, "cluster"]) -> tuple[float, float]:
    """Range of the masses, without a few outliers at the low end [dex]."""
    return float(np.quantile(points, 0.005)), float(points.max())


def _rows_of(names: tuple[str, ...], path: Path) -> "Table":
    """Read a table, with its rows in the order of the clusters.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: There is no column `name`, or a cluster has no row or several.
    """
    from astropy.table import Table

    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    table = Table.read(path)
    if "name" not in table.colnames:
        raise ValueError(f"{path}: no column 'name' with the clusters' names; it has: {', '.join(table.colnames)}.")
    listed = [str(name) for name in table["name"]]
    bad = [name for name in names if listed.count(name) != 1] if len(set(listed)) < len(listed) else []
    place = {name: row for row, name in enumerate(listed)}
    bad = bad or [name for name in names if name not in place]
    if bad:
        raise ValueError(f"{path}: {len(bad)} clusters have no row or several, the first {bad[0]!r}.")
    return table[[place[name] for name in names]]
