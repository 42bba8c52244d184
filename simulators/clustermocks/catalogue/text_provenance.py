"""Reader of the provenance that versions before 0.2 stored as text; nothing else parses settings out of text."""

import ast
import re
from collections.abc import Mapping
from typing import Any

from clustermocks.catalogue.provenance import Change, Provenance

_NAMES = (
    *("simulator", "simulator_revision", "seed", "lines_of_sight", "sample", "changed"),
    *("completeness_range", "velocity_error_range", "redshifts", "thinned_to"),
)


def provenance_from_text(texts: Mapping[str, str]) -> Provenance:
    """Read a catalogue's provenance from texts by name.

    Text that is not a setting becomes a note. "A; B" describes a mixture, of which A is the setting.
    """
    settings, notes = {}, {}
    for name, text in texts.items():
        if name in _NAMES:
            continue
        try:
            settings[name] = literal(text.partition(";")[0])
        except (ValueError, SyntaxError):
            notes[name] = text
        else:
            if ";" in text:
                notes[name] = text
    return Provenance(
        simulator=texts.get("simulator", ""),
        settings=settings,
        revision=_whole(texts.get("simulator_revision", "")),
        seed=_whole(texts.get("seed", "")),
        lines_of_sight=_pair(texts.get("lines_of_sight", ""), int),
        sample="members" if texts.get("sample") == "members" else "all",
        changes=tuple(map(_change, filter(None, texts.get("changed", "").split("; ")))),
        completeness=_pair(texts.get("completeness_range", ""), float),
        velocity_error=_pair(texts.get("velocity_error_range", ""), float),
        redshifts=tuple(sorted(float(z) for z in texts.get("redshifts", "").split(",") if z.strip())),
        thinned_to=_pair(texts.get("thinned_to", "").removesuffix(" galaxies"), int),
        notes=notes,
    )


def literal(text: str) -> Any:
    """Read the `repr` of a literal, or of a dataclass as the mapping of its fields; nothing is evaluated.

    Raises:
        ValueError: The text is neither.
        SyntaxError: The text is not an expression.
    """
    return _value(ast.parse(text.strip(), mode="eval").body)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        if any(each.arg is None for each in node.keywords):
            raise ValueError("no literal: **")
        return {str(each.arg): _value(each.value) for each in node.keywords}
    if isinstance(node, ast.Call) and len(node.args) == 1:  # a NumPy scalar: np.float64(0.1)
        return _value(node.args[0])
    if isinstance(node, ast.Name) and node.id == "inf":
        return float("inf")
    return ast.literal_eval(node)


def _change(text: str) -> Change:
    cleaned = re.fullmatch(r"cleaned by (\w+)", text)
    if cleaned:
        return Change("cleaned", "cleaned by {how}", {"how": cleaned[1]})
    return Change(text.split()[0], text.replace("{", "{{").replace("}", "}}"))


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d+", text) else None


def _pair(text: str, kind: type) -> tuple[Any, Any] | None:
    numbers = re.match(r"([\d.e+-]+)(?: to ([\d.e+-]+))?(?: \(|$)", text)
    return None if numbers is None else (kind(numbers[1]), kind(numbers[2] or numbers[1]))
