"""`clustermass posteriors`: parse, call `MassEstimator.posterior`, print."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console

from sbi_clustermass.cli.options import Device


def posteriors(
    catalogue: Path,
    /,
    *,
    model: Path,
    out: Path,
    min_galaxies: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    device: Device = "auto",
) -> None:
    """Infer the masses of a whole catalogue, each as a posterior on a grid, for `clustermass population`.

    Args:
        catalogue: Catalogue of clusters, such as `clustermass simulate` writes.
        model: Folder of a trained estimator, from `clustermass train`.
        out: Parquet file for the posteriors.
        min_galaxies: Richness cut: that of the mocks the estimator was trained on.
    """
    from clustermocks import Catalogue
    from clustermocks.io.atomic import check_output
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

    check_output(out, (".parquet",))
    clusters = Catalogue.from_parquet(catalogue)
    clusters = clusters if min_galaxies is None else clusters.with_min_galaxies(min_galaxies)
    found = MassEstimator.load(model, device=device).posterior(clusters)
    found.to_parquet(out)
    Console().print(f"Wrote {out}: posteriors of {len(found)} clusters.", soft_wrap=True)
