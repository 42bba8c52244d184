"""`clustermass simulate`: parse, call `HaloModel.simulate` or `simulate_to`, print."""

import os
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from clustermocks.io.atomic import check_output
from clustermocks.io.paths import as_path
from sbi_clustermass.cli.interruption import ANEW, continuing
from sbi_clustermass.cli.options import Flat, Jobs, Seed
from sbi_clustermass.cli.printing import Printing

_FEWEST = 5  # galaxies of a cluster in mocks of all surveys


def simulate(
    out: str,
    /,
    *,
    n: Annotated[int, Parameter(validator=Number(gte=1))] = 20_000,
    low: float = 13.0,
    high: float = 15.6,
    masses: str = "flat",
    preset: str = "realistic",
    dominant: bool = False,
    lines: Annotated[int, Parameter(name="--lines-of-sight", validator=Number(gte=1))] = 1,
    seed: Seed = 1,
    jobs: Jobs = 2,
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Simulate a catalogue of mock clusters with interlopers.

    A folder holds any number of clusters, in constant memory. The same command continues an interrupted one. With a
    larger --n it extends the folder, and the result equals that of a single run.

    Args:
        out: Parquet file to write (mocks.parquet), or a folder of them (mocks/).
        n: Number of clusters to attempt.
        low: Lowest log10 M200c [h^-1 Msun].
        high: Highest log10 M200c [h^-1 Msun].
        masses: flat (in log10 mass), power-law (falling, to train for population fits) or mass-function (Tinker et al.
            2008).
        preset: realistic (all galaxies, recentred), clustered (the same, among neighbours that cluster as in N-body
            boxes), surveys (clustered and dominant; every 25 mocks have a redshift, field, depth and completeness of
            their own, drawn from SurveyPrior, and galaxies from PhysicsPrior) or ho2019 (the published mocks).
        dominant: Whether clusters with a heavier halo in their cylinder are left out, as a survey requires.
        lines: Number of lines of sight through each halo; each gives a cluster, with the same members.
        printing: How to print.
    """
    from clustermocks import (
        FlatMasses,
        HaloMassFunction,
        HaloModel,
        Observation,
        PhysicsPrior,
        PowerLawMasses,
        SurveyPrior,
    )
    from clustermocks.io.registry import lookup
    from sbi_clustermass.cli.progress import stage

    path = as_path(out)
    folder = out.endswith(("/", os.sep)) or path.is_dir() or not path.suffix
    if not folder:
        check_output(path, (".parquet",))
    presets = {
        "realistic": HaloModel(),
        "clustered": HaloModel().with_clustering(),
        "surveys": replace(HaloModel(), observation=Observation(min_galaxies=_FEWEST)).with_clustering(),
        "ho2019": HaloModel.ho2019(),
    }
    drawn_from = {"surveys": SurveyPrior(), "physics": PhysicsPrior()} if preset == "surveys" else {}
    model = replace(lookup("preset", preset, presets), dominant=dominant or preset == "surveys")
    draws = {
        "flat": FlatMasses(low, high),
        "power-law": PowerLawMasses(low, high),
        "mass-function": HaloMassFunction(low=low, high=high),
    }
    drawn = lookup("mass distribution", masses, draws).draw(n, seed)
    options = {"seed": seed, "lines_of_sight": lines, "n_jobs": jobs}
    how = f"The same command goes on with {path}/." if folder else f"{ANEW} A folder, {path.with_suffix('')}/, goes on."
    with continuing(how), stage("simulating clusters", n * lines, printing.notes) as advance:
        if folder:
            mocks = model.simulate_to(path, drawn, progress=advance, **options, **drawn_from)
        else:
            mocks = model.simulate(drawn, progress=advance, **options, **drawn_from)
            mocks.to_parquet(path)
    least = model.observation.min_galaxies
    where = f"{path}/" if folder else path
    text = f"Wrote {where}: {len(mocks)} of {n * lines} clusters have {least} galaxies or more."
    printing.wrote(path, text=text, clusters=len(mocks), attempted=n * lines, min_galaxies=least)
