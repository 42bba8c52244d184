"""A population fit from files: files and names in, a folder with the fit, a table and pictures out.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; volumes comoving [h^-3 Mpc^3].
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from clustermocks import MDPL2, Catalogue, HaloMassFunction
from clustermocks.io.atomic import replacing
from clustermocks.io.lock import claimed
from clustermocks.io.paths import as_path
from clustermocks.io.progress import Stage, silent
from clustermocks.io.registry import lookup
from clustermocks.selection import fit_selection
from sbi_clustermass.population.blinding import blinded
from sbi_clustermass.population.chains import write_cobaya, write_getdist
from sbi_clustermass.population.clusters import ObservedClusters
from sbi_clustermass.population.hierarchical_fit import fit
from sbi_clustermass.population.masses import MASSES, Masses
from sbi_clustermass.population.model import Population
from sbi_clustermass.population.observables import Observable
from sbi_clustermass.population.options import MODELS, PopulationOptions
from sbi_clustermass.population.plots import corner, mass_function
from sbi_clustermass.population.predictive_check import MASS, PredictiveCheck, predictive_check
from sbi_clustermass.population.priors import read_priors, write_priors
from sbi_clustermass.population.relation import ScalingRelation
from sbi_clustermass.population.run_results import (
    mass_span,
    parameter_table,
    relation_picture,
    scalar_names,
    weak_relations,
)
from sbi_clustermass.population.sampling import SAMPLERS
from sbi_clustermass.population.selection import MeasuredSelection
from sbi_clustermass.population.shrinkage import mass_function_band, shrink
from sbi_clustermass.population.survey import Survey
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report.style import save

if TYPE_CHECKING:
    from arviz import InferenceData
    from matplotlib.figure import Figure

FIT, TABLE, SHRUNK = "fit.nc", "parameters.ecsv", "masses.parquet"
PRIORS, CHAINS = "priors.json", "chains"


def run_population(options: PopulationOptions, masses: Path, out: Path, stage: Stage = silent) -> "InferenceData":
    """Fit, and write fit, table of parameters, masses and pictures.

    Args:
        options: What to fit, by names and numbers.
        masses: File that `MassPosteriors.to_parquet` wrote.
        out: Folder for the results: `FIT`, `TABLE`, `SHRUNK`, `PRIORS`, `CHAINS` of GetDist and Cobaya, and pictures;
            of a blinded fit without masses, pictures of them, and Cobaya's chains.
        stage: Shows progress.

    Returns:
        Result of `fit`; `attrs["consistency_check"]` names observables from the galaxies that gave the masses, and
        `attrs["predictive_checks"]` sums up the counts in bins, one line each.

    Raises:
        ValueError: The options contradict each other or the files, or the folder has results that are not blinded and
            the new ones are.
        BlockingIOError: Another process writes into the folder.
        OSError: The folder cannot be written.
    """
    masses, out = as_path(masses), as_path(out)
    clusters = _clusters(options, masses)
    population, survey = _population(options, clusters), _survey(options)
    if options.blind is not None and (out / SHRUNK).exists():
        raise ValueError(f"{out}: holds results that are not blinded.\n  try:    another folder, --out FOLDER")
    with claimed(out):
        idata = _fitted(options, population, clusters, survey, stage)
        binned = [*population.named_relations, *([MASS] if options.blind is None else [])]
        checks = [predictive_check(idata, population, clusters, survey, of=of) for of in binned]
        idata.attrs["predictive_checks"] = "\n".join(map(str, checks))
        if options.blind is None:
            _write_unblinded(idata, population, clusters, survey, out, options.truth)
        else:
            idata = blinded(idata, options.blind)
        _write_fit(idata, population, checks, out)
        save(corner(idata, scalar_names(idata), truth=_true_parameters(options, population)), out / "corner.png")
    return idata


def _fitted(
    options: PopulationOptions,
    population: Population,
    clusters: ObservedClusters,
    survey: Survey | None,
    stage: Stage,
) -> "InferenceData":
    sampler = lookup("sampler", options.sampler, SAMPLERS)(seed=options.seed)
    with stage(f"fitting {len(clusters)} clusters", sampler.total) as advance:
        return fit(
            population,
            clusters,
            survey,
            counts=not options.shape_only and population.masses.counts,
            sampler=sampler,
            same_galaxies_allowed=options.consistency_check,
            progress=advance,
        )


def _write_unblinded(
    idata: "InferenceData",
    population: Population,
    clusters: ObservedClusters,
    survey: Survey | None,
    out: Path,
    truth: str | None,
) -> None:
    """Write what shows the true parameters."""
    shrink(idata, population, clusters, survey).to_parquet(out / SHRUNK)
    write_cobaya(idata, out / CHAINS / "cobaya")
    if "n_selected" in idata.get("observed_data", {}):
        save(_mass_function(idata, clusters.posteriors.mean, truth), out / "mass_function.png")
    for relation in population.relations:
        save(relation_picture(idata, relation, clusters), out / f"relation_{relation.observable}.png")


def _write_fit(idata: "InferenceData", population: Population, checks: Sequence[PredictiveCheck], out: Path) -> None:
    with replacing(out / FIT) as temporary:
        idata.to_netcdf(str(temporary), engine="h5netcdf")
    for name, table in {TABLE: parameter_table(idata), **{f"check_{one.of}.ecsv": one.table for one in checks}}.items():
        with replacing(out / name) as temporary:
            table.write(temporary, format="ascii.ecsv", overwrite=True)
    for check in checks:
        save(check.plot(), out / f"check_{check.of}.png")
    write_priors(out / PRIORS, population, json.loads(idata.attrs["priors"]))
    write_getdist(idata, out / CHAINS / "getdist")


# ---- the model ------------------------------------------------------------------------------------------------------


def _population(options: PopulationOptions, clusters: ObservedClusters) -> Population:
    lookup("model", options.model, dict.fromkeys(MODELS))
    related = options.model == MODELS[1]
    if related != bool(options.observables) or (related and options.table is None):
        raise ValueError("population: --model scaling-relation needs --table and --observable, and they need it.")
    masses, relations = _priors(options, clusters)
    if (options.mocks is None) == (not options.complete) and masses.counts:
        raise ValueError("population: say what the survey selects: one of --mocks FILE and --complete.")
    if options.mocks is None:
        return Population(masses, relations, correlated=options.correlated)
    mocks = Catalogue.from_parquet(options.mocks)
    mocks = mocks if options.min_galaxies is None else mocks.with_min_galaxies(options.min_galaxies)
    attempted, passed = mocks.attempted()
    span = (float(np.floor(10 * attempted.min()) / 10), 16.0)
    selection = MeasuredSelection(fit_selection(attempted, passed))
    return Population(masses, relations, selection=selection, correlated=options.correlated, mass_range=span)


def _priors(options: PopulationOptions, clusters: ObservedClusters) -> tuple[Masses, tuple[ScalingRelation, ...]]:
    form = lookup("form of the masses", options.form, MASSES)
    if options.priors is None:
        return form(), weak_relations(clusters)
    masses, relations = read_priors(options.priors)
    if options.form not in (PopulationOptions.form, masses.name):
        raise ValueError(f"population: --form {options.form}, but {options.priors} has masses {masses.name!r}.")
    return masses, relations


def _survey(options: PopulationOptions) -> Survey | None:
    if options.volume is not None and options.area is not None:
        raise ValueError("population: give --volume, or --area and --redshifts, not both.")
    if options.area is not None:
        return Survey.of_sky(options.area, options.redshifts)
    return None if options.volume is None else Survey.of_volume(options.volume)


# ---- the clusters ---------------------------------------------------------------------------------------------------


def _clusters(options: PopulationOptions, path: Path) -> ObservedClusters:
    posteriors = MassPosteriors.from_parquet(path)
    if options.table is None:
        return ObservedClusters(posteriors)
    rows = _rows_of(posteriors.names, options.table)
    redshift = np.asarray(rows["redshift"], float) if "redshift" in rows.colnames else None
    observables = {name: _observable(options, rows, name) for name in options.observables}
    return ObservedClusters(posteriors, redshift, observables)


def _observable(options: PopulationOptions, rows: Table, name: str) -> Observable:
    missing = [column for column in (name, f"{name}_err") if column not in rows.colnames]
    if missing:
        raise ValueError(f"{options.table}: no column {', '.join(missing)}. It has: {', '.join(rows.colnames)}.")
    values, errors = (np.ma.filled(np.ma.asarray(rows[column], float), np.nan) for column in (name, f"{name}_err"))
    return Observable(values, errors, measured=np.isfinite(values), same_galaxies=name in options.same_galaxies)


def _rows_of(names: tuple[str, ...], path: Path) -> Table:
    """Read a table, with its rows in the order of the clusters.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: There is no column `name`, or a cluster has no row or several.
    """
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
        raise ValueError(
            f"{path}: {len(bad)} of {len(names)} clusters have no row or several, the first {bad[0]!r}.\n"
            "  try:    one row for each cluster of the mass posteriors, with its name in the column `name`"
        )
    return table[[place[name] for name in names]]


# ---- pictures -------------------------------------------------------------------------------------------------------


def _true_parameters(options: PopulationOptions, population: Population) -> dict[str, float]:
    cosmology = options.truth is not None and population.masses.name == "cosmology"
    return {name: getattr(MDPL2, name) for name in ("Om0", "sigma8", "S8")} if cosmology else {}


def _mass_function(idata: "InferenceData", points: np.ndarray, truth: str | None) -> "Figure":
    volume, grid = float(np.sum(idata["constant_data"]["volume"].values)), np.linspace(*mass_span(points), 91)
    true = None if truth is None else HaloMassFunction(truth, low=10.0, high=17.0).density(grid)
    return mass_function(grid, mass_function_band(idata, grid), points=points, volume=volume, truth=true)
