"""Look-up of choices by name: files and the command line hold strings, Python callers pass objects."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return `table[name]`, or raise an error that lists the choices.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> lookup("flow", "maff", {"maf": 1})
        Traceback (most recent call last):
        ValueError: unknown flow 'maff'. Did you mean 'maf'? Choose from: maf.
    """
    if name in table:
        return table[name]
    near = get_close_matches(str(name), table, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"unknown {kind} {name!r}.{hint} Choose from: {', '.join(sorted(table))}.")


def split_name(kind: str, config: object) -> tuple[str, dict[str, Any]]:
    """Split `{"name": ..., **fields}`, as read from JSON, into the name and the fields.

    Raises:
        ValueError: If this is not a mapping with a name.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("name"), str):
        raise ValueError(f"{kind} description has no name. It needs {{'name': ..., fields}}; found: {config!r}")
    return config["name"], {str(key): value for key, value in config.items() if key != "name"}


def check_fields(kind: str, fields: Mapping[str, object], known: tuple[str, ...]) -> None:
    """Refuse fields that `kind` does not have.

    Raises:
        ValueError: Naming the first unknown field, the nearest known one and all known ones.
    """
    for name in fields:
        lookup(f"field of {kind}", name, dict.fromkeys(known))
