"""Packages that the distribution installs only on request, as its extras."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

EXTRAS = {
    "pyro": "population",
    "arviz": "population",
    "xarray": "population",
    "camb": "cosmology",
    "getdist": "chains",
    "chainconsumer": "chains",
    "pandas": "chains",
    "numpyro": "numpyro",
    "jax": "numpyro",
}


@final
class MissingExtra(ModuleNotFoundError):
    """A package is missing that an extra installs."""


@contextmanager
def naming_extras() -> Iterator[None]:
    """Name the extra if an import fails for lack of a package of `EXTRAS`; also decorates a function.

    Raises:
        MissingExtra: A package of an extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        message = f'{package} is not installed.\n  try:    pip install "sbi-clustermass[{EXTRAS[package]}]"'
        raise MissingExtra(message, name=error.name) from error
