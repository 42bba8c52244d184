"""Checks of the simulations from which networks are built: pairs of parameters and observations, and their features."""

import torch
from jaxtyping import Float
from torch import Tensor


def check_pairs(owner: str, theta: Tensor, x: Tensor) -> None:
    """Refuse what is not one batch of pairs, parameters (batch, theta) and observations (batch, *event).

    Raises:
        TypeError: One of them is not a dense tensor of floating-point numbers.
        ValueError: Their shapes are not those of a batch of pairs.
    """
    for name, value in (("theta", theta), ("x", x)):
        _check_floats(owner, name, value)
    shapes = f"{owner}: theta has shape {tuple(theta.shape)}, x {tuple(x.shape)}."
    if theta.dim() != 2 or not theta.shape[1]:
        cure = "\n  try:    theta[:, None] for one parameter" if theta.dim() == 1 else ""
        raise ValueError(f"{shapes} theta needs two axes, (batch, theta).{cure}")
    if x.dim() < 2:
        raise ValueError(f"{shapes} x needs a batch axis and at least one more, (batch, *event).")
    if len(theta) != len(x):
        raise ValueError(f"{shapes} They need the same number of rows: one observation for each set of parameters.")
    if not len(theta):
        raise ValueError(f"{shapes} They hold no simulation.")


def check_batch(owner: str, theta: Tensor, x: Tensor) -> None:
    """Refuse what is not a batch of pairs from which a network can be sized and standardised.

    Raises:
        TypeError: As for `check_pairs`.
        ValueError: As for `check_pairs`; or there is a single pair, a parameter is not finite, or the tensors are not
            where new networks are.
    """
    check_pairs(owner, theta, x)
    home = torch.get_default_device().type
    for name, value in (("theta", theta), ("x", x)):
        if value.device.type != home:
            cure = f"Networks are built on {home}: use {name}.to({home!r})."
            raise ValueError(f"{owner}: {name} is on {value.device}. {cure}")
    if len(theta) < 2:
        raise ValueError(f"{owner}: one pair has no standard deviation. It needs two or more.")
    finite = theta.isfinite().all(1)
    if not finite.all():
        raise ValueError(f"{owner}: {int((~finite).sum())} of {len(theta)} sets of parameters are not finite.")


def check_features(features: Tensor, x: Float[Tensor, "rows *event"]) -> None:
    """Refuse features from which no network can be built, of observations x.

    Raises:
        ValueError: They are not (rows, feature) with at least one feature, or not finite.
    """
    if features.dim() < 2 or len(features) != len(x) or not features.numel():
        raise ValueError(
            f"the embedding makes {tuple(features.shape)} of observations {tuple(x.shape)}. "
            f"It needs one row of features for each: ({len(x)}, feature)."
        )
    finite = features.flatten(1).isfinite().all(1)
    if not finite.all():
        raise ValueError(f"the embedding's features of {int((~finite).sum())} of {len(x)} observations are not finite.")


def _check_floats(owner: str, name: str, value: object) -> None:
    found = f"a {type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.layout == torch.strided:
            return
        found = f"a tensor of {value.dtype}, {value.layout}"
    raise TypeError(
        f"{owner}: {name} is {found}. It needs a dense tensor of floating-point numbers.\n"
        f"  try:    torch.as_tensor({name}, dtype=torch.float32)"
    )
