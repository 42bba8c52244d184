"""`clustermass population`: parse, call `run_population`, print."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from sbi_clustermass.cli.options import FilePath, Flat
from sbi_clustermass.cli.printing import Printing
from sbi_clustermass.population.options import PopulationOptions


def population(
    masses: FilePath,
    /,
    *,
    out: FilePath = Path("runs/population"),
    options: Annotated[PopulationOptions, Flat] = PopulationOptions(),
    cosmology: bool = False,
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Fit the mass function, or scaling relations, behind the posteriors of many clusters.

    The training prior is divided out of each posterior. A mass function needs to know what the survey selects
    (--mocks and --min-galaxies, or --complete) and where it looked (--volume, or --area and --redshifts).

    Args:
        masses: Mass posteriors, as `clustermass posteriors` writes them.
        out: Folder for the results.
        options: What to fit.
        cosmology: Om and sigma8: the same as --form cosmology.
        printing: How to print.
    """
    from sbi_clustermass.cli.progress import console_stage
    from sbi_clustermass.population.run import CHAINS, FIT, PRIORS, SHRUNK, TABLE, run_population
    from sbi_clustermass.population.run_results import parameter_table

    options = replace(options, form="cosmology") if cosmology else options
    idata = run_population(options, masses, out, console_stage(printing.notes))
    parameters = parameter_table(idata)
    lines = parameters.pformat(max_lines=-1, max_width=-1)
    if "consistency_check" in idata.attrs:
        lines.insert(0, f"A consistency check only: {idata.attrs['consistency_check']}.")
    written = (FIT, TABLE, PRIORS, f"{CHAINS}/", *(() if options.blind else (SHRUNK,)))
    lines += [idata.attrs["predictive_checks"]] if idata.attrs["predictive_checks"] else []
    lines += ["Blinded: these are not the true values."] if options.blind else []
    lines += [f"Wrote {out}/: {', '.join(written)}, predictive checks and pictures."]
    rows = [{name: row[name] for name in parameters.colnames} for row in parameters]
    printing.wrote(out, text="\n".join(lines), parameters=rows, blinded=options.blind is not None)
