"""ArviZ and GetDist without what they print."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from clustermocks.io.extras import naming_extras

if TYPE_CHECKING:
    from getdist import MCSamples


@naming_extras()
def arviz():
    """ArviZ as a module. Its import warns once a day of a next version, which it notes in a folder of the user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            import arviz
        except OSError:  # that folder cannot be written, as on the nodes of some clusters
            with TemporaryDirectory() as folder, _cache_in(folder):
                import arviz
    return arviz


@naming_extras()
def getdist_samples(**arguments) -> "MCSamples":
    """`getdist.MCSamples`, which prints about burn-in unless its chains are silenced."""
    from getdist import MCSamples, chains

    before, chains.print_load_details = chains.print_load_details, False
    try:
        return MCSamples(**arguments)
    finally:
        chains.print_load_details = before


@contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = folder
    try:
        yield
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before
