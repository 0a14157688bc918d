"""Which small faults a file can have: each is one place in its text and what stands there instead.

Names, docstrings, messages of the log and annotations are left alone: no test is about them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Mutant", "mutants"]

COMPARED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
COMPUTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
CALLED = {"min": "max", "max": "min", "any": "all", "all": "any"}
IN_SQL = (
    (" AND ", " OR "),
    (" NOT ", " "),
    (" < ", " <= "),
    (" <= ", " < "),
    (" > ", " >= "),
    (" = ?", " <> ?"),
    (" DESC", ""),
    ("max(", "min("),
    ("min(", "max("),
    (" + 1", " + 2"),
    (" {sign} 1", " {sign} 2"),
    ("excluded.", ""),
)
SQL = ("SELECT", "UPDATE ", "INSERT", "DELETE", "WHERE", " AND ", "max(", " < ", "PRAGMA", "DESC")
"""A text with one of these is a statement, or a part of one."""


class Mutant(NamedTuple):
    """One fault: the bytes from `start` to `end` of the file are `text` instead."""

    start: int
    end: int
    text: str
    line: int
    what: str

    def applied(self, source: bytes) -> bytes:
        """Return the file with the fault."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutants(source: bytes) -> list[Mutant]:
    """Return all of a file's faults, in the order of their places; none does not compile."""
    found = _Finder(source)
    found.visit(ast.parse(source))
    out = []
    for mutant in sorted(set(found.mutants)):
        try:
            compile(mutant.applied(source), "mutant", "exec")
        except SyntaxError:  # a pattern that does not stand as it is, in a nested f-string perhaps
            continue
        out.append(mutant)
    return out


class _Finder(ast.NodeVisitor):
    def __init__(self, source: bytes) -> None:
        self.mutants: list[Mutant] = []
        self._source = source
        lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in lines:
            self._starts.append(self._starts[-1] + len(line))

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset

    def _add(self, start: int, end: int, text: str, line: int, what: str) -> None:
        self.mutants.append(Mutant(start, end, text, line, what))

    def _between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> None:
        """Replace the operator that stands between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        at = self._source[start:end].find(old.encode())
        if at >= 0:
            begin = start + at
            self._add(begin, begin + len(old), new, left.end_lineno or 0, f"{old} -> {new}")

    def _replace(self, node: ast.expr | ast.stmt, text: str, what: str) -> None:
        self._add(*self._span(node), text, node.lineno, what)

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            self._between(left, right, *COMPARED[type(operator)])
            left = right
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, old, new)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in COMPUTED:
            self._between(node.left, node.right, *COMPUTED[type(node.op)])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            start, _ = self._span(node)
            self._add(start, self._span(node.operand)[0], "", node.lineno, "not taken out")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def _negate(self, test: ast.expr) -> None:
        start, end = self._span(test)
        text = self._source[start:end].decode()
        self._replace(test, f"(not ({text}))", "condition turned")

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value), f"{value} -> {not value}")
        elif isinstance(value, (int, float)):
            self._replace(node, repr(value + 1), f"{value} -> {value + 1}")
        elif isinstance(value, str) and any(word in value for word in SQL):
            self._in_sql(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        parts = [p.value for p in node.values if isinstance(p, ast.Constant)]
        if any(word in part for word in SQL for part in parts):
            self._in_sql(node)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)

    def _in_sql(self, node: ast.expr) -> None:
        start, _ = span = self._span(node)
        text = self._source[slice(*span)]
        for old, new in IN_SQL:
            for found in re.finditer(re.escape(old.encode()) + rb"(?!NULL)", text):
                line = node.lineno + text.count(b"\n", 0, found.start())
                begin, end = start + found.start(), start + found.end()
                self._add(begin, end, new, line, f"SQL {old!r} -> {new!r}")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in CALLED:
            new = CALLED[node.func.id]
            self._replace(node.func, new, f"{node.func.id} -> {new}")
        if not _is_told(node):
            self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) or _is_told(node.value):
            return  # a docstring, or the log
        self._replace(node, "pass", "call taken out")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(t, ast.Name) and t.id.startswith("__") for t in node.targets):
            return
        if all(isinstance(t, (ast.Attribute, ast.Subscript)) for t in node.targets):
            self._replace(node, "pass", "assignment taken out")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._replace(node, "pass", "assignment taken out")
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Delete(self, node: ast.Delete) -> None:
        self._replace(node, "pass", "deletion taken out")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not isinstance(node.value, ast.Constant):
            self._replace(node.value, "None", "returns None")
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue", "break -> continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break", "continue -> break")

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replace(node, "pass", "raise taken out")  # its message is nobody's business

    def visit_Assert(self, _node: ast.Assert) -> None:
        """Leave what cannot happen alone."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        for statement in self._body(node.body):
            self.visit(statement)

    def _body(self, body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for statement in body:
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                yield statement


def _is_told(node: ast.expr) -> bool:
    """Tell whether it is a call of the log, or of an error with its message."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func
    if isinstance(name, ast.Attribute):
        return isinstance(name.value, ast.Name) and name.value.id == "log"
    return isinstance(name, ast.Name) and name.id.endswith("Error")
