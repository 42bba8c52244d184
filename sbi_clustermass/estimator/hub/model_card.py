"""Publication of a trained estimator: a folder with its files, a model card and checksums, and one archive of it.

The same estimator and the same texts give the same bytes, because no file contains a date.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clustermocks.io.atomic import replacing, sha256_of
from clustermocks.io.paths import as_path
from clustermocks.io.version import installed_version
from sbi_clustermass.estimator.hub.archive import CHECKSUMS, FILES, MANIFEST, README, pack
from sbi_clustermass.estimator.hub.card_metadata import CardMetadata
from sbi_clustermass.estimator.model_sections import estimator_sections
from sbi_clustermass.estimator.storage import STORED
from sbi_clustermass.report import Section, Table, markdown
from sbi_clustermass.report.inline import escaped

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

_FORMAT = 1
_PACKAGE = "sbi-clustermass"
_METHOD = (
    "The method: Kodi Ramanah et al. 2020, [arXiv:2003.05951](https://arxiv.org/abs/2003.05951); the engine: sbi, "
    "Boelts et al. 2025, JOSS."
)


def publish(model: Path, out: Path, metadata: CardMetadata, *, validation: Sequence[Section] = ()) -> str:
    """Write a folder with the estimator and its card, and an archive of the folder: `out` with the suffix .zip.

    Args:
        model: Folder of a trained estimator.
        out: Folder to write: a new or empty one, or one that `publish` wrote.
        metadata: Texts by the author.
        validation: Sections on its validation; their pictures are left out.

    Returns:
        SHA-256 checksum of the archive, which goes into the URL.

    Raises:
        ValueError: The estimator cannot be read, or the folder holds other files.
        OSError: The folder cannot be written.
    """
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

    model, out = as_path(model), as_path(out)
    estimator = MassEstimator.load(model, device="cpu")  # a model that cannot be loaded is not published
    _check_free(out, model)
    for name in STORED:
        if (model / name).is_file():
            _write(out / name, (model / name).read_bytes())
        else:
            (out / name).unlink(missing_ok=True)
    _write(out / README, render_card(estimator, metadata, validation).encode())
    _write(out / MANIFEST, (json.dumps(_manifest(out, metadata), indent=1) + "\n").encode())
    sums = [f"{sha256_of(out / name)}  {name}\n" for name in _present(out) if name != CHECKSUMS]
    _write(out / CHECKSUMS, "".join(sums).encode())
    archive = out.with_name(out.name + ".zip")
    pack(out, archive)
    return sha256_of(archive)


def render_card(estimator: "MassEstimator", metadata: CardMetadata, validation: Sequence[Section] = ()) -> str:
    """Model card of an estimator, in Markdown."""
    shown = [replace(each, pictures=()) for each in (*estimator_sections(estimator), *validation)]
    sections = markdown([*shown[:1], _limits(estimator, metadata), *shown[1:]])
    by = f"By {escaped(metadata.author)}.\n\n" if metadata.author else ""
    end = markdown([_licence(metadata), _versions(estimator)])
    return f"# {escaped(metadata.title)}\n\n{by}{_usage()}{sections}\n{end}"


def _usage() -> str:
    fenced = "```sh\nclustermass infer galaxies.csv --model {}\n```\n\n".format
    return (
        f"A mass estimator of `sbi_clustermass`. With this folder:\n\n{fenced('FOLDER')}Straight from the web, with "
        f"the archive's address and checksum:\n\n{fenced('https://.../MODEL.zip#sha256=CHECKSUM')}"
    )


def _limits(estimator: "MassEstimator", metadata: CardMetadata) -> Section:
    observation, (low, high), (fewest, most) = estimator.observation, estimator.support, estimator.richness
    cosmology, surveys = estimator.cosmology, estimator.provenance.mocks.surveys
    at = f"redshift {observation.redshift:g}"
    if surveys:
        at = f"redshifts of {surveys['redshift'][0]:g} to {surveys['redshift'][1]:g}"
    cuts = "a larger cylinder" if estimator.takes_conditions else "other cuts"
    text = [
        f"Masses between 10^{low:g} and 10^{high:g} h^-1 Msun; a posterior near either end gets a warning.",
        f"Galaxies within {observation.aperture:g} comoving h^-1 Mpc and {observation.v_cut:g} km/s of the cluster, "
        f"interlopers included, {fewest} to {most} of them. Clusters with fewer than {observation.min_galaxies} are "
        f"refused, and so is a catalogue that was observed with {cuts}; other numbers get a warning.",
        f"Mocks at {at}, in a flat universe with Om = {cosmology.Om0:g}; redshifts far from that get a warning.",
        "An alarm warns of clusters that look like no mock."
        if estimator.alarm is not None
        else "No alarm: a cluster that looks like no mock gets a mass without a warning.",
        *map(escaped, metadata.limits),
    ]
    return Section("Limits", text)


def _licence(metadata: CardMetadata) -> Section:
    cite = [escaped(metadata.cite)] if metadata.cite else []
    return Section(
        "Licence, and how to cite", [escaped(f"Licence: {metadata.licence or 'not stated'}."), *cite, _METHOD]
    )


def _versions(estimator: "MassEstimator") -> Section:
    table = Table("Versions at training", ("package", "version"), tuple(estimator.provenance.versions.items()))
    return Section("Versions", [f"`{MANIFEST}` and `{CHECKSUMS}` hold the checksums of all files."], [table])


def _manifest(folder: Path, metadata: CardMetadata) -> dict[str, object]:
    """Content of the folder, for programs."""
    files = {name: sha256_of(folder / name) for name in _present(folder) if name not in (MANIFEST, CHECKSUMS)}
    version = installed_version(_PACKAGE)
    return {"format": _FORMAT, **asdict(metadata), "published_with": f"{_PACKAGE} {version}", "sha256": files}


def _check_free(out: Path, model: Path) -> None:
    if out.resolve() == model.resolve():
        raise ValueError(f"{out}: the estimator's own folder. Give another one for what is published.")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: a file. Give a folder to write.")
    others = [path.name for path in out.iterdir() if path.name not in FILES] if out.is_dir() else []
    if others:
        raise ValueError(f"{out}: holds other files, {', '.join(sorted(others)[:3])}. Give a new folder.")


def _present(folder: Path) -> list[str]:
    return [name for name in FILES if (folder / name).is_file()]


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
