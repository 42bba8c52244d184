"""Versions of installed packages, asked of their metadata."""

from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str) -> str:
    """Version of an installed package; "unknown" if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
