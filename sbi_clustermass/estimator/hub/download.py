"""Download of published estimators: each is fetched once, checked against its checksum, and kept in a cache.

A published estimator is a zip archive that `publish` wrote. Nothing in it is executed, and only files of a model are
unpacked, so that an archive from a stranger can do no harm.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, final
from urllib.parse import urldefrag

from clustermocks.io.paths import as_path
from sbi_clustermass.estimator.hub.archive import MAX_BYTES, unpack

CACHE = "SBI_CLUSTERMASS_CACHE"  # environment variable with the folder of the cache
TIMEOUT = 30.0  # longest wait for the next bytes [s]
_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_url(model: str) -> bool:
    """Return whether this names a model on the web rather than a folder."""
    return model.lower().startswith(("http://", "https://"))


def fetch(url: str, *, sha256: str | None = None, timeout: float = TIMEOUT) -> Path:
    """Return the folder of the estimator at a URL; if it is in the cache, no network is needed.

    Args:
        url: Address of the archive; it may end with #sha256=... .
        sha256: Checksum of the archive, if the URL does not contain it.
        timeout: Longest wait for the next bytes [s].

    Raises:
        ValueError: There is no checksum, there are two different ones, the archive has another one, or the archive
            holds no model.
        OSError: The archive could not be downloaded, or the cache cannot be written.
    """
    address, digest = _address(url, sha256)
    place = cache_folder() / "models"
    folder = place / digest
    if folder.is_dir():
        return folder
    _check_writable(place)
    with TemporaryDirectory(prefix=".incoming-", dir=place) as temporary:
        archive = _download(address, digest, Path(temporary), timeout)
        whole = unpack(archive, Path(temporary) / "model")
        try:
            whole.rename(folder)
        except OSError:  # another process wrote the same files first
            if not folder.is_dir():
                raise
    return folder


def cache_folder() -> Path:
    """Folder of the downloads: the value of the environment variable `CACHE`, or the platform's folder for caches."""
    import pooch  # takes a moment

    named = os.environ.get(CACHE, "")
    return as_path(named) if named else Path(pooch.os_cache("sbi_clustermass"))


def _address(url: str, sha256: str | None) -> tuple[str, str]:
    """Split a URL into its address and checksum."""
    address, fragment = urldefrag(url)
    key, _, value = fragment.partition("=")
    checksums = {
        each.strip().lower().removeprefix("sha256:") for each in (sha256, value if key == "sha256" else None) if each
    }
    if not checksums:
        raise ValueError(
            f"{address}: a model from the web needs its checksum, so that nobody can put another in its place.\n"
            f"  try:    {address}#sha256=... with the number that its author published, or that of a copy you trust: "
            "sha256sum FILE"
        )
    if len(checksums) > 1:
        raise ValueError(f"{address}: two checksums that differ, {' and '.join(sorted(checksums))}.")
    (digest,) = checksums
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{address}: {digest!r} is no SHA-256 checksum, which has 64 hexadecimal digits.")
    return address, digest


def _check_writable(place: Path) -> None:
    """Create a folder, or raise an error that says what to do if it cannot be written."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        writable = os.access(place, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise PermissionError(
            f"{place}: a downloaded model cannot be kept there; the folder cannot be written.\n"
            f"  try:    {CACHE}=FOLDER with one that can be written; or download and unpack the archive, and give its "
            "folder as the model"
        )


def _download(address: str, digest: str, folder: Path, timeout: float) -> Path:
    """Download an archive into a folder, and check its checksum."""
    import pooch
    from requests import RequestException

    known = {"known_hash": f"sha256:{digest}", "fname": "model.zip", "path": folder}
    try:
        with _quiet(pooch.get_logger()):
            found = pooch.retrieve(address, **known, downloader=_Download(timeout))
    except RequestException as error:
        raise ConnectionError(
            f"{address}: could not be downloaded ({error}).\n"
            "  try:    again later; or download it by hand, unpack it, and give its folder as the model"
        ) from error
    except _TooLarge:
        raise
    except ValueError as error:  # raised by pooch: another checksum
        raise ValueError(
            f"{address}: not the model that was asked for. {error}\n"
            "  try:    again; or the checksum that its author publishes now"
        ) from error
    return Path(found)


@final
class _TooLarge(ValueError):
    """Download of more than `MAX_BYTES`."""


@final
class _Download:
    """Downloader for pooch that gives up if a server sends too much, or nothing for a while."""

    def __init__(self, timeout: float) -> None:
        import pooch

        self._http = pooch.HTTPDownloader(timeout=timeout, chunk_size=2**16)

    def __call__(self, fname: Any, action: Any, pooch: Any, *, check_only: bool | None = None) -> None:
        """Download an address `fname` to a path `action`; the names are those of pooch."""
        with open(action, "wb") as file:
            self._http(fname, _LimitedFile(file, fname), pooch)


@final
class _LimitedFile:
    """File that accepts no more than `MAX_BYTES`."""

    def __init__(self, file: IO[bytes], url: str) -> None:
        self._file, self._url, self._left = file, url, MAX_BYTES

    def write(self, chunk: bytes) -> int:
        """Write a chunk."""
        self._left -= len(chunk)
        if self._left < 0:
            raise _TooLarge(f"{self._url}: larger than {MAX_BYTES / 1e6:.0f} MB; that is no model.")
        return self._file.write(chunk)

    def flush(self) -> None:
        """Do nothing; the file is flushed when it is closed."""


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Suppress the names of temporary files on the terminal."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
