"""A cell's code, parsed once: its tree, and the statements in it. Whoever has the cell reads these from it."""

from __future__ import annotations

import ast
from functools import cached_property

from grader.notebook.syntax import bound_and_written, bound_by, names_read, parse
from grader.records import Record


class Statement(Record, frozen=True):
    """A statement: the names that it binds or writes into, those that it reads, and its lines (from 1, both included).

    `tree` is its node; that of a loop or a `with` stands for its head alone, and what it holds are others.
    """

    tree: ast.AST
    binds: tuple[str, ...]
    reads: frozenset[str]
    first: int
    last: int


_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr, ast.Call, ast.Delete)


def _statement(node: ast.AST) -> Statement | None:
    binds = bound_by(node)
    if binds and isinstance(node, _SIMPLE):
        head: list[ast.expr | ast.stmt] = [node]
    elif binds and isinstance(node, ast.For | ast.AsyncFor):
        head = [node.iter]
    elif binds and isinstance(node, ast.With | ast.AsyncWith):
        head = [item.context_expr for item in node.items]
    else:
        return None
    reads = frozenset[str]().union(*map(names_read, head))
    last = max(each.end_lineno or each.lineno for each in head)
    return Statement(tree=node, binds=tuple(binds), reads=reads, first=node.lineno, last=last)


class Code(Record, frozen=True, dict=True):
    """What a cell says. Trees are shared and never changed; of what isn't Python, all is empty."""

    source: str

    @cached_property
    def _parsed(self) -> ast.Module | None:
        return parse(self.source)

    @property
    def is_python(self) -> bool:
        """Whether it can be parsed, magics and shell lines apart."""
        return self._parsed is not None

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return self._parsed or ast.Module([], [])

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of its tree, outer ones first."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Every simple statement that binds a name or writes into one (`dC[i] += …`), in the order of the source."""
        found = [made for node in self.nodes if (made := _statement(node)) is not None]
        return tuple(sorted(found, key=lambda statement: (statement.first, statement.last)))

    @cached_property
    def binds(self) -> list[str]:
        """The names that it assigns or writes into, in the order in which it first does."""
        return list(dict.fromkeys(name for statement in self.statements for name in statement.binds))

    @cached_property
    def reads(self) -> frozenset[str]:
        """The names that it reads."""
        return names_read(self.tree)

    @property
    def defines(self) -> list[str]:
        """The classes and functions that it defines."""
        return [node.name for node in self.tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]

    @cached_property
    def first_bindings(self) -> list[tuple[int, str]]:
        """Its lines with each name that they are the first to bind, in their order."""
        found: dict[str, int] = {}
        for node in self.nodes:
            for name in bound_and_written(node)[0]:
                found[name] = min(found.get(name, node.lineno), node.lineno)  # type: ignore[attr-defined]
        return sorted(((line, name) for name, line in found.items()), key=lambda one: one[0])

    def line_that_binds(self, name: str) -> int | None:
        """The line of the last statement that binds or writes `name`; None where there is none."""
        return next((each.first for each in reversed(self.statements) if name in each.binds), None)

    def at(self, line: int) -> list[Statement]:
        """The statements that stand on a line."""
        return [each for each in self.statements if each.first <= line <= each.last]

    def onward(self, line: int) -> list[Statement]:
        """The statements at a line and below it."""
        return [each for each in self.statements if each.last >= line]

    def around(self, line: int) -> list[Statement]:
        """The statements that stand on a line, and those of the loops around it."""
        first = min([line, *(loop.lineno for loop in self._loops_around(line))])
        last = max([line, *(loop.end_lineno or 0 for loop in self._loops_around(line))])
        return [each for each in self.statements if each.first <= last and each.last >= first]

    def _loops_around(self, line: int) -> list[ast.For | ast.While]:
        loops = [node for node in self.nodes if isinstance(node, ast.For | ast.While)]
        return [loop for loop in loops if loop.lineno <= line <= (loop.end_lineno or 0)]

    def unfinished(self, line: int) -> list[Statement]:
        """The statements that an error in a line leaves undone, or done in part.

        They are those at it and after it, and, of a loop around it, those that write into something in every round.
        """
        begun = {
            (child.lineno, child.end_lineno)
            for loop in self._loops_around(line)
            for child in ast.walk(loop)
            if isinstance(child, ast.AugAssign | ast.Expr)
            or (isinstance(child, ast.Assign) and any(isinstance(target, ast.Subscript) for target in child.targets))
        }
        return [each for each in self.statements if each.last >= line or (each.first, each.last) in begun]

    def top_level_line(self, line: int | None) -> int:
        """The first line of the top-level statement that `line` stands in; 0 where it is None or in none."""
        around = (node.lineno for node in self.tree.body if node.lineno <= (line or 0) <= (node.end_lineno or 0))
        return next(around, 0)

    def up_to(self, line: int) -> Code:
        """The top-level statements that end before `line`."""
        last = max((node.end_lineno or 0 for node in self.tree.body if (node.end_lineno or 0) < line), default=0)
        return Code("\n".join(self.source.split("\n")[:last]))
