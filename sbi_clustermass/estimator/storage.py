"""Trained estimators on disk: arrays as safetensors, the rest as JSON; nothing is unpickled.

Files may come from strangers: the description is checked field by field, the network may be no larger than its weights,
and each file's checksum and numbers are checked.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file as load_arrays, save_file as save_arrays
from safetensors.torch import load_model, save_model
from torch import nn

from clustermocks.io.atomic import replacing, sha256_of
from clustermocks.io.paths import as_path
from sbi_clustermass.estimator.card import Card, GivenMassCard, counts_galaxies
from sbi_clustermass.estimator.config import damaged, read_card, write_card
from sbi_clustermass.estimator.weights_header import WeightsHeader, check_sizes, parameters_within
from sbi_clustermass.flows import EmbedOnce, flow_from_config
from sbi_clustermass.flows.density_estimator import columns_of
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.flows.precision import single_precision

if TYPE_CHECKING:
    from sbi_clustermass.estimator.given_mass import GivenMass
    from sbi_clustermass.estimator.membership.membership import Membership
    from sbi_clustermass.estimator.misspecification.alarm import Alarm
    from sbi_clustermass.flows import Flow

SHIPPED = Path(__file__).parent / "hub" / "default"
WEIGHTS, ALARM, CARD = "estimator.safetensors", "alarm.safetensors", "estimator.json"
GIVEN_MASS, MEMBERSHIP = "given_mass.safetensors", "membership.safetensors"
STORED = (WEIGHTS, ALARM, GIVEN_MASS, MEMBERSHIP, CARD)  # the card and the weights at least
Network = TypeVar("Network", bound=nn.Module)
_BELONGS_TO = "weights_sha256"  # in the header of a part that was learnt with them


class Parts(NamedTuple):
    """What an estimator may have besides the network of the mass."""

    alarm: "Alarm | None"
    given_mass: "GivenMass | None"
    membership: "Membership | None"


class Stored(NamedTuple):
    """A saved estimator."""

    card: Card
    flow: "Flow"
    network: EmbedOnce | Ensemble
    parts: Parts


def save(folder: Path, card: Card, network: EmbedOnce | Ensemble, parts: Parts) -> None:
    """Write all files or none. The card holds the checksums of the others and is put in place last."""
    with ExitStack() as files:
        described = files.enter_context(replacing(folder / CARD))
        card = replace(card, weights_sha256=_save_network(files.enter_context(replacing(folder / WEIGHTS)), network))
        if parts.alarm is not None:
            path = files.enter_context(replacing(folder / ALARM))
            card = replace(card, alarm_sha256=_save_arrays(path, parts.alarm.to_arrays(), card))
        if parts.given_mass is not None:
            sha256 = _save_network(files.enter_context(replacing(folder / GIVEN_MASS)), parts.given_mass.network)
            card = replace(card, given_mass=GivenMassCard.from_part(parts.given_mass, sha256))
        if parts.membership is not None:
            sha256 = _save_network(files.enter_context(replacing(folder / MEMBERSHIP)), parts.membership.network)
            card = replace(card, membership_sha256=sha256)
        write_card(card, described)
    for name, part in zip((ALARM, GIVEN_MASS, MEMBERSHIP), parts, strict=True):
        if part is None:
            (folder / name).unlink(missing_ok=True)  # of an estimator that was saved here before


def model_folder(folder: str | Path | None) -> Path:
    """Path of a model's folder; None, and "default" where no folder is called so, is the one that ships."""
    if folder is None or (str(folder) == "default" and not Path(folder).exists()):
        return SHIPPED
    return as_path(folder)


def load(folder: Path) -> Stored:
    """Read a saved estimator; refuse files that are damaged or do not belong together."""
    _check_files(folder)
    card = read_card(folder / CARD)
    _check_checksum(folder / WEIGHTS, card.weights_sha256)
    flow, network = _network(folder, card)
    parts = Parts(
        alarm=_alarm(folder / ALARM, card),
        given_mass=_given_mass(folder, card),
        membership=_membership(folder / MEMBERSHIP, card, network),
    )
    return Stored(card, flow, network, parts)


def _save_network(path: Path, network: nn.Module) -> str:
    """Write a network's weights, and return the file's checksum."""
    save_model(network, str(path))
    return sha256_of(path)


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray], card: Card) -> str:
    """Write arrays that belong to the card's weights, and return the file's checksum."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}  # raw memory is written
    save_arrays(contiguous, str(path), metadata={_BELONGS_TO: card.weights_sha256})
    return sha256_of(path)


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder. A model is a folder with {CARD} and {WEIGHTS}.")
    for name in (CARD, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder}: no {name} in it. A model is a folder with {CARD} and {WEIGHTS}.")


def _network(folder: Path, card: Card) -> tuple["Flow", EmbedOnce | Ensemble]:
    """Build the network and load its weights."""

    def build(flow: "Flow") -> EmbedOnce | Ensemble:
        networks = [flow.template(condition_shape=card.condition_shape) for _ in card.histories]
        return networks[0] if len(networks) == 1 else Ensemble(networks, (card.prior.low, card.prior.high))

    return _loaded(folder, WEIGHTS, card, build)


def _given_mass(folder: Path, card: Card) -> "GivenMass | None":
    """Read the network of the parameters given the mass; None for an estimator of the mass alone."""
    from sbi_clustermass.estimator.given_mass import GivenMass
    from sbi_clustermass.flows.box import OnBox

    described, (galaxies, columns) = card.given_mass, card.condition_shape
    if described is None:
        return None
    _check_part(folder / GIVEN_MASS, described.sha256)
    _, network = _loaded(
        folder,
        GIVEN_MASS,
        card,
        lambda flow: OnBox(flow, described.low, described.high).template((galaxies, columns + 1)),
    )
    return GivenMass(
        network, described.parameters, described.low, described.high, described.training, described.history
    )


def _loaded(folder: Path, name: str, card: Card, build: "Callable[[Flow], Network]") -> "tuple[Flow, Network]":
    """Build a network of the card's flow, no larger than its weights, and load these."""
    path = folder / name
    with damaged(path, "holds no weights"):
        header = WeightsHeader.from_file(path)
    with damaged(folder / CARD, "its network cannot be built"):
        if len(card.histories) > header.tensors:
            raise ValueError(f"{len(card.histories)} members, where the weights are {header.tensors} tensors")
        check_sizes(card.flow, header)
        with torch.random.fork_rng(devices=[]), single_precision(), parameters_within(header):
            flow = flow_from_config(card.flow)
            network = build(flow)
    return flow, _with_weights(network, path)


def _with_weights(network: Network, path: Path) -> Network:
    """Load the weights of a network, for inference."""
    with damaged(path, f"these weights do not fit the network that {CARD} describes"):
        load_model(network, str(path))
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise ValueError(f"{path}: a weight is not a finite number; the file is damaged.")
    return network.eval()


def _alarm(path: Path, card: Card) -> "Alarm | None":
    """Read the alarm; None for an estimator that was saved without one."""
    from sbi_clustermass.estimator.misspecification.alarm import Alarm

    if card.alarm_sha256 is None:
        return None
    _check_part(path, card.alarm_sha256)
    with damaged(path, "holds no alarm"):
        return Alarm.from_arrays(_load_arrays(path, card))


def _membership(path: Path, card: Card, network: EmbedOnce | Ensemble) -> "Membership | None":
    """Read the membership; None for an estimator that was saved without one."""
    from sbi_clustermass.estimator.membership.membership import Membership
    from sbi_clustermass.estimator.membership.network import MembershipNetwork

    if card.membership_sha256 is None:
        return None
    _check_part(path, card.membership_sha256)
    with torch.random.fork_rng(devices=[]), single_precision():
        built = MembershipNetwork(richness=counts_galaxies(card.flow), conditions=columns_of(network).conditions)
    return Membership(_with_weights(built, path))


def _load_arrays(path: Path, card: Card) -> dict[str, np.ndarray]:
    """Read arrays of `_save_arrays`, and refuse those of other weights."""
    with safe_open(str(path), framework="np") as file:
        weights = (file.metadata() or {}).get(_BELONGS_TO, card.weights_sha256)  # absent from older files
    if weights != card.weights_sha256:
        raise ValueError("it was learnt with other weights")
    return load_arrays(str(path))


def _check_part(path: Path, checksum: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent}: no {path.name} in it, which {CARD} names. Copy the folder again.")
    _check_checksum(path, checksum)


def _check_checksum(path: Path, checksum: str) -> None:
    if sha256_of(path) != checksum:
        raise ValueError(
            f"{path}: damaged or truncated, or of another model: its checksum is not the one in {CARD}.\n"
            "  try:    copy the model folder again, or train anew"
        )
