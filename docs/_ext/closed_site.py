"""Check that the built site is closed: every link inside it resolves, no page loads anything from another server, and
none contains the path where it was built."""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

FETCHED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
NOT_LOADED = {"canonical", "search", "index", "next", "prev", "author", "license", "copyright"}  # of <link rel>


class Page(HTMLParser):
    """Anchors of a page, its links, and the files that a browser loads with it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record one element."""
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in FETCHED and given.get(FETCHED[tag]) and given.get("rel") not in NOT_LOADED:
            self.loads.append(given[FETCHED[tag]])


def faults(site: Path, *, private: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield each fault of a built site, in a sentence; no page may contain a string of `private`."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        text = path.read_text(encoding="utf-8")
        yield from (f"{name} contains {each}" for each in private if each in text)
        for link in page.loads:
            if urlsplit(link).netloc:
                yield f"{name} loads {link} from another server"
        for link in (*page.links, *page.loads):
            yield from _broken(name, path, link, pages)


def _broken(name: Path, path: Path, link: str, pages: dict[Path, Page]) -> Iterator[str]:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        yield f"{name}: {link} leads nowhere"
    elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        yield f"{name}: {link} has no such anchor"


def private_paths(app: Sphinx) -> tuple[str, ...]:
    """Folders of the machine where the site is built, which no page may name."""
    folders = (Path(app.srcdir).parent, Path(sys.prefix), Path.home())
    return tuple(str(folder) for folder in folders if len(folder.parts) > 1)


def _check(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        found = list(faults(Path(app.outdir), private=private_paths(app)))
        if found:
            raise ExtensionError("the site is not closed:\n  " + "\n  ".join(found))


def setup(app: Sphinx) -> dict[str, bool]:
    """Check the site after every build."""
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
