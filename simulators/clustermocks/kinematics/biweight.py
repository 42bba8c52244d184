"""Biweight location of many short rows: astropy's takes .5 ms a call, most of the time of a table or of a mock."""

import numpy as np
from jaxtyping import Float

TUNING = 6.0  # median absolute deviations beyond which a value has no weight


def biweight_location(values: Float[np.ndarray, "*batch galaxy"]) -> Float[np.ndarray, "*batch"]:
    """Biweight location along the last axis of the values that are not NaN: astropy's, bit for bit.

    Args:
        values: At least one finite value a row; NaN is padding.

    References:
        Beers, Flynn & Gebhardt 1990, AJ 100, 32, eq. 5.
    """
    middle = _median(values)
    offset = values - middle[..., None]
    spread = _median(np.abs(offset))
    u = offset / np.where(spread > 0, TUNING * spread, 1.0)[..., None]
    weight = np.where(np.abs(u) < 1, (1 - u**2) ** 2, 0.0)
    total, pull = weight.sum(axis=-1), np.where(weight > 0, offset * weight, 0.0).sum(axis=-1)
    return middle + np.divide(pull, total, out=np.zeros_like(middle), where=(spread > 0) & (total > 0))


def _median(values: Float[np.ndarray, "*batch galaxy"]) -> Float[np.ndarray, "*batch"]:
    n = np.asarray(values.shape[-1] - np.isnan(values).sum(axis=-1))
    middle = np.stack([(n - 1) // 2, n // 2], axis=-1)
    return np.take_along_axis(np.sort(values, axis=-1), middle, axis=-1).mean(axis=-1)  # NaN is sorted last
