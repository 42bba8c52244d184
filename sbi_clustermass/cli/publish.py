"""`clustermass publish`: parse, call one library function, print."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbi_clustermass.report import Section


def publish(
    model: Annotated[Path, typer.Argument(help="Folder of a trained estimator.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; OUT.zip, beside it, is for the web.")],
    title: Annotated[
        str | None, typer.Option(help="Of the estimator, in a line; the folder's name if left out.")
    ] = None,
    author: Annotated[str, typer.Option(help="Who made it, and how to reach them.")] = "",
    licence: Annotated[str, typer.Option(help="Under which it may be used: CC-BY-4.0, say.")] = "",
    cite: Annotated[str, typer.Option(help="What to cite beside the method.")] = "",
    limit: Annotated[
        list[str] | None, typer.Option(help="What else a user must know, a sentence; may be repeated.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Folder that `clustermass validate` wrote: its tables go into the card.")
    ] = None,
    mocks: Annotated[
        Path | None,
        typer.Option(help="Mocks drawn as the training set, but not in it: the estimator is validated on them now."),
    ] = None,
) -> None:
    """Make a trained estimator ready for others: a folder with a card (README.md) and checksums, and an archive of it.

    Put the archive on the web. Others use it by `clustermass infer galaxies.csv --model URL#sha256=...`, or unpack it
    and give the folder.
    """
    from sbi_clustermass.estimator.hub.model_card import CardMetadata, publish as written

    metadata = CardMetadata(title or model.resolve().name, author, licence, cite, tuple(limit or ()))
    digest = written(model, out, metadata, validation=_sections(model, validation, mocks))
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Wrote {out}/: README.md is its card; read it before others do.", markup=False)
    console.print(f"Wrote {out}.zip. Where you put it on the web, others give", markup=False)
    console.print(f"  --model https://.../{out.name}.zip#sha256={digest}", markup=False)


def _sections(model: Path, validation: Path | None, mocks: Path | None) -> "Sequence[Section]":
    """How good the estimator is: as was measured before, or on mocks now."""
    from clustermocks import Catalogue
    from sbi_clustermass.diagnostics.validation import Validation
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.report import load_sections

    if validation is not None and mocks is not None:
        raise ValueError("give --validation or --mocks, not both.")
    if validation is not None:
        return load_sections(validation)
    if mocks is None:
        return []
    estimator = MassEstimator.load(model, device="cpu")
    return Validation({model.resolve().name: estimator}, Catalogue.from_parquet(mocks)).sections()
