"""Sections of a run's folder: the estimator, its posteriors, and results that other commands saved there."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from clustermocks.io.paths import as_path
from clustermocks.io.version import installed_version
from sbi_clustermass.report.content import Picture, Section
from sbi_clustermass.report.stored import FILE, load_sections

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

MASSES = "masses.parquet"
_PACKAGES = ("sbi-clustermass", "sbi", "torch", "nflows", "numpy", "scipy", "astropy", "colossus")
_PICTURES = {  # pictures of `clustermass demo`: alternative text and caption
    "clusters": (
        "Three test clusters: galaxies in projected phase space above, mass posterior and true mass below.",
        "Members in blue, interlopers in orange, over the kernel density that the network sees.",
    ),
    "masses": (
        "Inferred against true log10 mass of the test clusters with the bands of 68 and 95 %, residuals below.",
        "The bands are means over the clusters in bins of true mass; the dashed line is equality.",
    ),
    "population": (
        "Mass function of a mock survey: fitted with its 68 % band, put in, and the histogram of point estimates.",
        "The hierarchical fit divides out the training prior and the selection; the histogram does neither.",
    ),
}


def sections_of_run(folder: str | Path) -> list[Section]:
    """Read all sections of a run's folder.

    They show the estimator, the posteriors in `masses.parquet`, the pictures of `clustermass demo`, and the sections
    that other commands saved in subfolders such as `validation/`, in alphabetical order.

    Args:
        folder: Folder that `clustermass train`, `clustermass demo` or `MassEstimator.save` wrote.

    Raises:
        FileNotFoundError: The folder holds no estimator.
        ValueError: A file in it is damaged.
    """
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.estimator.model_sections import estimator_sections

    folder = as_path(folder)
    try:
        estimator = MassEstimator.load(folder, device="cpu")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder}: no run to report on. A run's folder holds a trained estimator.\n  found:  {error}\n"
            "  try:    a folder that `clustermass train` or `clustermass demo` wrote"
        ) from error
    saved = (each for path in sorted(folder.glob(f"*/{FILE}")) for each in load_sections(path.parent))
    brief, *details = estimator_sections(estimator)
    return [brief, *saved, *_masses(folder), *_pictures(folder), *details, _reproduction(estimator, folder)]


def _masses(folder: Path) -> Iterator[Section]:
    if (folder / MASSES).is_file():
        from sbi_clustermass.posterior import MassPosteriors
        from sbi_clustermass.posterior.plots import masses_section

        posteriors = MassPosteriors.from_parquet(folder / MASSES)
        if len(posteriors):
            yield masses_section(posteriors)


def _pictures(folder: Path) -> Iterator[Section]:
    found = {name: folder / f"{name}.png" for name in _PICTURES}
    pictures = [
        Picture(f"demo_{name}", path.read_bytes(), *_PICTURES[name]) for name, path in found.items() if path.is_file()
    ]
    if pictures:
        yield Section("The demonstration", pictures=pictures)


def _reproduction(estimator: "MassEstimator", folder: Path) -> Section:
    from sbi_clustermass.estimator.model_sections import versions
    from sbi_clustermass.estimator.reproduce import training_command

    mocks, provenance = "mocks.parquet", estimator.provenance
    made, seed = provenance.mocks, "?" if provenance.mocks.seed is None else provenance.mocks.seed
    text = [
        f"Here `{mocks}` stands for the catalogue of the section “Training set”: `{made.simulator or '?'}`, seed "
        f"{seed}. The estimator keeps its settings; its masses are in the catalogue's own file.",
        "The same versions on the same kind of machine give the same weights; others, the same up to rounding.",
    ]
    commands = [training_command(estimator, mocks, str(folder))] if provenance.training else []
    commands.append(f"clustermass report {quote(str(folder))}")
    here = {name: installed_version(name) for name in _PACKAGES}
    return Section("Versions and commands", text, [versions(estimator, here)], commands=commands)
