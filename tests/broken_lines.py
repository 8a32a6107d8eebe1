"""A right solution with one gradient's line left None, deleted, zero, NaN, raising, or of another shape."""

from __future__ import annotations

import ast

from grader.notebook.syntax import bound_by

KINDS = {
    "none": "{name} = None",
    "deleted": "",
    "zero": "{name} = {name} * 0",
    "nan": "{name} = {name} * float('nan')",
    "raises": "{name} = 1 / 0",
    "shape": "{name} = {name}.flatten().repeat(3)[:-1]",
}
"""How a line is broken → what stands in its place; `{name}` in what replaces it makes it an addition."""


def broken(source: str, name: str, kind: str, *, is_list: bool = False) -> str | None:
    """The cell with one gradient's lines broken; None where the cell has no line that binds the gradient alone.

    Where the gradient `is_list`, what is put in its place is done to each of its elements.
    """
    tree, text = ast.parse(source), KINDS[kind].format(name=name)
    if is_list and kind in ("zero", "nan", "shape"):
        text = f"{name} = [{KINDS[kind].format(name='each').partition(' = ')[2]} for each in {name}]"
    return ast.unparse(tree) if _break(tree.body, name, text, kind) else None


def _break(body: list[ast.stmt], name: str, text: str, kind: str) -> bool:
    lines = [node for node in body if name in _bound(node)]
    if not lines:
        return False
    inner = [node for node in lines if isinstance(node, ast.With | ast.For) and _assigns(node, name)]
    if inner:
        return len(lines) == 1 and _break(inner[0].body, name, text, kind)
    if any(_bound(node) != {name} for node in lines):
        return False
    new = ast.parse(text).body
    if kind in ("zero", "nan", "shape"):
        place = body.index(lines[-1]) + 1
    else:
        place = body.index(lines[0])
        for node in lines:
            body.remove(node)
    body[place:place] = new
    if not body:
        body.append(ast.Pass())
    return True


def _bound(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return set()
    return {name for child in ast.walk(node) for name in bound_by(child) if name.startswith("d") and len(name) > 1}


def _assigns(node: ast.With | ast.For, name: str) -> bool:
    return any(
        isinstance(child, ast.Assign) and any(isinstance(each, ast.Name) and each.id == name for each in child.targets)
        for child in ast.walk(node)
    )
