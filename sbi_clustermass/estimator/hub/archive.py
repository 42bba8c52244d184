"""Zip archives of model folders: packed to the same bytes for the same files, and unpacked without trusting them."""

import zlib
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from clustermocks.io.atomic import replacing
from clustermocks.io.paths import as_path
from sbi_clustermass.estimator.storage import CARD, STORED, WEIGHTS

README, MANIFEST, CHECKSUMS = "README.md", "model.json", "SHA256SUMS"
FILES = (*STORED, README, MANIFEST, CHECKSUMS)
MAX_BYTES = 200_000_000  # of an archive and of its content; models have 0.1 to 20 MB
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date in zip archives
_IS_LINK = 0o120000
_DAMAGE = (
    BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ArithmeticError,
    LookupError,
    UnicodeError,
)


def pack(folder: Path, path: Path) -> None:
    """Write the files of a published model into an archive, completely or not at all.

    Raises:
        OSError: A file cannot be read, or the archive cannot be written.
    """
    folder = as_path(folder)
    with replacing(path) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for name in FILES:
            if (folder / name).is_file():
                entry = ZipInfo(f"{path.stem}/{name}", _EPOCH)  # no times: the checksum depends on the files alone
                entry.external_attr, entry.compress_type = 0o644 << 16, ZIP_DEFLATED
                archive.writestr(entry, (folder / name).read_bytes())


def unpack(path: Path, folder: Path) -> Path:
    """Unpack an archive that `pack` wrote into a new folder, and return the folder.

    The files may be at the top level or in one folder. Anything else (paths that lead elsewhere, links, further files)
    is refused, by name, before anything is written.

    Raises:
        ValueError: The file is not an archive, is damaged, encrypted or too large, or holds other files than a model's.
    """
    path, folder = as_path(path), as_path(folder)
    with path.open("rb") as file:
        try:
            with ZipFile(file) as archive:
                entries = _checked([each for each in archive.infolist() if not each.is_dir()])
                content = {name: archive.read(entry) for name, entry in entries.items()}  # at most entry.file_size
        except _DAMAGE as error:
            raise ValueError(f"{path.name}: not a zip archive of a model, or damaged ({error}).") from error
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


def _checked(entries: list[ZipInfo]) -> dict[str, ZipInfo]:
    """Check the entries of an archive, and return them by the name of their file."""
    found: dict[str, ZipInfo] = {}
    tops = {PurePosixPath(entry.filename).parent for entry in entries}
    for entry in entries:
        place = PurePosixPath(entry.filename)
        link = (entry.external_attr >> 16) & 0o170000 == _IS_LINK
        if place.name not in FILES or len(place.parts) > 2 or ".." in place.parts or place.is_absolute() or link:
            raise ValueError(
                f"the archive holds {entry.filename!r}, which is no file of a model; nothing was unpacked."
            )
        if place.name in found:
            raise ValueError(f"the archive holds {place.name} twice; nothing was unpacked.")
        found[place.name] = entry
    if len(tops) > 1 or not {CARD, WEIGHTS} <= set(found):
        raise ValueError(f"the archive holds no model: {CARD} and {WEIGHTS} in one place; nothing was unpacked.")
    if sum(entry.file_size for entry in entries) > MAX_BYTES:
        raise ValueError(f"the archive holds more than {MAX_BYTES / 1e6:.0f} MB; that is no model.")
    return found
