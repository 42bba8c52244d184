"""Estimators that others trained: the one that ships with the package, folders, and archives behind a URL."""

from sbi_clustermass.published.archive import pack, unpack
from sbi_clustermass.published.download import cache_folder, fetch
from sbi_clustermass.published.publishing import About, publish
from sbi_clustermass.published.shipped import SHIPPED, resolve_model, shipped_note

__all__ = ["SHIPPED", "About", "cache_folder", "fetch", "pack", "publish", "resolve_model", "shipped_note", "unpack"]
