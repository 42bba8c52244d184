"""Floating point types in which networks are built and densities evaluated, whatever the caller has set around them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor


def single_precision() -> AbstractContextManager[None]:
    """Build networks in float32: under another default type, saved weights would not fit them."""
    return default_dtype(torch.float32)


def default_dtype(dtype: torch.dtype) -> AbstractContextManager[None]:
    """Make this the type of new tensors; libraries draw noise in the default one.

    The default belongs to the process, so other threads see it meanwhile. Nothing is set where it is right already.
    """
    return nullcontext() if torch.get_default_dtype() == dtype else _switched(dtype)


def precision_of(features: Tensor) -> AbstractContextManager[object]:
    """Compute in the type of these features: without autocast, and with new tensors of their type."""
    kind = features.device.type
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return default_dtype(features.dtype)
    both = ExitStack()
    both.enter_context(default_dtype(features.dtype))
    both.enter_context(torch.autocast(kind, enabled=False))
    return both


@contextmanager
def _switched(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
