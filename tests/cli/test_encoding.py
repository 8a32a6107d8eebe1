"""Every sign of ours has a plain one for terminals that lack it."""

from __future__ import annotations

import ast

from grader.cli.encoding import _PLAIN
from tests.conftest import ROOT

OTHERS = {"files.py", "notebook/file.py", "reports/roster.py", "safe_text.py"}
"""Modules with strangers' signs: headers of other languages, what is never shown, names of Windows's devices."""


def test_every_sign_of_our_own_texts_has_a_plain_one():
    lacking = {}
    for path in sorted((ROOT / "grader").rglob("*.py")):
        name = path.relative_to(ROOT / "grader").as_posix()
        nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
        signs = {sign for text in texts if isinstance(text, str) for sign in text if not sign.isascii()} - _PLAIN.keys()
        if signs and name not in OTHERS:
            lacking[name] = signs
    assert lacking == {}
