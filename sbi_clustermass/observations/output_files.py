"""All files that an inference may write, filled cluster by cluster.

Slow libraries are imported inside the methods, because the command line reads its options from `OutputFiles`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, final, get_args

from cyclopts import Parameter

from clustermocks.io.atomic import check_output, make_folder
from clustermocks.io.paths import expand_paths
from clustermocks.io.registry import lookup

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.observations.figure_folder import FigureFolder
    from sbi_clustermass.observations.model_stamp import ModelStamp
    from sbi_clustermass.observations.results import ClusterResult
    from sbi_clustermass.observations.writers import Sink

Format = Literal["png", "pdf"]


@final
@dataclass(frozen=True)
class OutputFiles:
    """Paths of the files to write, None for those that are not wanted.

    Attributes:
        table: Table of masses: .csv, .ecsv or .parquet (the last two with units and descriptions).
        posteriors: File for every posterior on its grid: .parquet, which `clustermass population` reads.
        samples: Number of draws of all parameters from each posterior, written to NAME_samples.parquet next to
            --posteriors, which `Posteriors.from_parquet` reads; 0 for none.
        pictures: Folder for a one-page picture of each cluster.
        picture_format: Format of the pictures.
        published: Table of published masses for the pictures: name, mass and unit (1e14 Msun, 1e14 Msun/h) or
            log10_mass [h^-1 Msun]; if known, err or err_low and err_high, h, method, reference.
        members: File for the rows of the tables with the probability that each galaxy is a member: inside r200c
            (p_r200c), inside the virial radius (p_r_vir) or bound (p_bound). It is .csv, .ecsv or .parquet.
        page: HTML file with one table of all clusters, which can be sorted and filtered.
        inline: Number of pictures inside --page, which links to the others.
    """

    table: Annotated[Path | None, Parameter(name="--out")] = None
    posteriors: Path | None = None
    samples: int = 0
    pictures: Path | None = None
    picture_format: Format = "png"
    published: Path | None = None
    members: Path | None = None
    page: Path | None = None
    inline: int = 12

    def __post_init__(self) -> None:
        expand_paths(self)

    def __bool__(self) -> bool:
        return any(path is not None for path in self._named.values())

    @property
    def samples_path(self) -> Path | None:
        """Path of the draws: masses.parquet -> masses_samples.parquet."""
        return (
            self.posteriors.with_stem(f"{self.posteriors.stem}_samples") if self.posteriors and self.samples else None
        )

    @property
    def _named(self) -> dict[str, Path]:
        """Paths to write, by their option of the command line."""
        named = {
            "--out": self.table,
            "--posteriors": self.posteriors,
            "--samples": self.samples_path,
            "--pictures": self.pictures,
            "--members": self.members,
            "--page": self.page,
        }
        return {option: path for option, path in named.items() if path is not None}

    def check(self, read: Iterable[Path] = ()) -> None:
        """Refuse, before any work, paths that cannot be written.

        Args:
            read: Paths that the run reads besides `published`, and others that must not be overwritten.

        Raises:
            ValueError: An unknown suffix or format, samples or published masses without the file they go into, one path
                for two outputs, or for an output and something that is read.
            OSError: A folder cannot be written.
        """
        from sbi_clustermass.observations.writers import SUFFIXES

        _check_apart(self._named, [*read, *([self.published] if self.published else [])])
        kinds = ((self.table, SUFFIXES), (self.posteriors, (".parquet",)), (self.page, (".html", ".htm")))
        kinds = (*kinds, (self.members, SUFFIXES))
        for path, suffixes in kinds:
            if path is not None:
                check_output(path, suffixes)
        lookup("picture format", self.picture_format, dict.fromkeys(get_args(Format)))
        for name in ("samples", "inline"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name} must be 0 or more, found {getattr(self, name)}.")
        if self.samples == 1:
            raise ValueError("--samples: one draw is no posterior; found 1.\n  try:    two or more, or 0 for none")
        if self.samples and self.posteriors is None:
            raise ValueError("--samples stand beside the posteriors.\n  try:    add --posteriors masses.parquet")
        if self.published is not None and self.pictures is None:
            raise ValueError("--published are drawn into the pictures.\n  try:    add --pictures FOLDER")
        if self.pictures is not None:
            make_folder(self.pictures)
            check_output(self.pictures / f"a.{self.picture_format}", (f".{self.picture_format}",))

    @contextmanager
    def opened(self, estimator: "MassEstimator", stamp: "ModelStamp", title: str) -> "Iterator[Sink]":
        """Yield a function that adds a result to every file; each file appears whole at the end, or not at all.

        Args:
            estimator: Estimator of the masses.
            stamp: Model behind the masses.
            title: Title of the page.
        """
        with ExitStack() as stack:
            sinks = [stack.enter_context(sink) for sink in self._files(estimator, stamp)]
            draw = self._drawing(estimator, stamp)
            add_row = stack.enter_context(self._page(stamp, title))

            def add(result: "ClusterResult") -> None:
                for sink in sinks:
                    sink(result)
                add_row(result, None if draw is None else draw(result))

            yield add
            if draw is not None:
                draw.warn_of_unused()

    def _files(self, estimator: "MassEstimator", stamp: "ModelStamp") -> Iterator:
        if self.table is not None:
            from sbi_clustermass.observations.writers import table_file

            yield table_file(self.table, stamp)
        if self.posteriors is not None:
            from sbi_clustermass.observations.posterior_files import posteriors_file, samples_file

            yield posteriors_file(self.posteriors)
            if self.samples_path is not None:
                yield samples_file(self.samples_path, self.samples, estimator)
        if self.members is not None:
            from sbi_clustermass.observations.member_table import members_file

            yield members_file(self.members, estimator)

    def _drawing(self, estimator: "MassEstimator", stamp: "ModelStamp") -> "FigureFolder | None":
        if self.pictures is None:
            return None
        from sbi_clustermass.observations.figure_folder import FigureFolder
        from sbi_clustermass.observations.tables.literature_masses import read_published_masses

        published = None if self.published is None else read_published_masses(self.published, h=stamp.h)
        return FigureFolder(self.pictures, estimator, stamp, published, self.picture_format)

    @contextmanager
    def _page(self, stamp: "ModelStamp", title: str) -> "Iterator[Callable[[ClusterResult, Path | None], None]]":
        if self.page is None:
            yield lambda result, picture: None
            return
        from sbi_clustermass.observations.survey_page import survey_page

        with survey_page(self.page, title, stamp, inline=self.inline) as add:
            yield add

    def written(self) -> list[str]:
        """List the files that were written, and those that were not for lack of masses, a line each."""
        files = self.table, self.posteriors, self.samples_path, self.members, self.page
        paths = [path for path in files if path is not None]
        lines = [f"Wrote {path}." if path.is_file() else f"No masses: {path} not written." for path in paths]
        return [*lines, f"Wrote {self.pictures}/."] if self.pictures else lines


def _check_apart(outputs: Mapping[str, Path], read: Iterable[Path]) -> None:
    """Refuse to write two files to one path, or to overwrite a file that is read.

    Raises:
        ValueError: Two paths lead to one place.
    """
    taken = dict.fromkeys(map(_real_path, read), "what is read")
    for option, path in outputs.items():
        other = taken.setdefault(_real_path(path), option)
        if other != option:
            raise ValueError(f"{path}: {option} would be written over {other}.\n  try:    another name")


def _real_path(path: Path) -> str:
    """The path with links followed; `Path.resolve` raises where they go in a circle."""
    return os.path.normcase(os.path.realpath(path))
