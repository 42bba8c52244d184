"""Damaged tables through `clustermass infer` with the shipped estimator: no traceback, no wrong mass without a warning.

The tables are damaged by the mutations of tests/observations/tables/test_fuzz.py: columns renamed, exchanged, in other
units or values, with holes and text; bytes flipped, cut and stuffed; eight formats, three kinds of table. A mass is
wrong where it differs from that of the undamaged table by more than 0.3 dex (more for fewer galaxies, as 1 / sqrt(N)),
or by more than three times both standard deviations in quadrature. A warning counts if the undamaged table raised none
of its kind, and so does a change in the shares of rows used, left out, repeated or outside.

Run: python benchmarks/fuzz.py --seed 1 --tables 1000
"""

import argparse
import importlib.util
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, final

import numpy as np

if TYPE_CHECKING:
    from sbi_clustermass import MassEstimator

TABLES = Path(__file__).parents[1] / "tests" / "observations" / "tables" / "test_fuzz.py"
SAME, WARNED, MESSAGE, SILENT, TRACEBACK = (
    "same mass",
    "another mass, warned",
    "message",
    "ANOTHER MASS, SILENT",
    "TRACEBACK",
)
FURTHEST, SIGMAS = 0.3, 3.0  # dex; standard deviations
SHARE = 0.1  # change of a share of the rows that is visible in the line that counts them


@final
@dataclass(frozen=True)
class Outcome:
    """Outcome of one damaged table.

    Attributes:
        kind: One of the five kinds above.
        case: Name of the undamaged table.
        suffix: Suffix of the file.
        done: Names of the mutations.
        shift: Change of the mass [dex]; NaN without a mass.
        message: The message, or the new warnings.
    """

    kind: str
    case: str
    suffix: str
    done: tuple[str, ...]
    shift: float = np.nan
    message: str = ""


def mutations() -> ModuleType:
    """Load the fuzzer of the readers, which damages tables."""
    spec = importlib.util.spec_from_file_location("table_fuzzer", TABLES)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{TABLES}: not there; the fuzzer needs the repository, not the installed package.")
    module = importlib.util.module_from_spec(spec)
    sys.modules["table_fuzzer"] = module
    spec.loader.exec_module(module)
    return module


def outcomes(estimator: "MassEstimator", n: int, seed: int, folder: Path) -> Iterator[Outcome]:
    """Damage and infer n tables.

    Args:
        estimator: Trained estimator.
        n: Number of tables.
        seed: Seed of the damage.
        folder: Folder for the files.
    """
    fuzzer, rng = mutations(), np.random.default_rng(seed)
    wholes: dict[tuple[str, str], Any] = {}
    while n:
        case, suffix = str(rng.choice([*fuzzer.CASES])), str(rng.choice([*fuzzer.WRITERS], p=fuzzer.SHARES))
        data, done = fuzzer.damaged(fuzzer.CASES[case], suffix, rng, folder)
        if data is None:
            continue
        options = fuzzer.CASES[case].options
        if (case, suffix) not in wholes:
            fuzzer.as_bytes(fuzzer.CASES[case].table, suffix, folder)
            wholes[case, suffix] = _results(estimator, folder / f"whole{suffix}", options)[0]
        path = folder / f"damaged{suffix}"
        path.write_bytes(data)
        n -= 1
        yield Outcome(*_judged(estimator, path, options, wholes[case, suffix], (case, suffix, tuple(done)), fuzzer))


def _results(estimator: "MassEstimator", path: Path, options: Any) -> list[Any]:
    from sbi_clustermass.observations import infer_tables

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(infer_tables([path], estimator, options))


def _judged(estimator: "MassEstimator", path: Path, options: Any, whole: Any, what: tuple, fuzzer: ModuleType) -> tuple:
    try:
        found = _results(estimator, path, options)
    except Exception as error:  # whatever it is, a user would see it as a traceback
        return TRACEBACK, *what, np.nan, f"{type(error).__name__}: {error}"
    masses = [result for result in found if hasattr(result, "posterior")]
    if not masses:
        return MESSAGE, *what, np.nan, found[0].reason if found else "nothing at all"
    if len(found) > 1:  # a column read as the clusters' names
        return WARNED, *what, np.nan, f"{len(found)} clusters"
    shift = masses[0].mean - whole.mean
    if not is_wrong(masses[0], whole):
        return SAME, *what, shift, ""
    new = _kinds(masses[0], fuzzer) - _kinds(whole, fuzzer) | _changed_counts(masses[0], whole)
    return (WARNED if new else SILENT), *what, shift, "; ".join(sorted(new))


def is_wrong(mass: Any, whole: Any) -> bool:
    """Whether a mass is not that of the undamaged table."""
    shift = abs(mass.mean - whole.mean)
    fewer = max(1.0, np.sqrt(whole.cluster.n_galaxies / mass.cluster.n_galaxies))
    return bool(shift > FURTHEST * fewer or shift > SIGMAS * np.hypot(mass.std, whole.std))


def _kinds(mass: Any, fuzzer: ModuleType) -> set[str]:
    return fuzzer.kinds(mass.cluster) | {fuzzer.without_numbers(sentence) for sentence in mass.warnings}


def _changed_counts(mass: Any, whole: Any) -> set[str]:
    """Changes in the line that counts the rows."""
    ours, theirs = mass.cluster.counts, whole.cluster.counts
    shares = {
        each.name: (getattr(ours, each.name) / ours.rows, getattr(theirs, each.name) / theirs.rows)
        for each in fields(ours)
        if each.name != "rows"
    }
    return {
        f"{name}: {new:.0%} of the rows, not {old:.0%}" for name, (new, old) in shares.items() if abs(new - old) > SHARE
    }


def shipped() -> "MassEstimator":
    """Load the estimator that ships."""
    from sbi_clustermass import MassEstimator
    from sbi_clustermass.estimator.hub import resolve_model

    return MassEstimator.load(resolve_model(None), device="cpu")


def table(found: list[Outcome]) -> str:
    """Table of the outcomes by mutation, as Markdown."""
    kinds = (SAME, WARNED, MESSAGE, SILENT, TRACEBACK)
    counts = Counter((each.done[0] if each.done else "(nothing)", each.kind) for each in found)
    lines = [f"| damage | {' | '.join(kinds)} |", f"|---|{'---:|' * len(kinds)}"]
    for done in sorted({done for done, _ in counts}):
        lines.append(f"| {done.replace('_', ' ')} | {' | '.join(str(counts[done, kind]) for kind in kinds)} |")
    totals = Counter(each.kind for each in found)
    return "\n".join([*lines, f"| all {len(found)} | {' | '.join(str(totals[kind]) for kind in kinds)} |"])


def main() -> None:
    """Damage, infer, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tables", type=int, default=1000)
    chosen = parser.parse_args()
    estimator = shipped()
    with tempfile.TemporaryDirectory() as folder:
        found = list(outcomes(estimator, chosen.tables, chosen.seed, Path(folder)))
    print(table(found))
    for each in found:
        if each.kind in (SILENT, TRACEBACK):
            print(f"{each.kind}: {each.case} {each.suffix} {'+'.join(each.done)} {each.shift:+.2f} dex {each.message}")


if __name__ == "__main__":
    main()
