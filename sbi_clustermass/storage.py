"""Trained estimators on disk: weights as safetensors, the rest as JSON, nothing ever unpickled."""

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_model, save_model

from clustermocks import Cosmology, Observation
from clustermocks.files import replacing
from sbi_clustermass.ensemble import Ensemble
from sbi_clustermass.flows import EmbedOnce, flow_from_config
from sbi_clustermass.loop import History
from sbi_clustermass.prior import EffectivePrior

if TYPE_CHECKING:
    from sbi_clustermass.diagnostics.misspecification import Alarm
    from sbi_clustermass.estimator import MassEstimator
    from sbi_clustermass.flows import Flow

FORMAT = 2
WEIGHTS, ALARM, CARD = "estimator.safetensors", "alarm.safetensors", "estimator.json"


def save(estimator: "MassEstimator", folder: Path) -> None:
    """Write all files, each whole or not at all; the card, written last, holds the others' checksums."""
    card = {
        "format": FORMAT,
        "flow": estimator.flow.config(),
        "prior": asdict(estimator.prior),
        "observation": asdict(estimator.observation),
        "cosmology": asdict(estimator.cosmology),
        "richness": list(estimator.richness),
        "condition_shape": list(estimator.network.condition_shape),
        "histories": [asdict(history) for history in estimator.histories],
        "provenance": dict(estimator.provenance),
    }
    with replacing(folder / WEIGHTS) as temporary:
        save_model(estimator.network, str(temporary))
        card["weights_sha256"] = _digest(temporary)
    if estimator.alarm is not None:
        with replacing(folder / ALARM) as temporary:
            arrays = estimator.alarm.to_arrays()
            save_arrays({name: np.ascontiguousarray(arrays[name]) for name in arrays}, str(temporary))  # raw memory
            card["alarm_sha256"] = _digest(temporary)
    with replacing(folder / CARD) as temporary:
        temporary.write_text(json.dumps(card, indent=1), encoding="utf-8")


def load(folder: Path) -> dict[str, Any]:
    """Read the fields of a `MassEstimator`.

    Raises:
        FileNotFoundError: The folder or a file in it is missing.
        ValueError: A file is damaged or does not belong to the other.
    """
    card = _read_card(folder)
    try:
        parts = {
            "flow": flow_from_config(card["flow"]),
            "prior": EffectivePrior(**{**card["prior"], "coefficients": tuple(card["prior"]["coefficients"])}),
            "observation": Observation(**card["observation"]),
            "cosmology": Cosmology(**card["cosmology"]),
            "richness": tuple(card["richness"]),
            "histories": tuple(History(**{f.name: one[f.name] for f in fields(History)}) for one in card["histories"]),
            "provenance": card["provenance"],
        }
        shape = tuple(card["condition_shape"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / CARD}: a field is missing or unknown ({error}); the file is damaged.") from error
    flow, prior = parts["flow"], parts["prior"]
    networks = [_template(folder, flow, shape) for _ in parts["histories"]]
    network = networks[0] if len(networks) == 1 else Ensemble(networks, (prior.low, prior.high))
    network = _with_weights(network, folder / WEIGHTS, card.get("weights_sha256"))
    return {**parts, "network": network, "alarm": _alarm(folder / ALARM, card.get("alarm_sha256"))}


def _read_card(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder. A model is a folder with {CARD} and {WEIGHTS}.")
    for name in (CARD, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder}: no {name} in it. A model is a folder with {CARD} and {WEIGHTS}.")
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / CARD}: not readable JSON ({error}).") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise ValueError(f"{folder / CARD}: model format {found!r}; this version reads format {FORMAT}.")
    return card


def _template(folder: Path, flow: "Flow", condition_shape: tuple[int, ...]) -> EmbedOnce:
    try:
        return flow.template(condition_shape=condition_shape)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / CARD}: its network cannot be built ({error}); the file is damaged.") from error


def _with_weights(network: EmbedOnce | Ensemble, path: Path, digest: str | None) -> EmbedOnce | Ensemble:
    _check_digest(path, digest)
    try:
        load_model(network, str(path))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: these weights do not fit the network that {CARD} describes ({error}).") from error
    network.eval()
    return network


def _alarm(path: Path, digest: str | None) -> "Alarm | None":
    """The alarm, for estimators that were saved with one."""
    from sbi_clustermass.diagnostics.misspecification import Alarm

    if digest is None:
        return None
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent}: no {path.name} in it, which {CARD} names. Copy the folder again.")
    _check_digest(path, digest)
    try:
        return Alarm.from_arrays(load_arrays(str(path)))
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: holds no alarm ({error}); the file is damaged.") from error


def _check_digest(path: Path, digest: str | None) -> None:
    if _digest(path) != digest:
        raise ValueError(
            f"{path}: damaged or truncated: its checksum is not the one in {CARD}.\n"
            "  try:    copy the model folder again, or train anew"
        )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
