"""Which column of an observer's table is which quantity, and the unit that its name spells out."""

import re
from collections.abc import Mapping, Sequence

from sbi_clustermass.tables.errors import closest, problem, shorten

ALIASES: dict[str, tuple[str, ...]] = {
    "ra": ("ra", "raj2000", "rightascension", "alphaj2000", "raicrs", "ragal"),
    "dec": ("dec", "decl", "dej2000", "decj2000", "declination", "deltaj2000", "deicrs", "decicrs", "decgal"),
    "z": ("z", "redshift", "zspec", "specz", "zhelio", "zcmb", "zobs", "zbest", "zgal", "redshiftspec"),
    "cz": ("cz", "czhelio", "heliocz", "czgal", "vhelio", "hrv"),
    "R_proj": ("rproj", "rp", "rprojected", "projectedradius", "projecteddistance", "clustercentricdistance", "rperp"),
    "v_los": ("vlos", "vpec", "vrel", "vrest", "vproj", "dv", "deltav", "losvelocity"),
    "z_cluster": ("zcluster", "zcl", "zclus", "redshiftcluster", "clusterredshift", "zclu"),
    "ra_cluster": ("racluster", "racl", "racen", "racentre", "racenter", "clusterra"),
    "dec_cluster": ("deccluster", "deccl", "deccen", "deccentre", "deccenter", "clusterdec"),
}

_PARSEC = re.compile(r"(?P<h1>h|hinv)?(?P<frame>[cp])?(?P<prefix>[km])pc(?P<h2>h|hinv)?")
_LITTLE_H = {"h", "hinv", "littleh"}
_FRAMES = {"comoving": "comoving", "physical": "physical", "phys": "physical", "proper": "physical"}
_FRAME_LETTERS = {"c": "comoving", "p": "physical"}


def words(text: str) -> list[str]:
    """Lower-case words of a column's name or unit; powers of -1 are dropped: 'R_proj [h^-1 Mpc]' -> r, proj, h, mpc."""
    return re.findall(r"[a-z0-9]+", re.sub(r"\^?\{?-1\}?(?![0-9])", " ", text.lower()))


def base_name(name: str) -> str:
    """A column's name without its unit and punctuation: 'RA_deg' -> 'ra', 'R_proj_cMpc_h' -> 'rproj'."""
    parts = words(name)
    units = {"deg", "degree", "degrees", "kms"} | ({"km", "s"} if "km" in parts else set())
    if any(_PARSEC.fullmatch(part) for part in parts):
        units |= _LITTLE_H
    kept = [p for p in parts if p not in units and not _PARSEC.fullmatch(p) and p not in _FRAMES]
    return "".join(kept)


def length_words(text: str) -> tuple[str | None, bool, str | None]:
    """Read a unit of length in a name or unit.

    Returns:
        "kpc" or "Mpc" or None; whether it is per h; "comoving" or "physical" or None.
    """
    parts = words(text)
    parsecs = [match for match in map(_PARSEC.fullmatch, parts) if match]
    frames = [_FRAMES[part] for part in parts if part in _FRAMES]
    if not parsecs:
        return None, False, frames[0] if frames else None
    match = parsecs[0]
    frame = frames[0] if frames else _FRAME_LETTERS.get(match["frame"])
    per_h = bool(match["h1"] or match["h2"]) or any(part in _LITTLE_H for part in parts)
    return {"k": "kpc", "m": "Mpc"}[match["prefix"]], per_h, frame


def is_quantity(name: str, ours: str) -> bool:
    """Whether a column's name is usual for a quantity; a bare R needs Mpc or kpc beside it (else a magnitude)."""
    base = base_name(name)
    return base in ALIASES[ours] or (ours == "R_proj" and base == "r" and length_words(name)[0] is not None)


def find_column(where: str, names: Sequence[str], ours: str, chosen: Mapping[str, str]) -> str | None:
    """Name of the column that holds one of our quantities, or None.

    Args:
        where: The file's name, for messages.
        names: All columns of the table.
        ours: A key of ALIASES.
        chosen: The user's own choices, ours -> theirs; they win.

    Raises:
        TableError: The user's choice is not there, or two columns could be meant.
    """
    if ours in chosen:
        if chosen[ours] not in names:
            near = closest(chosen[ours], names)
            advice = f"--column {ours}={near}" if near else ""
            raise problem(where, f"no column {chosen[ours]!r} for {ours}.", found=shorten(names), advice=advice)
        return chosen[ours]
    matches = [name for name in names if is_quantity(name, ours)]
    if len(matches) > 1:
        advice = f"--column {ours}={matches[0]}"
        raise problem(where, f"more than one column could be {ours}.", found=", ".join(matches), advice=advice)
    return matches[0] if matches else None


def check_choices(where: str, names: Sequence[str], chosen: Mapping[str, str]) -> None:
    """Refuse a choice for a quantity that does not exist.

    Raises:
        TableError: A key of `chosen` is none of ours.
    """
    for ours in chosen:
        if ours not in ALIASES:
            near = closest(ours, ALIASES)
            advice = f"--column {near}={chosen[ours]}" if near else f"one of {', '.join(ALIASES)}"
            raise problem(where, f"{ours!r} is none of our quantities.", found=shorten(names), advice=advice)


def suggestion(names: Sequence[str], ours: str) -> str:
    """Advice for a missing quantity: the column that looks most like it, or how to name one."""
    bases = {base_name(name): name for name in names if base_name(name)}
    for alias in ALIASES[ours]:
        if len(alias) > 2 and (near := closest(alias, bases)):
            return f"rename {bases[near]} to {ours}, or pass --column {ours}={bases[near]}"
    return f"name the column {ours}, or pass --column {ours}=NAME"
