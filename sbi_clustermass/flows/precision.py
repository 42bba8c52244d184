"""Floating point types in which networks are built and densities evaluated, whatever the caller has set around them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from sbi_clustermass.embeddings.kde import without_autocast


def single_precision() -> AbstractContextManager[None]:
    """Build networks in float32: under another default type, saved weights would not fit them."""
    return default_dtype(torch.float32)


def default_dtype(dtype: torch.dtype) -> AbstractContextManager[None]:
    """Make this the type of new tensors; libraries draw noise in the default one.

    The default belongs to the process, so other threads see it meanwhile. Nothing is set where it is right already.
    """
    return nullcontext() if torch.get_default_dtype() == dtype else _switched(dtype)


@contextmanager
def precision_of(features: Tensor) -> Iterator[None]:
    """Compute in the type of these features: without autocast, and with new tensors of their type."""
    with default_dtype(features.dtype), without_autocast(features.device.type):
        yield


@contextmanager
def _switched(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
