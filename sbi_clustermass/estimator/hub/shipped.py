"""Names of models: the estimator that ships with the package, folders, and URLs.

`benchmarks/ship.py` makes the shipped estimator. Masses are M200c [h^-1 Msun].
"""

from pathlib import Path

from sbi_clustermass.estimator.hub.download import fetch, is_url
from sbi_clustermass.estimator.storage import SHIPPED as SHIPPED, model_folder


def resolve_model(model: str | Path | None, *, sha256: str | None = None) -> Path:
    """Return the folder of an estimator, for `MassEstimator.load`.

    Args:
        model: Folder, or URL that ends with #sha256=... unless `sha256` is given; None or "default" for the shipped
            estimator.
        sha256: Checksum of the archive at the URL.

    Raises:
        FileNotFoundError: The shipped estimator is missing in this installation.
        ValueError: The URL has no checksum or holds no model, the checksum has no URL, or the folder is an archive.
        OSError: The model could not be downloaded, or the cache cannot be written.
    """
    if model is not None and is_url(str(model)):
        return fetch(str(model), sha256=sha256)
    if sha256 is not None:
        raise ValueError("a checksum is for a model from the web: give its URL, too.")
    folder = model_folder(model)
    if folder == SHIPPED and not folder.is_dir():
        raise FileNotFoundError(f"{folder}: this installation came without its estimator; give one with --model.")
    if folder.suffix == ".zip" and folder.is_file():
        raise ValueError(f"{folder}: an archive. Unpack it, and give the folder.")
    return folder


def shipped_note() -> str:
    """Assumptions of the shipped estimator, in one sentence."""
    return (
        "the estimator that ships with the package, trained on mock clusters at redshifts of 0.01 to 1.3 that are "
        "observed as published tables are, each group in another way, of masses flat in log10 M200c from 12.8 to 15.8; "
        "it is told the redshift, and what a table states of velocity errors and cleaning"
    )
