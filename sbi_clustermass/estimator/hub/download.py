"""An estimator behind a URL: downloaded once, checked against its checksum, kept in a cache and used from there.

A published estimator is a zip archive that `publish` wrote. Nothing in it is run, and nothing but the files of a model
is unpacked, so that an archive from a stranger can do no harm.
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

from sbi_clustermass.estimator.hub.archive import MOST_BYTES, unpack

CACHE = "SBI_CLUSTERMASS_CACHE"  # environment variable: another folder for the cache
TIMEOUT = 30.0  # longest wait for the next bytes [s]
_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_url(model: str) -> bool:
    """Whether this names a model on the web rather than a folder."""
    return model.lower().startswith(("http://", "https://"))


def fetch(url: str, *, sha256: str | None = None, timeout: float = TIMEOUT) -> Path:
    """Return the folder of the estimator behind a URL, from the cache where it is there: then no network is needed.

    Args:
        url: Of the archive; may end with #sha256=... .
        sha256: Checksum of the archive, where the URL does not say.
        timeout: Longest wait for the next bytes [s].

    Raises:
        ValueError: No checksum, two that differ, or another one than the archive's; or the archive holds no model.
        OSError: It could not be downloaded, or the cache cannot be written.
    """
    address, digest = _address(url, sha256)
    place = cache_folder() / "models"
    folder = place / digest
    if folder.is_dir():
        return folder
    with _kept_in(place), TemporaryDirectory(prefix=".incoming-", dir=place) as temporary:
        archive = _download(address, digest, Path(temporary), timeout)
        whole = unpack(archive, Path(temporary) / "model")
        try:
            whole.rename(folder)
        except OSError:  # another process was faster, with the same files
            if not folder.is_dir():
                raise
    return folder


def cache_folder() -> Path:
    """Where downloads are kept: the platform's folder for caches, or what the environment variable `CACHE` says."""
    import pooch  # takes a moment

    named = os.environ.get(CACHE, "")
    return Path(named).expanduser() if named else Path(pooch.os_cache("sbi_clustermass"))


def _address(url: str, sha256: str | None) -> tuple[str, str]:
    """The URL without its fragment, and the checksum."""
    address, fragment = urldefrag(url)
    key, _, value = fragment.partition("=")
    said = {
        each.strip().lower().removeprefix("sha256:") for each in (sha256, value if key == "sha256" else None) if each
    }
    if not said:
        raise ValueError(
            f"{address}: a model from the web needs its checksum, so that nobody can put another in its place.\n"
            f"  try:    {address}#sha256=... with the number that its author published, or that of a copy you trust: "
            "sha256sum FILE"
        )
    if len(said) > 1:
        raise ValueError(f"{address}: two checksums that differ, {' and '.join(sorted(said))}.")
    (digest,) = said
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{address}: {digest!r} is no SHA-256 checksum, which has 64 hexadecimal digits.")
    return address, digest


@contextmanager
def _kept_in(place: Path) -> Iterator[None]:
    """A folder that can be written, or a message that says what to do without one."""
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
    yield


def _download(address: str, digest: str, folder: Path, timeout: float) -> Path:
    """The archive in a folder, its checksum right.

    Raises:
        ValueError: The checksum is another one.
        OSError: The server cannot be reached, or answers with an error, or breaks off.
    """
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
    except ValueError as error:  # of pooch: another checksum
        raise ValueError(
            f"{address}: not the model that was asked for. {error}\n"
            "  try:    again; or the checksum that its author publishes now"
        ) from error
    return Path(found)


@final
class _TooLarge(ValueError):
    """More than `MOST_BYTES`."""


@final
class _Download:
    """pooch's download of one file; it gives up on a server that sends too much, or nothing for a while."""

    def __init__(self, timeout: float) -> None:
        import pooch

        self._http = pooch.HTTPDownloader(timeout=timeout, chunk_size=2**16)

    def __call__(self, fname: Any, action: Any, pooch: Any, *, check_only: bool | None = None) -> None:
        """Download; the names are pooch's, for an address, a path and itself."""
        with open(action, "wb") as file:
            self._http(fname, _Limited(file, fname), pooch)


@final
class _Limited:
    """A file that takes no more than `MOST_BYTES`."""

    def __init__(self, file: IO[bytes], url: str) -> None:
        self._file, self._url, self._left = file, url, MOST_BYTES

    def write(self, chunk: bytes) -> int:
        """Pass a chunk on."""
        self._left -= len(chunk)
        if self._left < 0:
            raise _TooLarge(f"{self._url}: larger than {MOST_BYTES / 1e6:.0f} MB; that is no model.")
        return self._file.write(chunk)

    def flush(self) -> None:
        """Nothing is gained by it."""


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Without the names of temporary files on the terminal."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
