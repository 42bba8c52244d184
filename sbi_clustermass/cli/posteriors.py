"""`clustermass posteriors`: parse, call `MassEstimator.posterior`, print."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sbi_clustermass.cli.options import DEVICE


def posteriors(
    catalogue: Annotated[Path, typer.Argument(help="Catalogue of clusters, such as `clustermass simulate` writes.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained estimator, from `clustermass train`.")],
    out: Annotated[Path, typer.Option(help="Parquet file for the posteriors.")],
    min_galaxies: Annotated[
        int | None, typer.Option(help="Richness cut: that of the mocks the estimator was trained on.", min=1)
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
) -> None:
    """Infer the masses of a whole catalogue, each as a posterior on a grid, for `clustermass population`."""
    from clustermocks import Catalogue
    from clustermocks.io.atomic import check_output
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

    check_output(out, (".parquet",))
    clusters = Catalogue.from_parquet(catalogue)
    clusters = clusters if min_galaxies is None else clusters.with_min_galaxies(min_galaxies)
    found = MassEstimator.load(model, device=device).posterior(clusters)
    found.to_parquet(out)
    Console().print(f"Wrote {out}: posteriors of {len(found)} clusters.", soft_wrap=True)
