"""The detached run: a part's statements once more, each from random numbers in place of every gradient above it.

What a line is worth must not depend on what stands above it, which in unfinished work is often missing, zero or not a
number. So in a hidden case of each size the part's cells are run again. After the last statement that binds or writes
a gradient, its value is kept, if there is one, and random numbers take its place; a gradient that no statement binds is
random numbers from the beginning; a statement that raises costs itself and no other. What each line must have made
follows from the same numbers by the chain rule, which is `marking/line_alone.py`'s to say. The numbers come from a
seed, so no reference value is in the kernel.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import copy
import marshal
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import Annotated, Any, Literal

import msgspec
import torch
from torch import Tensor

from grader.course.graph import PartReference
from grader.execution.name_uses import uses_after
from grader.execution.plan import ProbePart, Step, last_gradients, runs_hidden
from grader.execution.tensors import MAX_NAMES, Export, read_export, unpacked
from grader.intake.take_in import PlannedCell
from grader.notebook.code import Statement
from grader.notebook.file import MAKES_GRADIENTS
from grader.notebook.gradient_names import gradient_of, tensor_of
from grader.notebook.syntax import bound_by, elements_bound, names_bound
from grader.records import Record

SEED = 20221011
MAX_OWN = 6
OWN_NAMES = ("grad_{}", "d_{}", "g_{}", "{}_grad")
"""What a student may call the gradient of a tensor that no check asks for."""
NOTHING: Mapping[int, Set[str]] = {}
_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


class DetachedPart(Record, frozen=True):
    """What the kernel is told of a part: the same in every case. See `grader_detached.run`.

    Attributes:
        cells: the rewritten cells, compiled (marshalled, in base64); one that could not be as its source.
        bound: the gradients that they bind, which are not there before; the others are, from the beginning.
        inner: the gradients from which others are computed.
        variables: gradient → the student's name for it, where that is different.
        own: names of the student's own that may stand for a gradient that has different numbers in a second run.
        values: the trained parameters.
        forward: the tensors of the forward pass.
        known: these, and the numbers and tensors that the exercise has given beside them.
        elements: of larger tensors only the shape is wanted.
        lists: of all names, those that stand for lists of tensors.
    """

    cells: list[tuple[Literal["code", "source"], str]]
    bound: list[str]
    inner: list[str]
    variables: dict[str, str]
    own: list[str]
    values: list[str]
    forward: list[str]
    known: list[str]
    elements: int
    lists: list[str] = []


class DetachedCase(Record, frozen=True):
    """What the kernel is told of a part in one case.

    Attributes:
        shapes: gradient → the shape of its random numbers.
        seed: where they come from.
        runs: for each run, the gradients whose numbers come from a second seed.
    """

    shapes: dict[str, list[int]]
    seed: int
    runs: list[list[str]]


class DetachedRun(Record, frozen=True):
    """What came of one detached run of a part in a case, as the kernel says.

    Attributes:
        seed: where the random numbers come from.
        recorded: gradient → what the student's lines made of it; those that none bound are left out.
        ended: of these, the ones that were found at the end: no statement of the part's cells binds them.
        absent: those that nothing had bound, neither before the part nor in it.
        changed: gradients that a line has bound or written to after what was taken for the last one to do so, as they
            were in the end.
        after: the trained parameters, and the tensors of the forward pass that the part's cells changed.
        shared: of the changed ones, those that were so by a write to another, whose memory they were; and that one. The
            lines below started from the numbers again.
        others: the gradients whose numbers were those of the second seed.
        given: the numbers that took the place of names of the student's own in the second run.
        reshaped: the gradients that a line has turned into another shape before others were computed from them.
        otherwise: as `recorded`, where whatever the exercise has given kept its name, and where the `reshaped` were
            random numbers above the line that turned them into another shape.
        again: what lines have made of a gradient's name after its own line was done with, and others had used it.
    """

    seed: int
    recorded: Export
    ended: frozenset[str]
    absent: frozenset[str]
    changed: Export
    after: Export
    shared: dict[str, str] = {}
    others: frozenset[str] = frozenset()
    given: Export = {}
    reshaped: frozenset[str] = frozenset()
    again: Export = {}
    otherwise: Export = {}

    def numbers(self, name: str, shape: torch.Size) -> Tensor:
        """The random numbers that stood for a gradient, float64."""
        seed = self.seed + (name in self.others) + zlib.crc32(name.encode())
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Lines(Record, frozen=True):
    """The statements of a part for its gradients.

    Attributes:
        places: gradient → the number of the statement after which it was kept; several may have the same.
        reads: gradient → the gradients that its statements read.
        variables: gradient → the student's name for it, where that is different.
        starts: gradient → what of the forward pass its statements read, themselves or by names of the student's own.
        later: gradient → the line of its cell from which on its name stands for something that no other line is
            computed from, after it was done with.
    """

    places: dict[str, int]
    reads: dict[str, frozenset[str]]
    variables: dict[str, str]
    starts: dict[str, frozenset[str]] = {}
    later: dict[str, int] = {}


class Detached(Record, frozen=True):
    """A part's detached runs in one case, none where none came to its end.

    Attributes:
        lines: what the student's statements are for each gradient.
        runs: what came of each.
    """

    lines: Lines
    runs: list[DetachedRun]


class DetachedPlan(Record, frozen=True):
    """All detached runs of a submission.

    Attributes:
        parts: part → what is the same in every case.
        cases: case → part → what is told of it in this case.
        lines: part → what its statements are for each gradient.
    """

    parts: dict[str, DetachedPart]
    cases: dict[str, dict[str, DetachedCase]]
    lines: dict[str, Lines]

    @property
    def request(self) -> dict[str, Any]:
        """What the kernel is told."""
        return {"parts": msgspec.to_builtins(self.parts), "cases": msgspec.to_builtins(self.cases)}


def plan_detached(parts: Mapping[str, ProbePart], references: Mapping[str, Mapping[str, PartReference]],
                  again: Mapping[str, Sequence[tuple[str, str]]], cells: Sequence[PlannedCell], steps: Sequence[Step],
                  stops: Mapping[int, int]) -> DetachedPlan:  # fmt: skip
    """What is to be run detached.

    Args:
        parts: what the probe is told of each part.
        references: case → part → reference, for the cases in which parts are run detached.
        again: part → the steps of the chain rule, from an upper to a lower tensor, for which a second run of the first
            case has different numbers in the upper one's gradient.
        cells: the submission's cells.
        steps: the steps of a run.
        stops: cell index → the line at which that cell never came to an end: what stands before it is run.
    """
    first = next(iter(references), "")
    told: dict[str, DetachedPart] = {}
    lines: dict[str, Lines] = {}
    for part in parts.values() if references else ():
        if part.gradients and part.id in {step.part.id for step in steps if step.part is not None}:
            reference = references[first][part.id]
            told[part.id], lines[part.id] = _rewritten(part, reference, again.get(part.id, ()), cells, steps, stops)
    cases = {
        case: {
            part_id: DetachedCase(
                shapes={name: list(shape) for name, shape in _shapes(known[part_id]).items()},
                seed=SEED + 2 * number,
                runs=[[], sorted({gradient_of(upper) for upper, _ in again[part_id]})]
                if case == first and again.get(part_id)
                else [[]],
            )
            for part_id in told
        }
        for number, (case, known) in enumerate(references.items())
    }
    return DetachedPlan(parts=told, cases=cases, lines=lines)


def _rewritten(part: ProbePart, reference: PartReference, again: Sequence[tuple[str, str]],
               cells: Sequence[PlannedCell], steps: Sequence[Step],
               stops: Mapping[int, int]) -> tuple[DetachedPart, Lines]:  # fmt: skip
    """A part's cells, each of their statements tried on its own, and what the statements are for each gradient."""
    last = last_gradients(cells)
    indices = [index for index in _between(part.id, steps) if runs_hidden(Step(do="cell", cell=index), cells, last)]
    code = {index: cells[index].code.up_to(stops[index]) if index in stops else cells[index].code for index in indices}
    makes = [index for index in indices if cells[index].part == part.id and cells[index].role in MAKES_GRADIENTS]
    lines = [line for index in makes for line in code[index].statements]
    walrus = any(":=" in code[index].source for index in makes)
    later = uses_after({index: code[index].tree for index in makes}, _shapes(reference))
    bound = {index: _bound(code[index].tree.body, walrus=walrus, later=later.get(index, {})) for index in makes}
    names = _names(reference, set().union(*bound.values()))
    own = _own_names(again, names, part.forward, lines)
    names.update(zip(own, own, strict=True))
    given = [*part.forward, *part.given] if not part.values else ()
    tried = {index: code[index].tree for index in indices
             if code[index].is_python and (index in makes or cells[index].student)}  # fmt: skip
    filled = _filled(tried.values())
    rewriter = _Rewriter(names, reference, given, filled, walrus=walrus)
    codes: dict[int, str] = {}
    lasts = {name: index for index, those in bound.items() for name in those & names.keys()}
    for index, tree in tried.items():
        here = {name for name, place in lasts.items() if place == index}
        # A formula too deep for it, or a `return` outside of functions: the cell is run as it stands.
        with contextlib.suppress(RecursionError, SyntaxError, ValueError):
            codes[index] = _compiled(rewriter.rewritten(tree, here, later.get(index, {})))
    reads: dict[str, frozenset[str]] = {}
    for line in lines:
        for name in names.keys() & set(line.binds):
            reads[names[name]] = reads.get(names[name], frozenset()) | {
                names[read] for read in line.reads & names.keys()
            }
    variables = {gradient: name for name, gradient in names.items() if name != gradient}
    starts = _starts(lines, names, part.forward)
    told = DetachedPart(
        cells=[("code", codes[index]) if index in codes else ("source", code[index].source) for index in indices],
        bound=[name for name in rewriter.places if name not in part.upstream],
        inner=[*map(gradient_of, computed(reference))],
        variables=variables,
        lists=part.lists,
        own=own,
        values=part.values,
        forward=part.forward,
        known=[*part.forward, *part.given],
        elements=part.elements,
    )
    ends = {name: line for rebound in later.values() for line, names in rebound.items() for name in names}
    return told, Lines(places=rewriter.places, reads=reads, variables=variables, starts=starts, later=ends)


def _starts(lines: Sequence[Statement], names: Mapping[str, str],
            forward: Collection[str]) -> dict[str, frozenset[str]]:  # fmt: skip
    """What of the forward pass the statements for each gradient start from, by helpers and not by other gradients."""
    reads: dict[str, set[str]] = {}
    for line in lines:
        for name in line.binds:
            reads.setdefault(name, set()).update(line.reads)
    found = {}
    for name in reads.keys() & names.keys():
        seen, todo = set[str](), [name]
        while todo:
            new = reads.get(todo.pop(), set()) - seen - names.keys()
            seen |= new
            todo += new - set(forward)
        found[names[name]] = frozenset(seen.intersection(forward))
    return found


def _names(reference: PartReference, bound: Set[str]) -> dict[str, str]:
    """The student's name → the gradient that it is: `dX`, or `grad_X` and the like where nothing is called `dX`."""
    names = {name: name for name in _shapes(reference)}
    for gradient in _shapes(reference).keys() - bound:
        own = next((name for form in OWN_NAMES if (name := form.format(tensor_of(gradient))) in bound), None)
        if own is not None and own not in names:
            names[own] = gradient
    return names


def _compiled(tree: ast.Module) -> str:
    """A cell's code for the kernel, which is the same Python: text would have to be written and read again."""
    code = compile(tree, "<detached>", "exec")
    return base64.b64encode(marshal.dumps(code)).decode()


def _own_names(again: Sequence[tuple[str, str]], names: Mapping[str, str], forward: Sequence[str],
               lines: Sequence[Statement]) -> list[str]:  # fmt: skip
    """The student's own names that lines read in the place of a gradient that nothing binds."""
    bound = {name for line in lines for name in line.binds}
    known = {names[name] for name in bound & names.keys()}
    read = {
        name
        for upper, lower in again if gradient_of(upper) not in known
        for line in lines if gradient_of(lower) in line.binds
        for name in line.reads
    }  # fmt: skip
    return sorted((read & bound) - names.keys() - set(forward))[:MAX_OWN]


def computed(reference: PartReference) -> set[str]:
    """The tensors that are computed from others: from their gradients, and from no others, gradients are computed."""
    return {name for consumers in reference.consumers.values() for name in consumers if name != "loss"}


def _shapes(reference: PartReference) -> dict[str, torch.Size]:
    """Gradient → its shape; without the names that the exercise itself has given to something else."""
    shapes = {gradient_of(name): tensor.shape for name, tensor in reference.tensors.items()}
    taken = {name: reference.constants[name] for name in shapes if name in reference.constants}
    other = {name for name, value in taken.items() if not isinstance(value, Tensor) or value.shape != shapes[name]}
    return {name: shape for name, shape in shapes.items() if name not in other}


def _between(part: str, steps: Sequence[Step]) -> list[int]:
    """The cells that are run from the part's beginning to its export."""
    found: list[int] = []
    inside = False
    for step in steps:
        if step.part is not None and step.part.id == part:
            inside = step.do == "begin"
        elif inside and step.cell is not None:
            found.append(step.cell)
    return found


def _bound(nodes: Sequence[ast.AST], *, walrus: bool = False, later: Mapping[int, Set[str]] = NOTHING) -> set[str]:
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


class _Rewriter:
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
        self.forward = computed(reference)
        self.leaves = {gradient_of(name) for name in reference.tensors if name not in self.forward}
        self.places: dict[str, int] = {}
        self._statements = 0
        self._later: Mapping[int, Set[str]] = NOTHING
        self._seen: set[str] = set()

    def rewritten(self, tree: ast.Module, names: Set[str], later: Mapping[int, Set[str]] = NOTHING) -> ast.Module:
        """A cell; `names` are the gradients for which it holds the part's last statement, `later` as for `_bound`."""
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
        return _bound(nodes, walrus=self.walrus, later=self._later)

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
        return bool(_bound(node.body) & self.forward) and any(
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
    handler = ast.ExceptHandler(None, None, [_call("failed", ()), *then], **_NOWHERE)
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


def _call(function: str, names: Set[str] | tuple[()]) -> ast.stmt:
    """`__import__('grader_detached').function('dX', …)`."""
    return _ours(function, *map(_constant, sorted(names)))


def _ours(function: str, *words: ast.expr, **options: ast.expr) -> ast.stmt:
    return ast.Expr(_ours_of(function, *words, **options), **_NOWHERE)


def _ours_of(function: str, *words: ast.expr, **options: ast.expr) -> ast.expr:
    load = ast.Load()
    found = ast.Name("__import__", load, **_NOWHERE)
    module = ast.Call(found, [_constant("grader_detached")], [], **_NOWHERE)
    keywords = [ast.keyword(name, value, **_NOWHERE) for name, value in options.items()]
    return ast.Call(ast.Attribute(module, function, load, **_NOWHERE), list(words), keywords, **_NOWHERE)


def _constant(value: str | bool) -> ast.expr:
    return ast.Constant(value, **_NOWHERE)


# --- lists of gradients, and the lines that write their elements


def _filled(trees: Iterable[ast.Module]) -> set[str]:
    """The names into which cells write element by element, or that a method is called on, such as `append`."""
    found: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
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


# --- what came of it


_Names = Annotated[frozenset[str], msgspec.Meta(max_length=MAX_NAMES)]


class _RawRun(Record, frozen=True):
    recorded: msgspec.Raw
    ended: _Names
    absent: _Names
    reshaped: _Names
    changed: msgspec.Raw
    shared: Annotated[dict[str, str], msgspec.Meta(max_length=MAX_NAMES)]
    given: msgspec.Raw
    after: msgspec.Raw
    again: msgspec.Raw
    otherwise: msgspec.Raw


_Short = msgspec.Meta(max_length=MAX_NAMES)
_RawRuns = Annotated[dict[str, Annotated[dict[str, Annotated[list[_RawRun], _Short]], _Short]], _Short]


def read_detached(answer: bytes | None, plan: DetachedPlan) -> dict[str, dict[str, Detached]]:
    """Case → part → its detached runs, from the kernel's message; none where it is not what the probe sends."""
    sent = unpacked(answer, _RawRuns) or {}
    return {
        case: {
            part: Detached(
                lines=plan.lines[part],
                runs=list(_read_runs(told, sent.get(case, {}).get(part, []), plan.parts[part].elements)),
            )
            for part, told in parts.items()
        }
        for case, parts in plan.cases.items()
    }


def _read_runs(told: DetachedCase, sent: Sequence[_RawRun], elements: int) -> Iterator[DetachedRun]:
    for others, run in zip(told.runs, sent, strict=False):
        exports: dict[str, Export] = {}
        for name in ("recorded", "changed", "given", "after", "again", "otherwise"):
            export = read_export(getattr(run, name), elements)
            if export is None:
                return
            exports[name] = export
        yield DetachedRun(seed=told.seed, ended=run.ended, absent=run.absent, shared=run.shared,
                          reshaped=run.reshaped, others=frozenset(others), **exports)  # fmt: skip
