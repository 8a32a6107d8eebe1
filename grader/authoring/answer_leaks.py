"""Whether a text gives an answer away: it holds the right-hand side of a line of the solution, however it is written.

There are two ways to look, because texts are prose with code in it: for the answer's tokens one after the other, with
any space between them; and among all expressions of what reads as Python, with sums and products in any order.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterable, Iterator

from grader.notebook.code import Code
from grader.records import Record

_QUOTED = re.compile(r"`+([^`]+)`+")
_COMMENT = re.compile(r"^[\s#>*-]*")
_OPERATIONS = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Subscript)


class Answer(Record, frozen=True):
    """A line of the solution that makes a gradient.

    `operations` is how many its right-hand side has: a short one may stand in a text for other reasons. `pattern` and
    `form` are what is looked for.
    """

    line: str
    operations: int
    pattern: str
    form: str


def answers(source: str, values: Collection[str] = ()) -> list[Answer]:
    """The lines of a solution's answer that make a gradient (`dX = …`, `self.dX = …`, `return …`, and `+=`) or a value.

    Args:
        source: what stands between the solution's markers.
        values: the names that are compared by value.
    """
    found = []
    for node in ast.walk(Code(source).tree):
        value = _made(node, values)
        operations = _operations(value) if value is not None else 0
        if value is not None and operations:
            line = ast.get_source_segment(source, node) or ast.unparse(node)
            found.append(Answer(line=line, operations=operations, pattern=_pattern(value), form=_form(value)))
    return found


def given_away(sought: Iterable[Answer], text: str) -> list[Answer]:
    """Those whose right-hand side the text holds."""
    text = text.replace("self.", "")
    forms = set(_forms(text))
    plain = text.replace("`", " ")
    return [answer for answer in sought if answer.form in forms or re.search(answer.pattern, plain)]


def _made(node: ast.AST, values: Collection[str]) -> ast.expr | None:
    """The right-hand side of a statement that makes a gradient or one of the values."""
    if isinstance(node, ast.Return):
        reads_one = any(isinstance(child, ast.expr) and _is_sought(child, ()) for child in ast.walk(node))
        return node.value if reads_one else None
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets = [node.target]
    else:
        return None
    return node.value if any(_is_sought(target, values) for target in targets) else None


def _is_sought(target: ast.expr, values: Collection[str]) -> bool:
    if isinstance(target, ast.Subscript):
        return _is_sought(target.value, values)
    if isinstance(target, ast.Tuple):
        return any(_is_sought(element, values) for element in target.elts)
    name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
    return name in values or looks_like_a_gradient(name)


def looks_like_a_gradient(name: str) -> bool:
    """Whether a name is made as a gradient's is: a `d` and the tensor's."""
    return len(name) > 1 and name.startswith("d")


def _operations(value: ast.expr) -> int:
    def is_one(node: ast.AST) -> bool:
        return isinstance(node, _OPERATIONS) or (isinstance(node, ast.Attribute) and node.attr in ("T", "mT"))

    return sum(is_one(node) for node in ast.walk(value))


def _pattern(value: ast.expr) -> str:
    """A regular expression for the tokens of an expression with any space between them, and nothing glued to it."""
    code = ast.unparse(value).replace("self.", "")
    tokens = [token.string for token in tokenize.generate_tokens(io.StringIO(code).readline) if token.string.strip()]
    return r"(?<![\w.])" + r"\s*".join(re.escape(token) for token in tokens) + r"(?![\w(\[])"


def _forms(text: str) -> Iterator[str]:
    """The forms of all expressions in what reads as Python: the whole, a line, a comment, a piece in backticks."""
    lines = [piece for line in text.splitlines() for piece in (line.strip(), _COMMENT.sub("", line))]
    for piece in dict.fromkeys([text, *lines, *_QUOTED.findall(text)]):
        yield from (_form(node) for node in ast.walk(Code(piece).tree) if isinstance(node, _OPERATIONS))


def _form(node: ast.AST) -> str:
    """An expression as text in which the order of what is added or multiplied, and `self.`, make no difference."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return f"({node.attr})"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
        return f"({type(node.op).__name__} {' '.join(sorted(_operands(node, type(node.op))))})"
    if isinstance(node, ast.Name):
        return f"({node.id})"
    inside = [
        f"{name}={value!r}" if not isinstance(value, ast.AST | list) else " ".join(_all_forms(value))
        for name, value in ast.iter_fields(node)
        if name != "ctx"
    ]
    return f"({type(node).__name__} {' '.join(inside)})"


def _all_forms(value: ast.AST | list[object]) -> list[str]:
    return [_form(child) for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)]


def _operands(node: ast.expr, kind: type[ast.operator]) -> list[str]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, kind):
        return [*_operands(node.left, kind), *_operands(node.right, kind)]
    return [_form(node)]
