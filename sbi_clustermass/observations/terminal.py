"""Text for a terminal, which obeys some characters in place of showing them."""

import re

_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # not \t and \n


def printable(text: str) -> str:
    r"""The text without control characters: a name in a table must not colour, move or overwrite anything.

    Example:
        >>> printable("\x1b[2JA 85")
        '[2JA 85'
    """
    return _OBEYED.sub("", text)
