"""Messages for a table that cannot be used (where, what, what was found, what to try), and checks that raise them."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import final

MAX_REDSHIFT = 2.0


@final
class TableError(ValueError):
    """A table of galaxies that gives no cluster; the message says why and what to do.

    Whatever reads or checks a part of a table may raise it.

    Attributes:
        what: What is wrong, without the place.
        found: What was there instead, "" if that is not said.
    """

    what: str = ""
    found: str = ""


def problem(where: str, what: str, *, found: str = "", advice: str = "") -> TableError:
    """Make a TableError of up to three lines: in which file, what is wrong, what was there instead, what to do."""
    lines = [f"{where}: {what}"]
    if found:
        lines.append(f"  found:  {found}")
    if advice:
        lines.append(f"  try:    {advice}")
    error = TableError(encodable("\n".join(lines)))
    error.what, error.found = encodable(what), encodable(found)
    return error


def encodable(text: str) -> str:
    r"""Return the text with escapes for what no encoding has, such as the bytes of a file's name that are no UTF-8.

    Example:
        >>> encodable("caf\udce9")
        'caf\\udce9'
    """
    return text.encode(errors="backslashreplace").decode()


def counted(count: int, noun: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "row"), counted(3, "row")
        ('1 row', '3 rows')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def first_line(error: BaseException) -> str:
    """Return the first line of another library's message, or the error's type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def closest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice spelled most like `word`, if any is close."""
    near = get_close_matches(word, list(choices), n=1)
    return near[0] if near else None


def shorten(names: Iterable[str], limit: int = 12) -> str:
    """Join names in one line, the first `limit` of them."""
    names = list(names)
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def check_redshift(where: str, redshift: float) -> None:
    """Refuse an impossible redshift of a cluster."""
    if not 0 < redshift <= MAX_REDSHIFT:
        is_cz = redshift > 100
        advice = f"c z in km/s? Then z is {redshift / 299_792.458:.4f}" if is_cz else "pass the cluster's redshift"
        what = f"the redshift of a cluster lies between 0 and {MAX_REDSHIFT:g}."
        raise problem(where, what, found=f"{redshift:g}", advice=advice)


def check_centre(where: str, centre: tuple[float, float]) -> None:
    """Refuse a centre that is no point on the sky."""
    ra, dec = centre
    if not (-180 <= ra <= 360 and -90 <= dec <= 90):
        what = "a centre is right ascension (0 to 360) and declination (-90 to 90), both in degrees."
        raise problem(where, what, found=f"{ra:g}, {dec:g}", advice="194.95, 27.98 is Coma")
