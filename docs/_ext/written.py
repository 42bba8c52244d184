"""Generated pages are written only if they change, because Sphinx reads newer pages again."""

from collections.abc import Mapping
from pathlib import Path


def write_changed(path: Path, text: str) -> None:
    """Write a page, unless it has the same text already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def write_all(folder: Path, pages: Mapping[str, str]) -> None:
    """Write a folder's generated pages by file name, and remove those that are no longer generated."""
    for name, text in pages.items():
        write_changed(folder / name, text)
    suffixes = {Path(name).suffix for name in pages}
    for old in folder.glob("*"):
        if old.suffix in suffixes and old.name not in pages:
            old.unlink()
