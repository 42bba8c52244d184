"""`clustermass publish`: parse, call one library function, print."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sbi_clustermass.cli.options import FilePath, Flat
from sbi_clustermass.cli.printing import Printing
from sbi_clustermass.estimator.hub.card_metadata import CardMetadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbi_clustermass.report import Section


def publish(
    model: FilePath,
    out: FilePath,
    /,
    *,
    metadata: Annotated[CardMetadata, Flat] = CardMetadata(),
    validation: FilePath | None = None,
    mocks: FilePath | None = None,
    printing: Annotated[Printing, Flat] = Printing(),
) -> None:
    """Make a trained estimator ready for others: a folder with a card (README.md) and checksums, and an archive of it.

    Put the archive on the web. Others use it by `clustermass infer galaxies.csv --model URL#sha256=...`, or unpack it
    and give the folder.

    Args:
        model: Folder of a trained estimator.
        out: Folder to write; OUT.zip, next to it, is for the web.
        metadata: Texts of the card.
        validation: Folder that `clustermass validate` wrote: its tables go into the card.
        mocks: Mocks drawn as the training set, but not in it: the estimator is validated on them now.
        printing: How to print.
    """
    from sbi_clustermass.estimator.hub.model_card import publish as written

    metadata = metadata if metadata.title else replace(metadata, title=model.resolve().name)
    digest = written(model, out, metadata, validation=_sections(model, validation, mocks))
    lines = (
        f"Wrote {out}/: README.md is its card; read it before others do.",
        f"Wrote {out}.zip. Where you put it on the web, others give",
        f"  --model https://.../{out.name}.zip#sha256={digest}",
    )
    printing.wrote(out, out.with_name(f"{out.name}.zip"), text="\n".join(lines), sha256=digest)


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
