"""Answers: frozen objects that become JSON, tables, data frames and pictures in one way."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from edgemse.fleet.asked import Asked
from edgemse.fleet.coding import decode, encode
from edgemse.names import shown

if TYPE_CHECKING:
    import pandas
    import plotly.graph_objects as plotly
    import pyarrow

__all__ = ["Answer", "Table", "listed", "percent", "text"]

NAMED_MAX = 5


class Table(NamedTuple):
    """What people see: headings, which columns hold words, rows, and rows below a line.

    The `kept` first columns name a row; where there is no room the last of the others go first.
    """

    headings: Sequence[str]
    words: Collection[int]
    kept: int
    rows: Sequence[Sequence[str]]
    below: Sequence[Sequence[str]] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What every answer has. Floats are NaN where there is nothing to say; JSON has null there.

    A question's answer is a child of this with fields of its own, that says in ROWS which of them
    holds the rows, in HEADINGS which fields of a row people see and what these are called, the most
    important first, and in WORDS which of these are words and not figures.
    """

    ROWS: ClassVar[str]
    HEADINGS: ClassVar[Mapping[str, str]]
    WORDS: ClassVar[Collection[str]] = ()
    IF_KNOWN: ClassVar[frozenset[str]] = frozenset()
    """Of HEADINGS: those that people see only if a row has something to say there."""

    asked: Asked
    """What was selected."""
    notes: tuple[str, ...] = ()
    """What to know before believing the figures: assumptions, what was not found or not enough."""
    cells_found: bool = True
    """False: nothing in the store is what was asked for, and the first note says so."""

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON's objects: the same names, null for NaN."""
        return encode(self)  # type: ignore[no-any-return]  # of a dataclass: a dict

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the answer whose JSON this is. Raises StoreError if fields are missing."""
        return decode(cls, data)  # type: ignore[no-any-return]

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as flat dicts: group columns first, then every field that is no object.

        A group column that is called like a field has `by_` before its name.

        >>> from edgemse.fleet.devices import DevicesAnswer
        >>> DevicesAnswer(asked=Asked(), devices=()).records()
        []
        """
        by, fields = self._named_by(), self._fields()
        return [
            # A row of all groups has no value of its own.
            {name: getattr(row, "by", {}).get(column, "") for name, column in by.items()}
            | {name: getattr(row, name) for name in fields}
            for row in getattr(self, self.ROWS)
        ]

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a pandas DataFrame; needs pandas."""
        import pandas

        return pandas.DataFrame(self.records(), columns=self.columns())

    def to_arrow(self) -> pyarrow.Table:
        """Return the rows as a pyarrow Table, NaN kept; needs pyarrow."""
        import pyarrow

        records = self.records()
        columns = {name: [record[name] for record in records] for name in self.columns()}
        return pyarrow.table(columns)

    def to_csv(self) -> str:
        """Return the rows as CSV with their names; what is not known is an empty cell.

        A text that a spreadsheet would run as a formula has a ' before it; figures are as they are.
        """
        lines = io.StringIO()
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(map(_harmless, self.columns()))
        for record in self.records():
            writer.writerow([_plain(record[name]) for name in self.columns()])
        return lines.getvalue()

    def table(self, now: float | None = None) -> Table:
        """Return the rows as people see them; `now` (UTC seconds) lets times be "3 min ago"."""
        by = self._by()
        rows = [self._line(row, by, now) for row in getattr(self, self.ROWS)]
        words = [*range(len(by))]
        words += [place for place, name in enumerate(self._headings, len(by)) if name in self.WORDS]
        return Table([*by, *self._headings.values()], words, max(1, len(by)), rows)

    def sentences(self) -> Iterator[str]:
        """Yield what the rows do not show, in words."""
        yield from ()

    def alarm(self) -> str:
        """Return what a script should be stopped by, in a line; empty: nothing."""
        return ""

    def plot(self) -> plotly.Figure:
        """Return a picture; needs Plotly."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        table = self.table()
        head = "".join(f"<th>{escape(heading)}</th>" for heading in table.headings)
        rows = [f"<tr>{_cells(row)}</tr>" for row in (*table.rows, *table.below)]
        lines = [f"<p>{escape(line)}</p>" for line in (*self.sentences(), *self.notes)]
        return f"<table><thead><tr>{head}</tr></thead>{''.join(rows)}</table>{''.join(lines)}"

    def _by(self) -> tuple[str, ...]:
        return self.asked.by

    @cached_property
    def _headings(self) -> Mapping[str, str]:
        """The fields that people see, with their headings; every line asks for them."""
        empty = {name for name in self.IF_KNOWN if not self._is_known(name)}
        return {name: heading for name, heading in self.HEADINGS.items() if name not in empty}

    def _is_known(self, name: str) -> bool:
        """Return whether a field of IF_KNOWN has something to say."""
        return any(text(getattr(row, name)) != "-" for row in getattr(self, self.ROWS))

    def columns(self) -> list[str]:
        """Return the names in `records`, of an answer without a row too."""
        return [*self._named_by(), *self._fields()]

    def _fields(self) -> list[str]:
        row = _row_type(type(self))
        names = [each.name for each in dataclasses.fields(row) if each.name != "by"]
        return [name for name in names if _is_scalar(row, name)]

    def _named_by(self) -> dict[str, str]:
        """Return the group columns by the names that they have beside the fields."""
        taken, found = set(self._fields()), {}
        for column in self._by():
            name = column
            while name in taken or (name in self._by() and name != column):
                name = f"by_{name}"
            found[name] = column
        return found

    def _line(self, row: Any, by: Sequence[str], _now: float | None) -> list[str]:
        return [*(row.by[name] for name in by), *(text(getattr(row, n)) for n in self._headings)]


def text(value: Any) -> str:
    """Return a value as a table shows it: six digits, "-" for what is not known.

    >>> text(1234567), text(0.1234567), text(float("nan")), text(None), text(True)
    ('1,234,567', '0.123457', '-', '-', 'yes')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def listed(names: Sequence[str]) -> str:
    """Return the first five names, and how many more there are.

    >>> listed(["a", "b"]), listed(["a", "b", "c", "d", "e", "f", "g"])
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more:,} more" if more > 0 else "")


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share in percent: 0.256 is "25.6 %"."""
    known = share is not None and not math.isnan(share)
    return f"{100 * share:.{digits}f} %" if share is not None and known else "-"


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return _harmless(shown(value))
    return str(value).lower() if isinstance(value, bool) else value


FORMULA = re.compile(r"[=@]|[+-](?![0-9.]+(?:[eE][+-]?[0-9]+)?\Z)")
"""How a cell begins that a spreadsheet takes for a formula (OWASP, "CSV Injection"); -5 is none."""


def _harmless(text: str) -> str:
    return f"'{text}" if FORMULA.match(text) else text


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{escape(each)}</td>" for each in row)


SCALARS = ("str", "int", "float", "bool")


def _is_scalar(row: type, name: str) -> bool:
    # Annotations are texts here: every module of answers has `from __future__ import annotations`.
    kind = next(str(each.type) for each in dataclasses.fields(row) if each.name == name)
    return kind.removesuffix(" | None") in SCALARS


def _row_type(answer: type[Answer]) -> type:
    from typing import get_args, get_type_hints

    return get_args(get_type_hints(answer)[answer.ROWS])[0]  # type: ignore[no-any-return]
