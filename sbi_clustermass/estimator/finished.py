"""A record of what a finished training was: the same one need not be repeated."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from clustermocks.catalogue.part_folder import HEADER
from clustermocks.io.atomic import replacing, sha256_of
from clustermocks.io.paths import as_path
from clustermocks.io.settings import flat
from clustermocks.io.version import installed_version
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.storage import CARD
from sbi_clustermass.estimator.training_options import TrainingOptions

RECORD = "training.json"
_FORMAT = 1


def training_identity(options: TrainingOptions, mocks: Path) -> dict[str, str]:
    """All that decides a training, by name, as text.

    Args:
        options: Settings of the training; its device does not count.
        mocks: Catalogue file, or a folder that `simulate_to` wrote, of which the header names all settings.
    """
    mocks = as_path(mocks)
    checksum = sha256_of(mocks / HEADER if mocks.is_dir() else mocks)
    version = installed_version("sbi-clustermass")
    return {**flat(replace(options, device=TrainingOptions.device)), "mocks": checksum, "version": version}


def finished_training(out: Path, identity: Mapping[str, str], *, device: str = "auto") -> MassEstimator | None:
    """Read the estimator of a finished training; None if there is none, or another one.

    Args:
        out: Folder of the estimator.
        identity: All that decides the training.
        device: Device for the estimator.
    """
    out = as_path(out)
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        if record != _record(out, identity):
            return None
        return MassEstimator.load(out, device=device)
    except (OSError, ValueError):  # missing or damaged: it is trained anew
        return None


def record_training(out: Path, identity: Mapping[str, str]) -> None:
    """Write down which training gave the estimator in a folder."""
    with replacing(out / RECORD) as temporary:
        temporary.write_text(json.dumps(_record(out, identity), indent=1) + "\n", encoding="utf-8")


def _record(out: Path, identity: Mapping[str, str]) -> dict[str, object]:
    return {"format": _FORMAT, "estimator": sha256_of(out / CARD), "identity": dict(identity)}
