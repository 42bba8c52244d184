"""Conversion of this project's docstrings, plain text with `code` and $mathematics$, and of its signatures, for Sphinx.

In reStructuredText `|v_los|` would be a substitution, `log10_` a link and `*` emphasis; here they are literal.
"""

import re
from collections.abc import Iterator

from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain

_PIECE = re.compile(r"(``[^`]+``|`[^`]+`|\$[^$]+\$)")
_SPECIAL = re.compile(r"^(\s*\* )|([|*\\])", re.MULTILINE)  # a bullet stays one
_COLON = "\ue000"
_PATH = re.compile(r"\w+Path\('[^']*?([^/']+/[^/']+)'\)")
_TRAILING = re.compile(r"(?<=\w)_+(?!\w)")  # `R_` and `R__` would be links


def converted(lines: list[str]) -> list[str]:
    """Lines of a docstring, in reStructuredText."""
    found: list[str] = []
    for block, literal in _blocks(lines):
        found += block if literal else _text(block)
    return found


def _blocks(lines: list[str]) -> Iterator[tuple[list[str], bool]]:
    """Yield paragraphs and the lines between them; doctests are literal."""
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
            continue
        if block:
            yield block, any(each.lstrip().startswith(">>>") for each in block)
        yield [""], True
        block = []


def _text(block: list[str]) -> list[str]:
    """Convert one paragraph; a formula between double dollars becomes a block."""
    text, indent = "\n".join(block), " " * (len(block[0]) - len(block[0].lstrip()))
    parts = re.split(r"\$\$(.+?)\$\$", text, flags=re.DOTALL)
    found: list[str] = []
    for i, part in enumerate(parts):
        if i % 2:
            found += ["", f"{indent}.. math::", "", f"{indent}   {' '.join(part.split())}", ""]
        elif part.strip():
            found += f"{indent if i else ''}{_joined(part).strip() if i else _joined(part).rstrip()}".split("\n")
    return found


def _joined(text: str) -> str:
    return "".join(_piece(piece) for piece in _PIECE.split(text))


def _piece(piece: str) -> str:
    if piece.startswith("$") and piece.endswith("$") and len(piece) > 2:
        return f":math:`{' '.join(piece[1:-1].split())}`\\ "
    if piece.startswith("`"):
        return piece
    escaped = _SPECIAL.sub(lambda found: found[1] or f"\\{found[2]}", piece)
    return _TRAILING.sub(lambda found: r"\_" * len(found[0]), escaped)


def _before(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = converted(lines)
    if what in ("property", "attribute", "data"):  # napoleon would take the text before a colon for a type
        lines[:] = [line.replace(": ", f"{_COLON} ") for line in lines]


def _after(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def portable(signature: str) -> str:
    """Signature in which a path is the part that does not depend on where the package is."""
    return _PATH.sub(r"'.../\1'", signature)


def _signature(app: Sphinx, what: str, name: str, obj: object, options: object, signature: str, returns: str):
    return (portable(signature) if signature else signature), returns


def setup(app: Sphinx) -> dict[str, bool]:
    """Convert before napoleon reads the sections; fields of a dataclass are its attributes."""
    app.connect("autodoc-process-docstring", _before, priority=100)
    app.connect("autodoc-process-docstring", _after, priority=900)
    app.connect("autodoc-process-signature", _signature)
    for field in getattr(PythonDomain.directives["class"], "doc_field_types", ()):
        field.label = "Attributes" if field.name == "variable" else field.label
    return {"parallel_read_safe": True, "parallel_write_safe": True}
