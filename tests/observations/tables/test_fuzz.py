"""Damaged tables: each gives a message, or the mass of the cluster, or a warning that it does not.

The mass is represented by sigma^2 R of the galaxies in the cylinder, which is what a virial mass is made of.
"""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from astropy.table import Table

from sbi_clustermass.observations.tables import TableError, TableOptions, read_table
from sbi_clustermass.observations.tables.warnings import field_reasons

WRITERS = {
    ".csv": {"format": "ascii.csv"},
    ".tsv": {"format": "ascii.csv", "delimiter": "\t"},
    ".txt": {"format": "ascii.basic"},
    ".ecsv": {"format": "ascii.ecsv"},
    ".fits": {"format": "fits"},
    ".vot": {"format": "votable"},
    ".h5": {"format": "hdf5", "path": "galaxies", "serialize_meta": True},
    ".parquet": {"format": "parquet"},
}
SHARES = [0.15, 0.1, 0.1, 0.2, 0.2, 0.1, 0.05, 0.1]  # HDF5 takes a process of its own each time
OTHER_UNITS = {
    "deg": ("rad", "arcmin", "hourangle", "Mpc"),
    "km / s": ("m / s", "Mpc", "pc / yr", "kg"),
    "Mpc": ("kpc", "deg", "km / s", "Mpc / littleh"),
    "": ("km / s", "mag", "deg"),
}
LIMIT = 0.3  # dex in sigma^2 R: four standard errors of 150 galaxies (.05 in sigma^2, .06 in R)


@dataclass(frozen=True)
class Case:
    """A table that is right, and the options that it needs."""

    table: Table
    options: TableOptions


def sky(ra, dec, velocity):
    """A cluster of 200 galaxies in a thin field, as positions and redshifts or c z."""
    rng = np.random.default_rng(7)
    offset = np.concatenate([rng.normal(0, 0.08, (200, 2)), rng.uniform(-0.6, 0.6, (60, 2))])
    v = np.concatenate([rng.normal(0, 700, 200), rng.uniform(-15_000, 15_000, 60)])
    z = 1.1 * (1 + v / 299_792.458) - 1
    table = Table({"ra": (ra + offset[:, 0] / np.cos(np.deg2rad(dec))) % 360, "dec": dec + offset[:, 1]})
    table["ra"].unit = table["dec"].unit = "deg"
    table["z" if velocity == "z" else "cz"] = z if velocity == "z" else 299_792.458 * z
    error = np.full(260, 1e-4)
    table["e_z" if velocity == "z" else "e_cz"] = error if velocity == "z" else 299_792.458 * error
    if velocity == "cz":
        table["cz"].unit = table["e_cz"].unit = "km / s"
    table["source"] = "survey"
    return table


def phase_space():
    """Physical distances and velocities of 240 galaxies."""
    rng = np.random.default_rng(8)
    table = Table({"R_proj": rng.exponential(0.7, 240), "v_los": rng.normal(0, 800, 240)})
    table["R_proj"].unit, table["v_los"].unit = "Mpc", "km / s"
    return table


CASES = {
    "sky": Case(sky(359.9, 40.0, "z"), TableOptions()),
    "velocities": Case(sky(12.0, -5.0, "cz"), TableOptions(centre=(12.0, -5.0))),
    "phase space": Case(phase_space(), TableOptions(redshift=0.1, h=0.7, distance="physical")),
}


# ---- mutations of tables: they return the table, or None where they do not apply ------------------------------------


def dropped(table, rng):
    table.remove_column(str(rng.choice(table.colnames)))
    return table


def renamed(table, rng):
    name = str(rng.choice(table.colnames))
    letters = list(name)
    letters[rng.integers(len(letters))] = str(rng.choice(list("abcdefgzvrR_ ")))
    new = "".join(letters)
    if new in table.colnames or not new.strip():
        return None
    table.rename_column(name, new)
    return table


def named_otherwise(table, rng):
    """A column under the name of another quantity."""
    name = str(rng.choice(table.colnames))
    new = str(rng.choice(["z", "cz", "v_los", "R_proj_kpc", "R_cMpc_h", "z_err", "v_kms", "cluster", "weight", "ra"]))
    if new in table.colnames:
        return None
    table.rename_column(name, new)
    return table


def swapped(table, rng):
    a, b = map(str, rng.choice(table.colnames, 2, replace=False))
    table.rename_columns([a, b, "hidden"][:2], ["hidden", a])
    table.rename_column("hidden", b)
    return table


def other_unit(table, rng):
    name = str(rng.choice([name for name in table.colnames if name != "source"]))
    table[name].unit = str(rng.choice(OTHER_UNITS[str(table[name].unit or "")]))
    return table


def other_values(table, rng):
    """Values in another unit than the column says: a thousandth, a radian, an hour of angle, a speed of light."""
    name = str(rng.choice([name for name in table.colnames if name != "source"]))
    angle, others = (1 / 15, np.pi / 180, 60.0, 3600.0), (1e-3, 1e3, 1 / 299_792.458, 299_792.458)
    table[name] = table[name] * float(rng.choice(angle if name in ("ra", "dec") else others))
    return table


def holes(table, rng):
    name = str(rng.choice([name for name in table.colnames if name != "source"]))
    table[name][rng.random(len(table)) < rng.uniform(0.05, 0.6)] = rng.choice([np.nan, np.inf, -np.inf])
    return table


def huge(table, rng):
    name = str(rng.choice([name for name in table.colnames if name != "source"]))
    table[name][rng.integers(len(table), size=rng.integers(1, 30))] = rng.choice([1e300, -1e300, 1e10, -9999.0, 999.0])
    return table


def repeated(table, rng):
    return table[np.concatenate([np.arange(len(table)), rng.integers(len(table), size=rng.integers(1, 300))])]


def half(table, rng):
    return table[rng.random(len(table)) < rng.uniform(0.1, 1)]


def text(table, rng):
    name = str(rng.choice([name for name in table.colnames if name != "source"]))
    values = [str(value) for value in table[name]]
    values[rng.integers(len(values))] = str(rng.choice(["about .1", "1,2", "0x1", "?", "12:30", "", "--", "1e", "١"]))
    table[name] = values
    return table


TABLES = (
    *(dropped, renamed, named_otherwise, swapped, other_unit, other_values, other_values, other_values),
    *(holes, huge, repeated, half, text),
)


# ---- mutations of bytes ---------------------------------------------------------------------------------------------


def flipped(data, rng):
    data = bytearray(data)
    for i in rng.integers(len(data), size=rng.integers(1, 12)):
        data[i] ^= 1 << int(rng.integers(8))
    return bytes(data)


def flipped_head(data, rng):
    data = bytearray(data)
    for i in rng.integers(min(len(data), 1500), size=rng.integers(1, 4)):
        data[i] = int(rng.integers(32, 127))
    return bytes(data)


def cut(data, rng):
    return data[: int(rng.integers(1, len(data)))]


def hole(data, rng):
    start = int(rng.integers(len(data)))
    return data[:start] + data[start + int(rng.integers(1, 400)) :]


def stuffed(data, rng):
    start = int(rng.integers(len(data)))
    return data[:start] + rng.bytes(int(rng.integers(1, 30))) + data[start:]


def line_ends(data, rng):
    return data.replace(b"\n", bytes(rng.choice([b"\r\n", b"\r", b"\n\n", b" \n"])))


BYTES = (flipped, flipped_head, cut, hole, stuffed, line_ends)


# ---- the fuzzer -----------------------------------------------------------------------------------------------------


def as_bytes(table, suffix, folder):
    path = folder / f"whole{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table.write(path, overwrite=True, **WRITERS[suffix])
    return path.read_bytes()


def scale(cluster):
    """log10 of sigma^2 R [dex] and the number of galaxies."""
    R_proj, v_los = cluster.catalogue.galaxies(0)
    return np.log10(np.var(v_los) * np.median(R_proj)), len(R_proj)


def kinds(cluster):
    """Reasons and notes without their numbers, as for mocks of one full field."""
    aperture = cluster.catalogue.observation.aperture
    of_field = [each.text for each in field_reasons(cluster.narrow, cluster.covered, aperture=aperture, surveys={})]
    return {without_numbers(sentence) for sentence in (*cluster.warnings, *of_field, *cluster.notes)}


def without_numbers(sentence):
    return re.sub(r"[-+]?[\d.]+", "#", sentence)


def damaged(case, suffix, rng, folder):
    """A mutated file of a case, and what was done to it."""
    table, done = case.table.copy(), []
    for _ in range(int(rng.integers(0, 2))):
        mutate: Callable = rng.choice(TABLES)
        done.append(mutate.__name__)
        table = mutate(table, rng)
        if table is None or not table.colnames or not len(table):
            return None, done
    try:
        data = as_bytes(table, suffix, folder)
    except (ValueError, TypeError):  # FITS knows no hour of angle
        return None, done
    if not done or rng.random() < 0.1:
        mutate = rng.choice(BYTES)
        done.append(mutate.__name__)
        data = mutate(data, rng)
    return data, done


def verdict(path, case, whole):
    """What reading a damaged file gave: a message, the same mass, another with a new warning, or without ("silent")."""
    try:
        cluster = read_table(path, options=case.options)
    except TableError as error:
        return "message" if 1 <= len(str(error).splitlines()) <= 3 else "silent"
    if cluster.reason:
        return "message"
    (found, n), (right, many) = scale(cluster), scale(whole)
    if abs(found - right) < LIMIT * max(1, np.sqrt(many / n)):
        return "same"
    return "warned" if kinds(cluster) - kinds(whole) else "silent"


def run(n, seed, folder):
    """Verdicts of n damaged tables; anything but a TableError that reading raises ends the test."""
    rng, verdicts = np.random.default_rng(seed), []
    wholes = {name: {} for name in CASES}
    while len(verdicts) < n:
        name, suffix = str(rng.choice([*CASES])), str(rng.choice([*WRITERS], p=SHARES))
        data, done = damaged(CASES[name], suffix, rng, folder)
        if data is None:
            continue
        if suffix not in wholes[name]:
            as_bytes(CASES[name].table, suffix, folder)
            wholes[name][suffix] = read_table(folder / f"whole{suffix}", options=CASES[name].options)
        path = folder / f"damaged{suffix}"
        path.write_bytes(data)
        found = verdict(path, CASES[name], wholes[name][suffix])
        verdicts.append(found)
        assert found != "silent", (len(verdicts), name, suffix, done)
    return verdicts


def test_a_hundred_damaged_tables_give_a_message_the_same_mass_or_a_warning(tmp_path):
    verdicts = run(100, 14, tmp_path)  # a seed with each of the outcomes
    # each outcome is there: a fuzzer whose every table is refused, or none, would prove nothing
    assert {"message", "same", "warned"} <= set(verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 12))
def test_five_thousand_damaged_tables_do_so_too(tmp_path, seed):
    run(500, seed, tmp_path)
