"""Checks of the fields of an embedding, with one wording for all."""


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
