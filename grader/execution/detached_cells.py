"""A part's cells rewritten for the detached run: each statement tried on its own, each gradient replaced below it."""

from __future__ import annotations

import ast
import copy
import functools
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from grader.course.part_reference import PartReference
from grader.notebook.code import Code
from grader.notebook.gradient_names import gradient_of, tensor_of
from grader.notebook.syntax import bound_by, elements_bound, names_bound

NOTHING: Mapping[int, Set[str]] = {}
_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


def bound_in(nodes: Sequence[ast.AST], *, walrus: bool = False, later: Mapping[int, Set[str]] = NOTHING) -> set[str]:
    """The names that statements bind or write into, in the scope in which they stand; `walrus`: in expressions, too.

    Without those that a line gives to something else: `later`, as `uses_after` has it.
    """
    found: set[str] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if not isinstance(node, _SCOPES):
            found.update(set(bound_by(node)) - later.get(getattr(node, "lineno", 0), set()))
            found.update(names_bound(node.target) if isinstance(node, ast.For) else ())
            if hasattr(node, "body") or isinstance(node, ast.ExceptHandler | ast.match_case):
                pending += ast.iter_child_nodes(node)
            elif walrus:
                found.update(
                    name for each in ast.walk(node) if isinstance(each, ast.NamedExpr) for name in bound_by(each)
                )
    return found


class Rewriter:
    """Rewrites the cells of a part.

    Args:
        names: the student's name → the gradient that it is.
        reference: the part, for the names of its tensors.
        given: the names that the exercise has given, and that a line may give to something else.
        filled: the names of lists that are filled in element by element.
        walrus: whether expressions bind names.
    """

    def __init__(self, names: Mapping[str, str], reference: PartReference, given: Iterable[str] = (),
                 filled: Set[str] = frozenset(), *, walrus: bool) -> None:  # fmt: skip
        self.names = names
        self.lists = {name for name, gradient in names.items() if tensor_of(gradient) in reference.lists}
        self.filled = filled
        self.given = frozenset(given) - names.keys()
        self.walrus = walrus
        self.forward = reference.computed
        self.leaves = {gradient_of(name) for name in reference.tensors if name not in self.forward}
        self.places: dict[str, int] = {}
        self._statements = 0
        self._later: Mapping[int, Set[str]] = NOTHING
        self._seen: set[str] = set()

    def rewritten(self, tree: ast.Module, names: Set[str], later: Mapping[int, Set[str]] = NOTHING) -> ast.Module:
        """A cell; `names` are the gradients for which it holds the part's last statement, `later` as for `bound_in`."""
        self._later = later
        return ast.Module(self._body(tree.body, names), type_ignores=[])

    def _body(self, body: Sequence[ast.stmt], names: Set[str]) -> list[ast.stmt]:
        last = {name: place for place, node in enumerate(body) for name in self._bound([node]) & names}
        found: list[ast.stmt] = []
        for place, node in enumerate(body):
            here = {name for name, its in last.items() if its == place}
            self._statements += 1
            self.places.update(dict.fromkeys(map(self.names.__getitem__, here), self._statements))
            rewritten, always = self._descend(node, here)
            future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
            anew = self._gradients(bound_by(node)) if isinstance(node, ast.Assign) else set()
            if anew & self._seen:
                found.append(_call("before", anew & self._seen))
            found.append(node if future else self._tried(rewritten))
            for name in sorted(self.lists.intersection(bound_by(node)) - here - set(_bases(elements_bound(node)))):
                found.append(_ours("listed", _constant(self.names[name]), written=_constant(name not in self.filled)))
            if here and not always:
                found.append(_call("after", {self.names[name] for name in here}))
            if rebound := self._later.get(node.lineno, set()):
                found.append(_call("again", self._gradients(rebound)))
            if taken := names_bound(node) & self.given if not isinstance(node, _SCOPES) else set():
                found.append(_call("given", taken))
            self._seen |= anew
        return found

    def _tried(self, node: ast.stmt) -> ast.stmt:
        """A statement on its own; one that writes elements of lists reads these as they are, and no others."""
        elements = [each for each in elements_bound(node) if _bases([each])[0] in self.lists]
        if not elements:
            return _tried(node)
        node = _OwnElements(elements).visit(copy.deepcopy(node))
        failed = [_ours("wrote", each.value, each.slice) for each in map(_loaded, elements)]
        return _tried(node, *(_tried(call) for call in failed))

    def _gradients(self, names: Iterable[str]) -> set[str]:
        return {self.names[name] for name in names if name in self.names}

    def _bound(self, nodes: Sequence[ast.AST]) -> set[str]:
        return bound_in(nodes, walrus=self.walrus, later=self._later)

    def _descend(self, node: ast.stmt, here: Set[str]) -> tuple[ast.stmt, bool]:
        """A block with each of its lines tried on its own; whether the gradients are kept inside of it."""
        if isinstance(node, ast.With):
            return _with_body(node, self._body(node.body, here)), True
        if isinstance(node, ast.If):
            return _with_body(node, self._body(node.body, here), self._body(node.orelse, here)), False
        if isinstance(node, ast.For | ast.While) and here and self._is_training(node):
            ends = max(place for place, line in enumerate(node.body) if self._bound([line]) & self.names.keys())
            step, rest = self._body(node.body[: ends + 1], here), self._body(node.body[ends + 1 :], set())
            leaves = {self.names[name] for name in here} & self.leaves
            return _with_body(node, [*step, _call("update", leaves), *rest, ast.Break(**_NOWHERE)]), True
        if isinstance(node, ast.For):  # no `while`: one whose counter can't be counted up would never end
            return _with_body(node, self._body(node.body, set()), node.orelse), False
        return _each_tried(node), False

    def _is_training(self, node: ast.For | ast.While) -> bool:
        """Whether a loop's body holds a forward pass and its gradients: one round of it is then all that is asked."""
        return bool(bound_in(node.body) & self.forward) and any(
            target.id in self.names
            for line in node.body
            if isinstance(line, ast.Assign)
            for target in line.targets
            if isinstance(target, ast.Name)
        )


_NOWHERE: dict[str, Any] = {"lineno": 1, "col_offset": 0, "end_lineno": 1, "end_col_offset": 0}
"""The place of the lines that are put in, which the compiler wants to know."""


def _with_body(node: ast.With | ast.If | ast.For | ast.While, body: list[ast.stmt],
               orelse: Sequence[ast.stmt] = ()) -> ast.stmt:  # fmt: skip
    """The same block around other lines: trees are shared, and never changed."""
    found = copy.copy(node)
    found.body = body
    if not isinstance(found, ast.With):
        found.orelse = list(orelse)
    return found


def _tried(node: ast.stmt, *then: ast.stmt) -> ast.stmt:
    """A statement that stops no other by raising; where it does, `then` follow."""
    handler = ast.ExceptHandler(None, None, [_call("failed"), *then], **_NOWHERE)
    return ast.Try([node], [handler], [], [], **_NOWHERE)


_BLOCKS = ast.ClassDef | ast.FunctionDef | ast.With | ast.If | ast.For
_LINES = ast.Assign | ast.AugAssign | ast.AnnAssign


def _each_tried(node: ast.stmt) -> ast.stmt:
    """A class or a function of the student's in which no line stops the others by raising.

    Of what `backward` returns, one gradient then doesn't cost the other. What returns, raises or yields is as it was.
    """
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return node

    def within(line: ast.stmt) -> ast.stmt:
        if isinstance(line, _BLOCKS):
            found = copy.copy(line)
            found.body = [within(inner) for inner in line.body]
            if isinstance(found, ast.If | ast.For):
                found.orelse = [within(inner) for inner in found.orelse]
            return found
        yields = any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(line))
        return _tried(line) if isinstance(line, _LINES) and not yields else line

    return within(node)


def _call(function: str, names: Iterable[str] = ()) -> ast.stmt:
    """`__import__('grader_detached').function('dX', …)`."""
    return _call_of(function, tuple(sorted(names)))


@functools.lru_cache(maxsize=512)
def _call_of(function: str, names: tuple[str, ...]) -> ast.stmt:
    return _ours(function, *map(_constant, names))


def _ours(function: str, *words: ast.expr, **options: ast.expr) -> ast.stmt:
    return ast.Expr(_ours_of(function, *words, **options), **_NOWHERE)


def _ours_of(function: str, *words: ast.expr, **options: ast.expr) -> ast.expr:
    keywords = [ast.keyword(name, value, **_NOWHERE) for name, value in options.items()]
    return ast.Call(ast.Attribute(_MODULE, function, ast.Load(), **_NOWHERE), list(words), keywords, **_NOWHERE)


def _constant(value: str | bool) -> ast.expr:
    return ast.Constant(value, **_NOWHERE)


_MODULE = ast.Call(ast.Name("__import__", ast.Load(), **_NOWHERE), [_constant("grader_detached")], [], **_NOWHERE)


# --- lists of gradients, and the lines that write their elements


def filled_in(cells: Iterable[Code]) -> set[str]:
    """The names into which cells write element by element, or that a method is called on, such as `append`."""
    found: set[str] = set()
    for node in (node for cell in cells for node in cell.nodes):
        written = node.value if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) else None
        called = node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
        found.update(each.id for each in (written, called) if isinstance(each, ast.Name))
    return found


def _bases(elements: Iterable[ast.Subscript]) -> list[str]:
    return [each.value.id for each in elements if isinstance(each.value, ast.Name)]


def _loaded(element: ast.Subscript) -> ast.Subscript:
    """`dh[t]` where it stands to be read."""
    return ast.Subscript(element.value, element.slice, ast.Load(), **_NOWHERE)


class _OwnElements(ast.NodeTransformer):
    """Has a statement read the elements that it writes as they are, and not as random numbers: `dh[t] += …`."""

    def __init__(self, elements: Iterable[ast.Subscript]) -> None:
        self.own = {ast.dump(_loaded(element)) for element in elements}

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AugAssign:
        node.value = self.visit(node.value)
        if isinstance(node.target, ast.Subscript):
            node.target.value = _ours_of("own", node.target.value)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.Subscript:
        if isinstance(node.ctx, ast.Load) and ast.dump(node) in self.own:
            node.value = _ours_of("own", node.value)
        return node
