"""Conditions on the rows of a table, such as `ZWARN == 0 and SPECTYPE == "GALAXY"`."""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Self, TypeAlias, final

import numpy as np
from jaxtyping import Bool

from sbi_clustermass.observations.tables.access import column_of
from sbi_clustermass.observations.tables.column_reader import as_text
from sbi_clustermass.observations.tables.errors import closest, problem, shorten
from sbi_clustermass.observations.tables.parsing import numbers

if TYPE_CHECKING:
    from astropy.table import Column, Table

_QUOTED = re.compile(r"(\"[^\"]*\"|'[^']*'|`[^`]*`)")
_NAME = re.compile(r"(?<![\w.])[^\W\d][\w.]*")
_WORDS = {"and": "and", "or": "or", "not": "not", "in": "in", "true": "True", "false": "False"}
_SPELLINGS = {
    r"(?<![\w.])0\d+(?![\w.])": r'"\g<0>"',
    r"&&?": " and ",
    r"\|\|?": " or ",
    r"<>": "!=",
    r"(?<![<>=!])=(?!=)": "==",
    r"!(?!=)": " not ",
}
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ADVICE = (
    """'ZWARN == 0 and SPECTYPE == "GALAXY"', with < <= == != >= > in, and, or, not; bits (ZWARN & 4); `my column`"""
)

Value: TypeAlias = Any  # a masked array (row,), a number, or a text


@final
@dataclass(frozen=True)
class Condition:
    """A condition on the columns of a table.

    Column names may stand in backticks, and must where they have blanks. A row that lacks a value fails every
    comparison with it, as in SQL, whose spellings (=, <>, AND) are understood.

    Attributes:
        text: The condition as it was written.
        tree: Its syntax, with a placeholder for each column.
        names: Columns by placeholder.
    """

    text: str
    tree: ast.expr
    names: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a condition.

        Raises:
            TableError: It is none.
        """
        names: dict[str, str] = {}

        def placeholder(name: str) -> str:
            return names.setdefault(name, f"_{len(names)}")

        def unquoted(part: str) -> str:
            for theirs, ours in _SPELLINGS.items():
                part = re.sub(theirs, ours, part)
            return _NAME.sub(lambda name: _WORDS.get(name[0].lower()) or placeholder(name[0]), part)

        parts = _QUOTED.split(text)  # every second one is quoted
        parts[::2] = map(unquoted, parts[::2])
        parts[1::2] = [placeholder(part[1:-1]) if part.startswith("`") else part for part in parts[1::2]]
        try:
            tree = ast.parse("".join(parts).strip(), mode="eval").body
        except (SyntaxError, ValueError) as error:
            raise problem("where", "not a condition.", found=text, advice=_ADVICE) from error
        return cls(text, tree, {ours: name for name, ours in names.items()})

    def columns(self, table: "Table") -> set[str]:
        """Names of the table's columns that the condition needs."""
        return {_existing(table, name) or name for name in self.names.values()}

    def holds(self, table: "Table", where: str) -> Bool[np.ndarray, "row"]:
        """Tell for which rows it is true, (row,).

        Args:
            table: Table of the columns.
            where: Name of the file, for messages.

        Raises:
            TableError: A column is missing, or is compared with something of another kind.
        """
        result = _Evaluation(table, where, self).condition(self.tree)
        return np.ma.filled(np.broadcast_to(result, len(table), subok=True), False).astype(bool)


@final
@dataclass(frozen=True)
class _Evaluation:
    table: "Table"
    where: str
    given: Condition

    def condition(self, node: ast.expr) -> Value:
        """Evaluate what is true or false."""
        if isinstance(node, ast.BoolOp):
            combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            parts = [np.ma.filled(self.condition(part), False) for part in node.values]
            return combine.reduce(np.broadcast_arrays(*parts))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
            return np.ma.logical_not(self.condition(node.operand))
        if isinstance(node, ast.Compare):
            links = zip([node.left, *node.comparators[:-1]], node.ops, node.comparators, strict=True)
            return reduce(np.ma.logical_and, (self._compared(*link) for link in links))
        value = self.value(node)
        if np.asarray(value).dtype != bool:
            raise self._problem(f"{self._source(node)} is no condition: compare it with a value.")
        return value

    def value(self, node: ast.expr) -> Value:
        """Evaluate a column, a constant, or arithmetic with them."""
        if isinstance(node, ast.Name):
            return self._column(self.given.names[node.id])
        if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str)):
            return node.value
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            value = self._number(node.operand)
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):  # a single & between numbers: their bits
            return reduce(np.ma.bitwise_and, (self._whole(part) for part in node.values))
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            with np.errstate(all="ignore"):
                return _OPERATORS[type(node.op)](self._number(node.left), self._number(node.right))
        raise self._problem(f"{self._source(node)} is not understood.")

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Value:
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.List, ast.Tuple, ast.Set)) or not right.elts:
                raise self._problem("what follows `in` is a list, such as [3, 4].")
            among = reduce(np.ma.logical_or, (self._compared(left, ast.Eq(), each) for each in right.elts))
            return among if isinstance(op, ast.In) else np.ma.logical_not(among)
        if type(op) not in _OPERATORS:
            raise self._problem("not a comparison.")
        first, second = self._alike(left, self.value(left), self.value(right))
        second, first = self._alike(right, second, first)
        return _OPERATORS[type(op)](first, second)

    def _alike(self, node: ast.expr, value: Value, other: Value) -> tuple[Value, Value]:
        """Make numbers of a column of text that is compared with a number, and words of one compared with true."""
        if not _is_text(value) or _is_text(other):
            return value, other
        if isinstance(other, bool):
            return np.ma.array(np.char.lower(np.ma.getdata(value)), mask=np.ma.getmask(value)), str(other).lower()
        return self._number(node, value), other

    def _number(self, node: ast.expr, value: Value = None) -> Value:
        value = self.value(node) if value is None else value
        if not _is_text(value):
            return value
        texts = np.atleast_1d(np.ma.filled(value, ""))
        try:
            found = np.ma.masked_invalid(numbers(texts.tolist()))
        except ValueError as error:
            raise self._problem(f"{self._source(node)} is read as no number: {error}.") from error
        if np.ma.getmaskarray(found).all() and (texts != "").any():
            raise self._problem(f"{self._source(node)} is text, and is compared with a number.")
        return found

    def _whole(self, node: ast.expr) -> Value:
        values = np.ma.asarray(self._number(node))
        if values.dtype.kind == "b" or (values % 1 != 0).any():
            raise self._problem(f"{self._source(node)} has no bits: it is no whole number.")
        return np.ma.array(np.ma.filled(values, 0).astype(np.int64), mask=np.ma.getmask(values))

    def _column(self, name: str) -> Value:
        found = _existing(self.table, name)
        if found is None:
            near, names = closest(name, self.table.colnames), self.table.colnames
            advice = near or f"one of {shorten(names)}; texts stand in quotes"
            raise problem(self.where, f"no column {name!r} for --where.", found=self.given.text, advice=advice)
        return _exact(column_of(self.table, found))

    def _source(self, node: ast.expr) -> str:
        return re.sub(r"\b_\d+\b", lambda ours: self.given.names[ours[0]], ast.unparse(node))

    def _problem(self, what: str) -> Exception:
        return problem(self.where, what, found=f"--where {self.given.text}", advice=_ADVICE)


def plain_values(column: "Column") -> np.ma.MaskedArray:
    """Numbers, truth values or texts without outer blanks of a column; what is missing is masked."""
    mask = np.ma.getmaskarray(np.ma.asarray(column))
    if column.dtype.kind == "b":
        return np.ma.array(np.ma.getdata(column), mask=mask)
    if column.dtype.kind in "iuf":
        values = np.asarray(np.ma.getdata(column), float)
        return np.ma.array(values, mask=mask | np.isnan(values))
    texts = np.array([as_text(value).strip() for value in np.ma.getdata(column).tolist()], dtype=str)
    return np.ma.array(texts, mask=mask | np.isin(texts, ("", "--", "nan", "None")))


def _exact(column: "Column") -> np.ma.MaskedArray:
    """The same with whole numbers as such: floating point rounds identifiers of more than 15 digits."""
    stored = np.ma.asarray(column)
    if column.dtype.kind not in "iu" or (np.ma.getdata(stored) > np.iinfo(np.int64).max).any():
        return plain_values(column)
    return np.ma.array(np.ma.getdata(stored).astype(np.int64), mask=np.ma.getmaskarray(stored))


def _existing(table: "Table", name: str) -> str | None:
    """Name of the table's column, whose case may differ where that is unambiguous."""
    if name in table.colnames:
        return name
    alike = [each for each in table.colnames if each.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def _is_text(value: Value) -> bool:
    return np.asarray(np.ma.getdata(value)).dtype.kind in "US"
