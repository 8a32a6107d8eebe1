"""A cell as its top-level statements, and how some of them are left out or kept from stopping the others.

A cell's lines keep their numbers whatever is done to it: what is left out becomes empty lines.
"""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Literal

from grader.notebook.code import Code, Statement
from grader.notebook.syntax import bound_by, compile_error, names_read, parse, parse_plain, segments
from grader.records import Record

Kind = Literal["import", "definition", "assignment", "loop", "assertion", "expression", "other"]

_SHELL = re.compile(r"^\s*(?:[!%]|pip3? install\b|\?+\w|[\w.]+\?+\s*$)")
_ASSIGNED_SHELL = re.compile(r"^\s*[\w ,]+=\s*[!%]")
_KEPT_MAGIC = re.compile(r"^\s*%(?:time(?:it)?|matplotlib)\b")
_TIMED = re.compile(r"^(\s*)%time\s+(?=\S)")
_PYTHON_MAGIC = re.compile(r"^\s*%%(time|capture|prun|python3?)\b.*$")
_WRITING_MAGIC = re.compile(r"^\s*%%(?:writefile|file)\s+(?P<append>(?:-a|--append)\s+)?(?P<name>\S.*?)\s*$")
_BRINGING_MAGIC = re.compile(r"^\s*%(?:run|load|store|pylab)\b")
_OTHER_MAGIC = re.compile(r"^\s*%%")
_GUARD = "with __import__('contextlib').suppress(Exception): "
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class Piece(Statement, frozen=True):
    """A top-level statement of a cell, with all that stands in it. The inner ones are among `Code.statements`.

    `binds` are the notebook's names that it binds or writes into, `inner` those that functions in it bind for
    themselves. `alone` says that no other statement shares its lines.
    """

    tree: ast.stmt
    kind: Kind
    text: str
    inner: tuple[str, ...]
    alone: bool


class Dissected(Record, frozen=True):
    """A cell's code without its shell lines and magics, its top-level statements in order, and what was left out.

    `pieces` is None where the cell is no Python.
    """

    code: Code
    pieces: list[Piece] | None
    magics: list[str] = []

    @property
    def lines(self) -> list[str]:
        """Its lines, as many as the student's cell has."""
        return self.code.source.split("\n")


@functools.lru_cache(maxsize=512)
def dissect(source: str) -> Dissected:
    """Take a cell apart. Shell lines, and magics that compute nothing, are not run: they install, fetch and show.

    `%%writefile` is a statement that writes the file: cells below import it.
    """
    lines = source.split("\n")
    magics: list[str] = []
    start = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if _PYTHON_MAGIC.match(lines[start]):
        lines[start] = ""
    elif match := _WRITING_MAGIC.match(lines[start]):
        lines[start:] = [_writing(match, lines[start + 1 :]), *[""] * (len(lines) - start - 1)]
    elif _OTHER_MAGIC.match(lines[start]):
        return Dissected(Code("\n" * (len(lines) - 1)), pieces=[], magics=[lines[start].strip()])
    if parse_plain("\n".join(lines)) is None:
        lines = [_TIMED.sub(r"\1", line) for line in lines]  # `%time x = …` is that statement
    tree = parse("\n".join(lines))
    if tree is None:
        lines = [_without_prompt(line) for line in lines]
        tree = parse("\n".join(lines))
    if tree is None or compile_error(tree) is not None:
        return Dissected(Code(source), pieces=None)
    inside = _string_lines(tree)
    for number, line in enumerate(lines if parse_plain("\n".join(lines)) is None else []):
        if number in inside or _KEPT_MAGIC.match(line):
            continue
        if _SHELL.match(line):
            magics.append(line.strip())
            stays = line[:1].isspace() or brings_names(line)  # a cell of `%run` alone is one that came to nothing
            lines[number] = line[: len(line) - len(line.lstrip())] + ("pass" if stays else "")
        elif _ASSIGNED_SHELL.match(line):
            magics.append(line.strip())
    code = Code("\n".join(lines))
    return Dissected(code, list(_pieces(code)), magics)


def brings_names(line: str) -> bool:
    """Whether a line is a magic that may bind names from elsewhere: `%run helpers.py`."""
    return _BRINGING_MAGIC.match(line) is not None


def _writing(magic: re.Match[str], body: Sequence[str]) -> str:
    """The statement that does what `%%writefile` does, and has Python look for modules anew."""
    name, text = magic["name"].strip("\"'"), "".join(f"{line}\n" for line in body)
    mode = "a" if magic["append"] else "w"
    writing = f"open({name!r}, {mode!r}, encoding='utf-8').write({text!r})"
    return f"({writing}, __import__('importlib').invalidate_caches());"


def _without_prompt(line: str) -> str:
    """Terminal text that was pasted into a cell: its prompts and what pip says are no code."""
    match = re.match(r"^(?:>>> |\.\.\. |In \[\d+\]: )(.*)$", line)
    if match:
        return match[1]
    if re.match(r"^(?:\$ |Collecting |Requirement already|Successfully |Downloading |pip3? install )", line):
        return ""
    return line


def _string_lines(tree: ast.AST) -> set[int]:
    """The lines (0-based) that a string over several lines covers."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and (node.end_lineno or 0) > node.lineno:
            found.update(range(node.lineno - 1, node.end_lineno or 0))
    return found


def _pieces(code: Code) -> Iterator[Piece]:
    text_of = segments(code.source)
    spans = [(_first_line(node), node.end_lineno or node.lineno) for node in code.tree.body]
    lines = Counter(line for first, last in spans for line in {first, last})
    for node, (first, last) in zip(code.tree.body, spans, strict=True):
        binds, inner = _bound(node)
        yield Piece(
            tree=node,
            binds=tuple(dict.fromkeys(binds)),
            reads=names_read(node),
            first=first,
            last=last,
            kind=_kind(node),
            text=text_of(node),
            inner=tuple(dict.fromkeys(inner)),
            alone=lines[first] == lines[last] == 1,  # two statements share a line where one begins or ends
        )


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _kind(node: ast.stmt) -> Kind:
    kinds: list[tuple[tuple[type, ...], Kind]] = [
        ((ast.Import, ast.ImportFrom), "import"),
        ((ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef), "definition"),
        ((ast.Assign, ast.AugAssign, ast.AnnAssign), "assignment"),
        ((ast.Assert,), "assertion"),
        ((ast.Expr,), "expression"),
    ]
    found = next((kind for types, kind in kinds if isinstance(node, types)), None)
    if found is not None:
        return found
    return "loop" if any(isinstance(each, ast.For | ast.While) for each in ast.walk(node)) else "other"


def _bound(node: ast.stmt) -> tuple[list[str], list[str]]:
    """The notebook's names that a statement binds, and those that are bound inside its functions only."""
    binds: list[str] = []
    inner: list[str] = []
    todo: deque[tuple[ast.AST, frozenset[str] | None]] = deque([(node, None)])
    while todo:
        current, shared = todo.popleft()
        for name in bound_by(current):
            (binds if shared is None or name in shared else inner).append(name)
        if isinstance(current, _SCOPES):
            names = {name for each in ast.walk(current) if isinstance(each, ast.Global) for name in each.names}
            shared = frozenset(names)
        todo.extendleft((child, shared) for child in reversed(list(ast.iter_child_nodes(current))))
    return binds, inner


# --- what is run of a cell ------------------------------------------------------------------------------------------


def as_written(text: str) -> str:
    """A traceback without what was put before a student's lines."""
    return text.replace(_GUARD, "")


def region(dissected: Dissected, first: int, last: int, dropped: Sequence[Piece], guarded: Sequence[Piece],
           replaced: Sequence[tuple[Piece, str]]) -> Code:  # fmt: skip
    """The lines `first` to `last` of a cell as they are run: without `dropped`, and with `guarded` kept from raising.

    `replaced` have another text, of one line.

    A statement that shares a line with another is left as it is: writing two on a line is rare, and then they belong
    together.
    """
    lines = dissected.lines
    for piece, text in [*((piece, "") for piece in dropped), *replaced]:
        if piece.alone:
            lines[piece.first - 1 : piece.last] = [text, *[""] * (piece.last - piece.first)]
    for piece in guarded:
        if piece.alone and not hasattr(piece.tree, "body"):
            lines[piece.first - 1] = _GUARD + lines[piece.first - 1]
        elif piece.alone:
            lines[piece.first - 1 : piece.last] = [f"{_GUARD}exec({piece.text!r})", *[""] * (piece.last - piece.first)]
    code = Code("\n".join(lines[first - 1 : last]))
    return dissected.code if code == dissected.code else code  # it is parsed already
