"""The results of Kodi Ramanah et al. 2020 (arXiv:2003.05951) on our own mocks: every number, picture and table.

    python examples/paper.py [--fast] [--out runs/paper] [--seed 1] [--clusters FOLDER]

Simulates the paper's sets with `HaloModel.ho2019()` (20 000 clusters flat in mass to train on, and 20 000 as the mass
function has them for the test, contaminated and pure), and trains the paper's flow on each by the paper's rule, for
both readings of its kernel width (`KDEImage`), and the networks of the steps from there to our best. It writes
results.md, which begins with every number of the paper beside ours, report.html and the pictures. Files that exist
already are used again, so that an interrupted run continues. `--fast` runs a small version.

With `--clusters`, the tables of observed galaxies named in `kodi_ramanah_2020.experiment.OBSERVED` are read, and a
network trained on the realistic sample, `HaloModel()`, is compared with the paper's.
"""

import argparse
from pathlib import Path

from kodi_ramanah_2020.experiment import FAST, FULL, Experiment, Size
from kodi_ramanah_2020.results import all_sections
from rich.console import Console

from clustermocks.io.atomic import replacing
from sbi_clustermass.report import Section, load_sections, markdown, save_sections, write

TITLE = "Kodi Ramanah et al. 2020 on our mocks"


def made_by(size: Size, seed: int, *, with_clusters: bool) -> Section:
    """Return the command that reproduces the run."""
    options = " --fast" * (size == FAST) + " --clusters FOLDER" * with_clusters
    text = [f"`{size}`, seed {seed}. The same versions on the same kind of machine give the same numbers."]
    return Section("Command", text, commands=[f"python examples/paper.py --seed {seed}{options}"])


def main(folder: Path, size: Size = FULL, *, seed: int = 1, clusters: Path | None = None) -> list[Section]:
    """Make what is missing, and write pictures, results.md and report.html.

    Args:
        folder: Folder of the run.
        size: Sizes of mocks and networks.
        seed: Seed of the run.
        clusters: Folder with tables of observed galaxies.
    """
    experiment = Experiment(folder, size, seed, Console())
    experiment.begin()
    sections = list(all_sections(experiment, clusters))
    sections.append(made_by(size, seed, with_clusters=clusters is not None))
    save_sections(folder / "paper", sections)
    sections = load_sections(folder / "paper")  # with pictures as they were written: drawn once
    with replacing(folder / "results.md") as temporary:
        temporary.write_text(f"# {TITLE}\n\n{markdown(sections, pictures='paper')}", encoding="utf-8")
    write(folder / "report.html", TITLE, sections)
    experiment.console.print(f"wrote {folder / 'results.md'}, report.html and {folder / 'paper'}/", soft_wrap=True)
    return sections


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="everything small")
    parser.add_argument("--out", type=Path, default=Path("runs/paper"), help="folder of the run")
    parser.add_argument("--seed", type=int, default=1, help="of everything")
    parser.add_argument("--clusters", type=Path, help="folder with tables of observed galaxies")
    given = parser.parse_args()
    main(given.out, FAST if given.fast else FULL, seed=given.seed, clusters=given.clusters)
