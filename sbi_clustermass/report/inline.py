"""The little markup that texts may hold: `code` in backticks and [words](https://...). Anything else is plain text."""

import re
from collections.abc import Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"`\\]+")
_SPECIAL = re.compile(r"[\\*<~`|\[\]]|&(?=[#\w]+;)|(?<![^\W_])_|_(?![^\W_])|!$|#(?=#*$)")  # to Markdown; not so a_b
# what opens a list, a heading or a quote
_OPENING = re.compile(r"^(?:(?P<n>\d{1,9})(?=[.)](?:\s|$))|(?=[#>=]|[+-](?:[\s-]|$)))")


class _Parser(MarkdownIt):
    """A parser of code and web links, whose addresses stay as they are written."""

    def validateLink(self, url: str) -> bool:
        return _WEB_ADDRESS.fullmatch(url) is not None

    def normalizeLink(self, url: str) -> str:
        return url


_PARSER, _RENDERER = _Parser("zero").enable(["backticks", "link"]), RendererHTML()


def as_html(text: str) -> Markup:
    """Return a text as HTML: code and links are marked up, all other characters are escaped."""
    tokens = _tokens(text)
    for token in tokens:
        if token.type == "link_open":
            token.attrSet("rel", "noreferrer")
    return Markup(_RENDERER.renderInline(tokens, _PARSER.options, {}))


def as_markdown(text: str) -> str:
    """Return a text as a Markdown paragraph in one line: code and links stay, all other characters are plain."""
    return _OPENING.sub(r"\g<n>\\", "".join(_as_markdown(_tokens(" ".join(text.split())))))


def escaped(text: str) -> str:
    """Return a plain text for a Markdown file, in one line: no character has a meaning."""
    return _escaped(" ".join(text.split()))


def _tokens(text: str) -> list[Token]:
    return _PARSER.parseInline(text)[0].children or []


def _as_markdown(tokens: Iterable[Token]) -> Iterator[str]:
    address = ""
    for token in tokens:
        if token.type == "code_inline":
            yield f"{token.markup}{token.content}{token.markup}"
        elif token.type == "link_open":
            address = token.attrs["href"]
            yield "["
        elif token.type == "link_close":
            yield f"]({address})"
        else:
            yield _escaped(token.content)  # with the blanks at its ends


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text)
