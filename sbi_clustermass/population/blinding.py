"""Blinding: chains of a fit moved by secret offsets, so that an analysis can be finished before its result is seen."""

import hmac
import json
import secrets
from collections.abc import Mapping
from hashlib import pbkdf2_hmac
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from sbi_clustermass.population.components import component_name
from sbi_clustermass.population.masses import masses_from_config
from sbi_clustermass.population.priors import Description, bounds, width
from sbi_clustermass.posterior.silent_imports import arviz

if TYPE_CHECKING:
    from arviz import InferenceData

_KEY = "blinded"  # attribute of a blinded fit: salt and checksum of the phrase
_WITHHELD = {"log_likelihood": None, "sample_stats": ["log_prior"], "constant_data": ["p_selected"]}
_ROUNDS = 200_000
_OFFSETS = b"offsets of a population"


def blinded(idata: "InferenceData", phrase: str) -> "InferenceData":
    """Move every parameter of a fit by a secret offset.

    An offset is up to one standard deviation of the parameter's prior, in either direction, or upwards if the parameter
    is positive. It follows from the phrase and the name alone: fits with the same phrase and priors are moved equally,
    and their differences are true. Errors and correlations of parameters are kept; derived quantities are computed from
    the moved parameters, so that theirs are not. What would give the offsets away (prior densities, likelihoods of
    single draws, the fitted selection) is left out.

    It guards against wishful thinking, not against an attack: who has the data can fit them again, and a blinded chain
    that is narrower than its offset still says that a positive parameter is smaller than shown. Only a salted checksum
    of the phrase is stored, but a short phrase can be guessed.

    Args:
        idata: Result of `fit`.
        phrase: Secret phrase. Keep it: it is stored nowhere.

    Returns:
        A fit that `shrink`, `mass_function_band` and `predictive_check` refuse.

    Raises:
        ValueError: The phrase is empty, or the fit is blinded already.
    """
    refuse_blinded(idata, "blinded")
    if not phrase.strip():
        raise ValueError("blinding: the phrase is empty.")
    salt = secrets.token_bytes(16)
    record = json.dumps({"salt": salt.hex(), "check": _derived_key(phrase, salt).hex()})
    return _moved(idata, phrase, 1.0, {**idata.attrs, _KEY: record})


def unblinded(idata: "InferenceData", phrase: str) -> "InferenceData":
    """Take the offsets of `blinded` back.

    What was left out does not come back: fit again, with the same seed, for it.

    Raises:
        ValueError: The fit is not blinded, or with another phrase.
    """
    if _KEY not in idata.attrs:
        raise ValueError("blinding: this fit is not blinded.")
    record = json.loads(idata.attrs[_KEY])
    if not hmac.compare_digest(_derived_key(phrase, bytes.fromhex(record["salt"])).hex(), record["check"]):
        raise ValueError("blinding: this is not the phrase that the fit was blinded with.")
    return _moved(idata, phrase, -1.0, {name: value for name, value in idata.attrs.items() if name != _KEY})


def is_blinded(idata: "InferenceData") -> bool:
    """Whether a fit is blinded."""
    return _KEY in idata.attrs


def refuse_blinded(idata: "InferenceData", what: str) -> None:
    """Refuse a blinded fit for what needs true parameters.

    Raises:
        ValueError: The fit is blinded.
    """
    if is_blinded(idata):
        raise ValueError(f"{what}: the fit is blinded, its parameters are not the true ones.\n  try:    unblinded(...)")


def _moved(idata: "InferenceData", phrase: str, sign: float, attrs: Mapping[str, str]) -> "InferenceData":
    posterior, masses = idata["posterior"].copy(deep=True), masses_from_config(json.loads(attrs["model"])["masses"])
    values = {str(name): torch.as_tensor(array.values) for name, array in posterior.data_vars.items()}
    derived = set(masses.derived(values))
    key = _derived_key(phrase, _OFFSETS)
    for site in values.keys() - derived:
        posterior[site].values += sign * _offsets(idata, site, key)
    moved = {name: torch.as_tensor(posterior[name].values) for name in values.keys() - derived}
    for name, value in masses.derived(moved).items():
        posterior[name].values[:] = value.numpy()
    groups: dict[str, Any] = {name: idata[name] for name in idata.groups() if _WITHHELD.get(name, []) is not None}
    kept = {name: group.drop_vars(_WITHHELD.get(name, []), errors="ignore") for name, group in groups.items()}
    return arviz().InferenceData(attrs=dict(attrs), **{**kept, "posterior": posterior})


def _offsets(idata: "InferenceData", site: str, key: bytes) -> Float[np.ndarray, "*event"]:
    """Offset of each component of a parameter."""
    priors: Mapping[str, Description] = json.loads(idata.attrs["priors"])
    draws = idata["prior"][site].values
    found = np.zeros(draws.shape[2:])
    for place in np.ndindex(found.shape):
        name = component_name(site, place)
        share = int.from_bytes(hmac.digest(key, name.encode(), "sha256")[:8]) / 2**64
        low, scale = None, float(draws[(..., *place)].std())
        if name in priors:
            low, scale = bounds(priors[name])[0], width(priors[name])
        found[place] = scale * (2 * share - 1 if low is None or low < 0 else share)
    return found


def _derived_key(phrase: str, salt: bytes) -> bytes:
    return pbkdf2_hmac("sha256", phrase.strip().encode(), salt, _ROUNDS)
