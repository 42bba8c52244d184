"""Unified Content Descriptors: what a column of a Virtual Observatory table says that it is.

UCD1+ of the IVOA (The UCD1+ controlled vocabulary, version 1.5, 2023), and UCD1 of older VizieR tables.
"""

MEANINGS = {  # beginnings, the more special ones first
    "pos.eq.ra": "ra",
    "pos.eq.dec": "dec",
    "pos.angdistance": "R_proj",
    "src.redshift.phot": "",
    "src.redshift": "z",
    "spect.dopplerveloc": "cz",
    "phys.veloc": "v",
    "stat.weight": "weight",
    "pos_eq_ra": "ra",
    "pos_eq_dec": "dec",
    "redshift_phot": "",
    "redshift": "z",
    "veloc_hc": "cz",
    "veloc_gc": "cz",
}
_ERRORS = {"z": "z_err", "cz": "v_err", "v": "v_err"}
_UNCHECKED = ("id", "weight", "ra_cluster", "dec_cluster", "z_cluster")
_OTHERS = ("phot", "em.", "stat.", "meta.", "src.redshift.phot", "redshift_phot", "error")
_ALIKE = {"v": ("cz", "v_los"), "cz": ("v", "v_los")}  # named and described by different words


def meaning(ucd: str) -> str | None:
    """Which of our quantities a UCD means: "" for something else, None where there is no UCD.

    Args:
        ucd: Such as "src.redshift;meta.main" or "stat.error;src.redshift".
    """
    parts = [part.strip().lower() for part in ucd.split(";") if part.strip()]
    if not parts:
        return None
    if parts[0].startswith("stat.error") and len(parts) > 1:
        return _ERRORS.get(_first(parts[1]), "")
    return "" if parts[0].startswith("stat.error") else _first(parts[0])


def contradicts(ucd: str, ours: str) -> bool:
    """Whether a UCD says that a column is something else than its name says: a magnitude called z, an error."""
    said, text = meaning(ucd), ucd.strip().lower()
    if said is None or said == ours or ours in _UNCHECKED:
        return False
    if said:
        return ours not in _ALIKE.get(said, ())
    return text.startswith(_OTHERS) and not (text.startswith("stat.error") and ours.endswith("_err"))


def is_main(ucd: str) -> bool:
    """Whether the column is the table's own choice among several of its kind."""
    return ucd.lower().endswith(("meta.main", "_main"))


def is_radio(ucd: str) -> bool:
    """Whether a velocity follows the radio convention, c (1 - nu / nu_0), instead of c z."""
    return ucd.lower().startswith("spect.dopplerveloc.rad")


def _first(word: str) -> str:
    return next((ours for start, ours in MEANINGS.items() if word.startswith(start)), "")
