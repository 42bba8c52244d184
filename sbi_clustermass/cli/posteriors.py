"""`clustermass posteriors`: parse, call `MassEstimator.posterior`, print."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from sbi_clustermass.cli.options import Device, FilePath, Flat
from sbi_clustermass.cli.printing import Printing


def posteriors(
    catalogue: FilePath,
    /,
    *,
    model: FilePath = Path("default"),
    out: FilePath,
    min_galaxies: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    device: Device = "auto",
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Infer the masses of a whole catalogue, each as a posterior on a grid, for `clustermass population`.

    A folder is read, inferred and written part by part, so that it may be larger than memory.

    Args:
        catalogue: Catalogue of clusters, a file or a folder, such as `clustermass simulate` writes.
        model: Folder of a trained estimator, from `clustermass train`; the word default stands for the one that ships.
        out: Parquet file for the posteriors.
        min_galaxies: Richness cut, which should be that of the mocks on which the estimator was trained.
        printing: How to print.
    """
    from clustermocks import Catalogue, StoredCatalogue
    from clustermocks.io.atomic import check_output
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.posterior.parquet import mass_file

    check_output(out, (".parquet",))
    estimator = MassEstimator.load(model, device=device)
    parts = StoredCatalogue.open(catalogue).whole() if catalogue.is_dir() else [Catalogue.from_parquet(catalogue)]
    cut = (part if min_galaxies is None else part.with_min_galaxies(min_galaxies) for part in parts)
    number = 0
    with mass_file(out) as add:
        for part in filter(len, cut):
            names = part.names if "name" in part.columns else tuple(map(str, range(number, number + len(part))))
            add(replace(estimator.posterior(part), names=names).rows())
            number += len(part)
    if not number:
        raise ValueError(f"{catalogue}: no cluster passes the cuts.")
    printing.wrote(out, text=f"Wrote {out}: posteriors of {number} clusters.", clusters=number)
