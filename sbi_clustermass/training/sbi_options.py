"""The options of sbi's `NPE.train`, as settings of our training."""

from collections.abc import Callable
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Int

from sbi_clustermass.training.settings import Training, check_whole, split_by_group


class SbiOptions(TypedDict, total=False):
    """Options of sbi's `NPE.train`, under its names."""

    training_batch_size: int
    learning_rate: float
    validation_fraction: float
    stop_after_epochs: int
    max_num_epochs: int
    clip_max_norm: float | None
    show_train_summary: bool
    calibration_kernel: Callable | None
    dataloader_kwargs: dict[str, Any] | None
    resume_training: bool
    num_atoms: int
    force_first_round_loss: bool
    discard_prior_samples: bool
    use_combined_loss: bool
    retrain_from_scratch: bool


_SETTINGS = {
    "training_batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "validation_fraction": "validation_fraction",
    "clip_max_norm": "clip_norm",
}
_EPOCHS = {"max_num_epochs": "max_updates", "stop_after_epochs": "patience"}
_INSTEAD = {
    "resume_training": "train(checkpoint=FILE), which continues from the file",
    "calibration_kernel": "sbi's NPE with the same builder, for weighted simulations",
    "dataloader_kwargs": "Training(batch_size=..., seed=...), and groups= for what must not be split",
}


def as_training(training: object, options: SbiOptions, groups: Int[np.ndarray, "cluster"]) -> Training:
    """Return settings with sbi's options instead of the fields that they stand for.

    An epoch is as many weight updates as the fitting set has whole batches. With `stop_after_epochs` there is at least
    one validation for each epoch. Options of later rounds have no effect: there is one.

    Raises:
        TypeError: An option is unknown, or the settings are no `Training`.
        ValueError: An option has no counterpart, or its value is refused by `Training`.
    """
    if not isinstance(training, Training | None):
        raise TypeError(f"train: settings are a Training, found {training!r}.\n  try:    train(Training(...))")
    for name, value in options.items():
        _check(name, value)
    given: dict[str, Any] = {_SETTINGS[name]: value for name, value in options.items() if name in _SETTINGS}
    if given.get("clip_norm", 0.0) is None:
        given["clip_norm"] = np.inf
    found = replace(training or Training(), **given)
    epochs: dict[str, Any] = {_EPOCHS[name]: value for name, value in options.items() if name in _EPOCHS}
    if not epochs:
        return found
    updates = max(len(split_by_group(groups, found).fitting) // found.batch_size, 1)
    validate = min(found.validate_every, updates) if "patience" in epochs else found.validate_every
    return replace(found, validate_every=validate, **{name: value * updates for name, value in epochs.items()})


def _check(name: str, value: object) -> None:
    """Refuse an option that is unknown, or whose value asks for what this training does not do."""
    if name in _EPOCHS:
        check_whole(f"train: {name}", value, least=1)
    if name in _INSTEAD and value:
        raise ValueError(f"train: {name} has no effect here.\n  try:    {_INSTEAD[name]}")
    if name in SbiOptions.__annotations__:
        return
    if name in (each.name for each in fields(Training)):
        raise TypeError(f"train: {name} is a setting.\n  try:    train(Training({name}={value!r}))")
    near = get_close_matches(name, SbiOptions.__annotations__, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise TypeError(
        f"train: unknown option {name!r}.{hint}\n  try:    train(Training(...)), whose fields are documented"
    )
