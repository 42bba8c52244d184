"""Rows that a survey's own quality flags, or the user's condition, exclude.

Each rule is that of the archive which writes the flag; a condition of the user on a flag's column replaces its rule.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

import numpy as np
from jaxtyping import Bool, Int, UInt8

from sbi_clustermass.estimator.verdict import Grade, Reason
from sbi_clustermass.observations.tables.access import column_of
from sbi_clustermass.observations.tables.column_names import base_name
from sbi_clustermass.observations.tables.column_reader import ColumnReader
from sbi_clustermass.observations.tables.conditions import Condition, plain_values
from sbi_clustermass.observations.tables.errors import shorten

if TYPE_CHECKING:
    from sbi_clustermass.observations.tables.options import TableOptions

_BEST, _STAR = 3, 6  # of scales such as those of 2dFGRS, 6dFGS and GAMA: from 3 a redshift is reliable
_NED_GOOD = re.compile(r"(S[A-Z0-9]{2} ?|1LIN|SPEC|)$")  # techniques of NED; a trailing : or ? is an uncertain value
_NED = re.compile(r"([SPMLIU][A-Z0-9]{2} ?|1LIN|SPEC|EST|LUM|MFA|MOD|PHOT|PRED|SED|TENT|TOMO|SN|FOF|)[:?]?$", re.I)
_SPECTROSCOPIC = re.compile(r"(s|sp|spec.*|z_?sp.*|hi|21 ?cm|sz)$", re.I)
_PHOTOMETRIC = re.compile(r"(p|ph|phot.*|z_?p(h.*)?|pz)$", re.I)
_PHOTO = re.compile(r"(z_?)?phot", re.I)  # says so whatever the other words are
_SPECTRA = ("galaxy", "gal", "star", "qso", "agn", "sky", "unknown", "tgt", "bad", "nonexist", "white_dwarf", "wd")
_NO_GALAXY = ("star", "sky", "bad", "nonexist", "white_dwarf", "wd")
_OBJECTS = ("g", "galaxy", "gpair", "gclstr", "ggroup", "gtrpl", "qso", "*", "**", "*cl", "sn", "hii", "pn", "star")
_OTHER_OBJECTS = ("*", "**", "*cl", "star", "sn", "hii", "pn", "gclstr", "ggroup", "gtrpl", "clg", "grg", "c?g", "gr?")
_LIKELY = re.compile(
    r"fla?g|qual|warn|conf|grade|^z?q[fz]?$|^ztype$|^(spec)?class$|^spectype$|^cc(lass)?$|^zstatus$|^mask$|^use$|^usezgrism$|^zbests$"
)
_MARK = re.compile(
    r"[flnu]_(z|cz|redshift|h?rv|vel|v)\w*", re.I
)  # flags, limits, notes and doubts, as VizieR names them
_MEMBER = re.compile(r"(is)?(member|memb|mm|clustermember)(flag)?")
_MOST_VALUES = 40  # of a flag
UNMET = "not met: "  # before the user's condition
MANY = 0.5  # of the rows: a rule that drops more may be read wrongly

Values = np.ma.MaskedArray
Rule = Callable[[Values], "tuple[Bool[np.ndarray, 'row'], str] | None"]


@final
@dataclass(frozen=True)
class Exclusions:
    """Rows that are excluded, by the rule that excludes them first.

    Attributes:
        code: 0 for a row that is kept, else the number of its rule from 1, (row,).
        rules: What is true of the excluded rows, such as "ZWARN != 0".
        ignored: Columns that look like flags and are not used, with their values.
    """

    code: UInt8[np.ndarray, "row"]
    rules: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    @classmethod
    def of_table(cls, reader: ColumnReader, options: "TableOptions") -> Self:
        """Apply the condition of the user, and the rule of every known flag that the condition does not name."""
        table, code = reader.table, np.zeros(len(reader.table), np.uint8)
        given = None if options.where is None else Condition.parse(options.where)
        found = list(_by_flags(reader, given.columns(table) if given else set()))
        if given is not None:
            found.insert(0, (~given.holds(table, reader.where), f"{UNMET}{given.text}"))
        found = [(bad, words) for bad, words in found if bad is None or bad.any()]
        rules = [(bad, words) for bad, words in found if bad is not None]
        for number, (bad, _) in enumerate(rules, 1):
            code[bad & (code == 0)] = number
        return cls(code, tuple(words for _, words in rules), tuple(words for bad, words in found if bad is None))

    def at(self, rows: Int[np.ndarray, "row"]) -> Self:
        """Those of some rows."""
        return type(self)(self.code[rows], self.rules, self.ignored)

    def also(self, bad: Bool[np.ndarray, "row"], words: str) -> Self:
        """Exclude more rows, unless they are already."""
        code = np.where(bad & (self.code == 0), len(self.rules) + 1, self.code).astype(np.uint8)
        return type(self)(code, (*self.rules, words), self.ignored)

    def counts(self) -> dict[str, int]:
        """Numbers of rows by rule, zeros left out."""
        counts = np.bincount(self.code, minlength=len(self.rules) + 1)[1:].tolist()
        return {rule: n for rule, n in zip(self.rules, counts, strict=True) if n}

    def reasons(self) -> Iterator[Reason]:
        """What was dropped by which rule, and which flags were not used."""
        for rule, n in self.counts().items():
            most = n > MANY * len(self.code)
            text = f"{n} rows dropped: {rule}"
            more = ", most of them: a condition on that column (--where) replaces the rule" if most else ""
            yield Reason(text + more, Grade.CARE if most else Grade.USE)
        for words in self.ignored:
            yield Reason(words, Grade.USE)


def _by_flags(reader: ColumnReader, overruled: set[str]) -> "Iterator[tuple[Bool[np.ndarray, 'row'] | None, str]]":
    """Rows that each known flag excludes with the words for it; None with a note for an unknown one."""
    for name in reader.table.colnames:
        base = base_name(name)
        likely = bool(_LIKELY.search(base) or _MARK.fullmatch(name) or _MEMBER.fullmatch(base))
        if name in overruled or name in reader.chosen.values() or not (base in _RULES or likely):
            continue
        column = column_of(reader.table, name)
        if column.ndim != 1 or column.dtype.kind not in "biufSUO":
            continue
        values = plain_values(column)
        found = _RULES[base](values) if base in _RULES else None
        if found is not None:
            yield np.ma.filled(found[0], False), f"{name} {found[1]}"
        elif likely and (note := _unknown(name, values)):
            yield None, note


def _unknown(name: str, values: Values) -> str | None:
    """Name a column that looks like a flag of the redshifts, but is none that is known."""
    distinct = np.unique(values.compressed())
    listed = [f"{value:g}" if values.dtype.kind == "f" else str(value) for value in distinct]
    listed += ["blank"] if _MARK.fullmatch(name) and np.ma.getmaskarray(values).any() else []
    if not 1 < len(listed) <= _MOST_VALUES:
        return None
    if _MEMBER.fullmatch(base_name(name)):
        return f"column {name} ({shorten(listed, 8)}) is not used: interlopers count, as they do in the mocks"
    return f"column {name} ({shorten(listed, 8)}) is not used: if it grades redshifts, --where selects rows by it"


def _warning(values: Values) -> "tuple[Bool[np.ndarray, 'row'], str] | None":
    """SDSS, BOSS and DESI: 0 for a redshift without a problem."""
    return (values != 0, "!= 0") if values.dtype.kind in "bf" else None


def _scale(values: Values) -> "tuple[Bool[np.ndarray, 'row'], str] | None":
    """2dFGRS, 6dFGS, GAMA, WiggleZ, OzDES, DEEP2: whole numbers that rise with the quality."""
    found = values.compressed()
    if values.dtype.kind != "f" or not len(found) or (found % 1 != 0).any() or not _BEST <= found.max() <= _STAR:
        return None
    stars = f" or {_STAR} (stars)" if (found == _STAR).any() else ""
    return (values < _BEST) | (values == _STAR), f"< {_BEST}{stars}"


def _words(known: Sequence[str], bad: Sequence[str]) -> Rule:
    """Classes of spectra (SDSS, DESI) or of objects (NED, SIMBAD), where at least half of the words are known."""

    def rule(values: Values) -> "tuple[Bool[np.ndarray, 'row'], str] | None":
        if values.dtype.kind != "U":
            return None
        words = np.char.lower(np.ma.filled(values, ""))
        if np.isin(words, known).sum() <= (words != "").sum() / 2:
            return None
        excluded = np.isin(words, bad)
        return excluded, f"is {' or '.join(np.unique(np.ma.filled(values, '')[excluded]).tolist())}"

    return rule


def _ned(values: Values) -> "tuple[Bool[np.ndarray, 'row'], str] | None":
    """NED's flags of redshifts: how they were measured, and a mark for uncertain ones."""
    if values.dtype.kind != "U":
        return None
    words = np.ma.filled(values, "")
    if not all(map(_NED.match, np.unique(words).tolist())):
        return None
    good = np.array([_NED_GOOD.match(word.upper()) is not None for word in words.tolist()])
    return ~good, f"is {' or '.join(np.unique(words[~good]).tolist())}: no certain spectroscopic redshifts"


def _origin(values: Values) -> "tuple[Bool[np.ndarray, 'row'], str] | None":
    """Whether a redshift is spectroscopic or photometric, in words."""
    if values.dtype.kind != "U":
        return None
    words = np.ma.filled(values, "")
    kinds = np.unique(words[words != ""]).tolist()
    perhaps = [kind for kind in kinds if _PHOTOMETRIC.match(kind)]
    clear = all(_SPECTROSCOPIC.match(kind) for kind in kinds if kind not in perhaps)
    photometric = [kind for kind in perhaps if clear or _PHOTO.match(kind)]
    if not photometric:
        return (np.zeros(len(words), bool), "") if kinds and not perhaps else None
    return np.isin(words, photometric), f"is {' or '.join(photometric)}: photometric redshifts"


def _true(values: Values) -> "tuple[Bool[np.ndarray, 'row'], str] | None":
    """A column that is true for good, or spectroscopic, redshifts."""
    truth = _truth(values)
    return None if truth is None else (~truth, "is false")


def _false(values: Values) -> "tuple[Bool[np.ndarray, 'row'], str] | None":
    """A column that is true for bad, or photometric, redshifts."""
    truth = _truth(values)
    return None if truth is None else (truth, "is true")


def _truth(values: Values) -> Values | None:
    """Truth values, 0 and 1, or such words; missing ones are masked."""
    if values.dtype.kind == "b":
        return values
    words = {"true": True, "t": True, "yes": True, "y": True, "false": False, "f": False, "no": False, "n": False}
    table = {"1.0": True, "0.0": False, **words} if values.dtype.kind == "f" else words
    texts = [str(value).lower() for value in values.compressed().tolist()]
    if not texts or not set(texts) <= set(table):
        return None
    truth = np.ma.array(np.zeros(len(values), bool), mask=np.ma.getmaskarray(values))
    truth[~truth.mask] = [table[text] for text in texts]
    return truth


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("zwarn", "zwarning", "zwarningnoqso", "zwarnnoqso", "coaddfiberstatus"), _warning),
    **dict.fromkeys(("nq", "q", "qop", "zq", "qz", "zqual", "qualz", "zquality", "qualityz", "quality"), _scale),
    **dict.fromkeys(("redshiftquality", "qualityredshift", "qualityflag", "zqop", "qual"), _scale),
    **dict.fromkeys(("class", "spectype", "specclass", "objtype", "objclass", "zclass"), _words(_SPECTRA, _NO_GALAXY)),
    **dict.fromkeys(("type", "objecttype", "otype", "maintype"), _words(_OBJECTS, _OTHER_OBJECTS)),
    **dict.fromkeys(("redshiftflag", "zflag", "nedzflag"), _ned),
    **dict.fromkeys(("ztype", "redshifttype", "ztyp", "typez", "zsource", "zkind", "zmethod", "zorigin"), _origin),
    **dict.fromkeys(("rvznature", "ztech", "ztechnique"), _origin),
    **dict.fromkeys(("goodz", "zgood", "goodredshift", "goodspec", "reliable", "secure", "securez"), _true),
    **dict.fromkeys(("isspec", "isspecz", "hasspec", "hasspecz", "isspectroscopic", "spectroscopic"), _true),
    **dict.fromkeys(("usez", "zuse", "zok", "okz"), _true),
    **dict.fromkeys(("zcatprimary", "mainprimary", "specprimary", "scienceprimary"), _true),  # of repeated spectra
    **dict.fromkeys(("isstar", "star", "isphot", "isphotz", "isphotometric", "badz", "badredshift"), _false),
}
