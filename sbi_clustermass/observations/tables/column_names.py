"""Recognise the quantity that a column holds, by its name or its UCD, and the unit that its name spells out."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from sbi_clustermass.observations.tables.errors import closest, problem, shorten

ALIASES: dict[str, tuple[str, ...]] = {
    "ra": (
        *("ra", "raj2000", "rightascension", "alphaj2000", "raicrs", "ragal", "radeg", "raj", "rahms", "rafk5"),
        *("targetra", "plugra", "meanra", "galra", "rajdeg", "al2000"),
    ),
    "dec": (
        *("dec", "decl", "dej2000", "decj2000", "declination", "deltaj2000", "deicrs", "decicrs", "decgal", "dedeg"),
        *("decdeg", "decj", "decdms", "decfk5", "targetdec", "plugdec", "meandec", "galdec", "decjdeg", "de2000"),
    ),
    "z": (
        *("z", "redshift", "zspec", "specz", "zhelio", "zcmb", "zobs", "zbest", "zgal", "redshiftspec"),
        *("zsp", "zfinal", "zhel", "galz", "zspectroscopic", "redshifthelio", "rvzredshift"),
    ),
    "cz": ("cz", "czhelio", "heliocz", "czgal", "vhelio", "hrv", "vhel", "helvel", "heliovel", "vrec", "czhel"),
    "v": ("v", "vel", "velocity", "vr", "vrad", "rv", "rvel", "radialvelocity", "radvel", "vz"),  # c z or relative
    "R_proj": ("rproj", "rp", "rprojected", "projectedradius", "projecteddistance", "clustercentricdistance", "rperp"),
    "v_los": ("vlos", "vpec", "vrel", "vrest", "vproj", "dv", "deltav", "losvelocity"),
    "z_err": ("zerr", "ez", "errz", "zerror", "sigmaz", "zunc", "redshifterr", "redshifterror", "ezspec", "zspecerr"),
    "v_err": (
        *("verr", "ev", "errv", "verror", "evlos", "vloserr", "czerr", "ecz", "errcz", "vhelioerr", "evhelio"),
        *("evhel", "velerr", "evel", "ehrv", "erv", "rverr", "velocityerror", "evz", "errvz", "vzerr"),
    ),
    "weight": ("weight", "weights", "wt", "galweight"),
    "id": (
        *("cluster", "clusterid", "clid", "cluid", "clusid", "idcluster", "clustername", "clname", "cl"),
        *("clusterno", "clusternumber", "clusternr", "abell", "idcl"),
    ),
    "z_cluster": ("zcluster", "zcl", "zclus", "redshiftcluster", "clusterredshift", "zclu"),
    "ra_cluster": ("racluster", "racl", "racen", "racentre", "racenter", "clusterra"),
    "dec_cluster": ("deccluster", "deccl", "deccen", "deccentre", "deccenter", "clusterdec"),
}
_OF_GROUPS: dict[str, tuple[str, ...]] = {  # in catalogues of groups, the more usual first; names of clusters precede
    "id": (
        *("groupid", "group", "grpid", "grp", "idgroup", "idgrp", "gid", "groupname", "groupnumber", "groupno"),
        *("groupnr", "haloid", "idhalo", "fofid", "idfof", "memmatchid"),
    ),
    "ra_cluster": ("groupra", "ragroup", "grpra", "ragrp", "itercenra", "bcgra", "rabcg", "cenra", "halora", "rahalo"),
    "dec_cluster": (
        *("groupdec", "decgroup", "grpdec", "decgrp", "itercendec", "bcgdec", "decbcg", "cendec", "halodec", "dechalo"),
    ),
    "z_cluster": ("groupz", "zgroup", "grpz", "zgrp", "zfof", "groupredshift", "redshiftgroup", "haloz", "zhalo"),
}
_PHOTOMETRIC = re.compile(
    r"(?=.*(z|redshift)).*phot.*|z_?(b|bpz|ml|mc|lambda|redmagic|eazy|ph|phz|p|pdf|bayes)|(dnf|bpz|annz).*z.*", re.I
)
_DISTANCES = ("r", "radius", "dist", "distance", "sep", "separation", "theta", "rcl", "rcen", "offset", "rcluster")

_SCALED = re.compile(
    r"^(log|lg|ln)(10)?[\W_]*(r(ad(ius)?)?|rp(roj)?|r_?proj|dist.*|sep.*)([\W_]|$)"
    r"|^(r|rp|radius|dist\w*|r_?proj\w*)(\W+|_|_?(over|by)_?)r_?(\d{3}[cm]?|vir|s)\W*$|^r\w*_?norm(ali[sz]ed)?$",
    re.I,
)
_PARSEC = re.compile(r"\d*(?P<frame>[cp])?(?P<prefix>[km])pc")
_POWER = r"(?:(?:\^|\*\*)?[{(]*-1[)}]*)?"
_HUBBLE = re.compile(  # h^-1, h_70^-1, h^{-1}_{70}, /h70, hinv, littleh
    rf"(?:(?<![\d.])1\s*/\s*|/\s*)?(?:(?<![a-z])|(?<=pc))(?:littleh|hinv|h){_POWER}"
    rf"(?:_?{{?(\d{{2,3}}|0?\.\d+)}}?)?{_POWER}(?=$|[^a-z0-9]|[cp]?[km]?pc)"
)
_NUMBER = re.compile(
    r"\s*(?:10(?:\^|\*\*)?[{(]*([+-]\d+)[)}]*|10(?:\^|\*\*)(\d+)|((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))\s*[*x]?\s*(.*)"
)
_BRACKETED = re.compile(r"(.*?)[\s_]*(?:\[(.+)\]|\((.+)\))\s*")
_FRAMES = {"comoving": "comoving", "physical": "physical", "phys": "physical", "proper": "physical"}
_FRAME_LETTERS = {"c": "comoving", "p": "physical"}
_ANGLES = {
    **dict.fromkeys(("deg", "degree", "degrees"), "deg"),
    **dict.fromkeys(("arcmin", "arcmins", "arcminutes"), "arcmin"),
    **dict.fromkeys(("arcsec", "arcsecs", "arcseconds"), "arcsec"),
    **dict.fromkeys(("rad", "radian", "radians"), "rad"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours", "hourangle"), "hourangle"),
}

UCDS = {  # first words, the more special ones first: UCD1+ (IVOA vocabulary 1.5, 2023), and UCD1 of older VizieR tables
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
_UCD_ERRORS = {"z": "z_err", "cz": "v_err", "v": "v_err"}
_WITHOUT_UCD = ("id", "weight", "ra_cluster", "dec_cluster", "z_cluster")
_OTHER_UCDS = ("phot", "em.", "stat.", "meta.", "src.redshift.phot", "redshift_phot", "error")
_SYNONYMS = {"v": ("cz", "v_los"), "cz": ("v", "v_los")}  # velocities that go by several names

LengthWords: TypeAlias = tuple[str | None, float | None, str | None]  # kpc or Mpc; h; comoving or physical


def words(text: str) -> list[str]:
    """Split a column's name or unit into lower-case words without powers of -1: 'R [h^-1 Mpc]' -> r, h, mpc."""
    return re.findall(r"[a-z0-9]+", re.sub(r"\^?\{?-1\}?(?![0-9])", " ", text.lower()))


@lru_cache(maxsize=1000)
def base_name(name: str) -> str:
    """Strip unit and punctuation from a column's name: 'RA_deg' -> 'ra', 'R_proj_cMpc_h' -> 'rproj'."""
    name = split_unit(name)[0]
    parts = words(_HUBBLE.sub(" ", name.lower()) if length_words(name)[0] else name)
    units = set(_ANGLES) | {"kms"} | ({"km", "s", "sec"} if "km" in parts else set())
    units |= {"m", "s"} if parts[-2:] == ["m", "s"] else set()
    kept = [p for p in parts if p not in units and not _PARSEC.fullmatch(p) and p not in _FRAMES]
    return "".join(kept)


@lru_cache(maxsize=1000)
def length_words(text: str) -> LengthWords:
    """Read a unit of length in a name or unit: "kpc" or "Mpc", its h (1 for h^-1 Mpc), "comoving" or "physical"."""
    parts = words(_HUBBLE.sub(" ", text.lower()))
    parsecs = [match for match in map(_PARSEC.fullmatch, parts) if match]
    frames = [_FRAMES[part] for part in parts if part in _FRAMES]
    if not parsecs:
        return None, None, frames[0] if frames else None
    match = parsecs[0]
    frame = frames[0] if frames else _FRAME_LETTERS.get(match["frame"])
    hubble = _HUBBLE.search(text.lower())
    value = float(hubble[1] or 100) if hubble else None
    h = value if value is None or value < 10 else value / 100  # h_70 = H_0 / (70 km/s/Mpc) states h = .7
    return {"k": "kpc", "m": "Mpc"}[match["prefix"]], h, frame


def without_hubble(unit: str) -> str:
    """Strip what stands for the Hubble constant off a unit of length: 'h_70^-1 kpc' -> 'kpc'."""
    return _HUBBLE.sub(" ", unit.lower()).strip(" */._$")


def factor_and_unit(text: str) -> tuple[float, str]:
    """Split a unit into the number before it, 1 if there is none, and the rest: '100 kpc', '1e3 km/s', '10**-3'."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return 1.0, text.strip()
    exponent = match[1] or match[2]
    return (10.0 ** int(exponent) if exponent else float(match[3])), match[4]


@lru_cache(maxsize=1000)
def split_unit(name: str) -> tuple[str, str]:
    """Split a column's name into its title and the unit in brackets, "" if none: 'R [100 kpc]' -> 'R', '100 kpc'."""
    match = _BRACKETED.fullmatch(name)
    if match is None:
        return name, ""
    unit = match[2] or match[3]
    bare = factor_and_unit(unit)[1]
    is_unit = length_words(bare)[0] or angle_word(bare) or speed_word(bare) or bare in ("", "c", "h", "pc", "Gpc")
    return (match[1], unit) if is_unit else (name, "")


@lru_cache(maxsize=1000)
def angle_word(text: str) -> str | None:
    """Return the unit of angle that a name or unit spells out, as astropy calls it: 'theta_arcmin' -> 'arcmin'."""
    parts = ["hour"] if re.fullmatch(r"(?i)ra_?h|al2000", text) else words(text)
    return next((_ANGLES[part] for part in parts if part in _ANGLES), None)


@lru_cache(maxsize=1000)
def speed_word(text: str) -> str | None:
    """Return the unit of velocity that a name or unit spells out: 'v_kms', 'cz [km s^-1]' and 'km/sec' -> 'km / s'."""
    parts = words(text)
    if "kms" in parts or ("km" in parts and {"s", "sec"} & set(parts)):
        return "km / s"
    return "m / s" if parts[-2:] == ["m", "s"] else None


def is_quantity(name: str, ours: str, unit: str = "") -> bool:
    """Whether a column's name is usual for a quantity of ours; R without a unit of length or angle is a magnitude."""
    base = base_name(name)
    if ours == "R_proj" and base in _DISTANCES:
        texts = *split_unit(name), factor_and_unit(unit)[1]
        return any(length_words(text)[0] or angle_word(text) for text in texts)
    return base in ALIASES[ours] or base in _OF_GROUPS.get(ours, ())


def most_usual(names: Sequence[str], ours: str) -> list[str]:
    """Those of several columns of a cluster that precede the others: names of clusters, then of groups, in order."""
    usual = _OF_GROUPS.get(ours, ())
    ranks = [usual.index(base) if (base := base_name(name)) in usual else -1 for name in names]
    return [name for name, rank in zip(names, ranks, strict=True) if rank == min(ranks)]


def is_scaled_distance(name: str) -> bool:
    """Whether a column's name says that its distances are logarithms, or in units of the cluster's radius: r/r200."""
    return _SCALED.search(name) is not None


def may_be_distance(name: str) -> bool:
    """Whether a column's name is usual for a distance from the centre, and also for something else: R, radius, sep."""
    return base_name(name) in _DISTANCES


def is_photometric(name: str) -> bool:
    """Whether a column's name says that it holds photometric redshifts: photoz, z_phot, Z_B of BPZ, DNF_Z, ..."""
    return _PHOTOMETRIC.fullmatch(name) is not None


def check_choices(where: str, names: Sequence[str], chosen: Mapping[str, str]) -> None:
    """Refuse the user's choice of a column for an unknown quantity."""
    for ours in chosen:
        if ours not in ALIASES:
            near = closest(ours, ALIASES)
            advice = f"--column {near}={chosen[ours]}" if near else f"one of {', '.join(ALIASES)}"
            raise problem(where, f"{ours!r} is none of our quantities.", found=shorten(names), advice=advice)


def choice(where: str, names: Sequence[str], ours: str, theirs: str) -> str:
    """Return the user's choice of a column for one of our quantities."""
    if theirs not in names:
        near = closest(theirs, names)
        advice = f"--column {ours}={near}" if near else ""
        raise problem(where, f"no column {theirs!r} for {ours}.", found=shorten(names), advice=advice)
    return theirs


def suggestion(names: Sequence[str], ours: str) -> str:
    """Advise on a missing quantity: the column whose name resembles it and no other, or how to name one."""
    bases = {base_name(name): name for name in names if base_name(name)}
    everything = [alias for aliases in ALIASES.values() for alias in aliases]
    for alias in ALIASES[ours]:
        near = closest(alias, bases) if len(alias) > 2 else None
        if near and closest(near, everything) in ALIASES[ours]:
            return f"rename {bases[near]} to {ours}, or pass --column {ours}={bases[near]}"
    return f"name the column {ours}, or pass --column {ours}=NAME"


def ucd_quantity(ucd: str) -> str | None:
    """Return our quantity that a UCD such as "stat.error;src.redshift" describes, "" if none; None without a UCD."""
    parts = [part.strip().lower() for part in ucd.split(";") if part.strip()]
    if not parts:
        return None
    if parts[0].startswith("stat.error") and len(parts) > 1:
        return _UCD_ERRORS.get(_first_match(parts[1]), "")
    return "" if parts[0].startswith("stat.error") else _first_match(parts[0])


def ucd_contradicts(ucd: str, ours: str) -> bool:
    """Whether a column's UCD contradicts its name, such as that of a magnitude called z, or of an error."""
    found, text = ucd_quantity(ucd), ucd.strip().lower()
    if found is None or found == ours or ours in _WITHOUT_UCD:
        return False
    if found:
        return ours not in _SYNONYMS.get(found, ())
    return text.startswith(_OTHER_UCDS) and not (text.startswith("stat.error") and ours.endswith("_err"))


def is_main(ucd: str) -> bool:
    """Whether the UCD marks the column as the main one among several of its kind."""
    return ucd.lower().endswith(("meta.main", "_main"))


def is_radio(ucd: str) -> bool:
    """Whether a UCD describes a velocity of the radio convention, c (1 - nu / nu_0), instead of c z."""
    return ucd.lower().startswith("spect.dopplerveloc.rad")


def _first_match(word: str) -> str:
    return next((ours for start, ours in UCDS.items() if word.startswith(start)), "")
