"""Checks of the fields of an embedding or a flow, with one wording for all."""

from typing import Any, Self

from torch import Tensor


class Choice:
    """A flow or an embedding as a user chooses it: an object made of numbers and words, before there are any data."""

    def __new__(cls, *values: Any, **fields: Any) -> Self:
        """Refuse simulations, with which sbi calls a builder; a class given as a builder would take them for fields.

        Raises:
            TypeError: A field is a tensor.
        """
        if any(isinstance(value, Tensor) for value in (*values, *fields.values())):
            raise TypeError(cls.needs_an_object())
        return super().__new__(cls)

    @classmethod
    def needs_an_object(cls) -> str:
        """Message to a user who gave the class."""
        name = cls.__name__
        return f"{name} is a class, and was given where an object is needed.\n  try:    {name}() instead of {name}"


def check_positive(owner: str, **values: object) -> None:
    """Refuse a value that is not a positive finite number."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ValueError(f"{owner}: {name} is {value!r}. It needs a positive number.")


def check_counts(owner: str, **values: object) -> None:
    """Refuse a value that is not a whole number of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{owner}: {name} is {value!r}. It needs a whole number of at least 1.")


def check_flags(owner: str, **values: object) -> None:
    """Refuse a value that is neither true nor false."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f"{owner}: {name} is {value!r}. It needs true or false.")
