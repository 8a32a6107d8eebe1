"""Calls that are given a name or code as a string: `getattr`, `globals`, `exec`, read for where numbers come from."""

from __future__ import annotations

import ast
from abc import abstractmethod
from dataclasses import replace

from grader.diagnosis.autograd_use.expressions import Expressions
from grader.diagnosis.autograd_use.values import MAX_TEXT, NOTHING, Call, Value, joined, known
from grader.notebook.syntax import parse


class TextCalls(Expressions):
    """A string that is known is read as what it names, or as code; one that isn't makes the value unreadable."""

    @abstractmethod
    def _computed(self, call: Call) -> Value:
        """A call of which nothing special is known."""

    # --- names as strings

    def _call_getattr(self, call: Call) -> Value:
        base, name = call.argument(0), call.argument(1).text
        if name is not None:
            return self._attribute(base, name, call.node)
        return Value(origins=base.origins | self._origin(call.node, "unreadable"))

    def _call___getattribute__(self, call: Call) -> Value:
        whole = call if len(call.args) > 1 else replace(call, args=[call.receiver or NOTHING, *call.args])
        return self._call_getattr(whole)

    def _call_setattr(self, call: Call) -> Value:
        source = call.node.args[2] if len(call.node.args) == 3 else None
        self._set_attribute(call.argument(0), call.argument(1).text or "", call.argument(2), source)
        return NOTHING

    def _call_attrgetter(self, call: Call) -> Value:
        text = call.argument(0).text
        if text is None:
            return Value(origins=self._origin(call.node, "unreadable"))
        taken = self._attribute(NOTHING, text, call.node)
        return Value(path="[attrgetter]", text=text, origins=taken.origins)

    def _call___import__(self, call: Call) -> Value:
        path = call.argument(0).text
        if path is None:
            return NOTHING
        return self._member(path if call.name == "import_module" else path.split(".")[0], call.node)

    _call_import_module = _call___import__

    def _call_globals(self, call: Call) -> Value:
        if call.args and call.name == "vars":
            return self._attribute(call.args[0], "__dict__", call.node)
        return Value(path="[globals]", origins=self.origins("[globals]"))

    _call_locals = _call_vars = _call_globals

    def _call_get(self, call: Call) -> Value:
        key = call.argument(0).text
        if call.receiver is not None and call.receiver.path == "[globals]" and key is not None:
            return self._of_Name(ast.Name(id=key))
        return self._computed(call)

    def _call_join(self, call: Call) -> Value:
        receiver, texts = call.receiver or NOTHING, [item.text for item in call.argument(0).items]
        self._spend(len(texts))
        if receiver.text is not None and texts and None not in texts:
            return known(receiver.text.join(text for text in texts if text is not None))
        return joined(call.operands)

    def _call_split(self, call: Call) -> Value:
        if call.receiver is not None and call.receiver.text is not None:
            separator = call.argument(0).text if call.args else None
            words = call.receiver.text.split(separator or None)
            self._spend(len(words))
            return Value(items=tuple(known(word) for word in words))
        return self._computed(call)

    def _call_replace(self, call: Call) -> Value:
        text, old, new = (call.receiver or NOTHING).text, call.argument(0).text, call.argument(1).text
        if text is None or not old or new is None or len(text) * len(new) > MAX_TEXT**2 // 100:
            return self._computed(call)
        return known(text.replace(old, new))

    # --- code as strings

    def _call_compile(self, call: Call) -> Value:
        return call.argument(0)

    def _run_text(self, call: Call) -> Value:
        """`exec` and its like: a string that is known is read in its place."""
        text = call.argument(0).text
        if text is None:
            unreadable = self._origin(call.node, "unreadable")
            if call.name not in ("eval", "ev"):
                self.unreadable += unreadable
            return Value(origins=unreadable | call.argument(0).origins)
        self._spend(len(text) // 4)
        tree = parse(text.strip())
        if tree is None:
            return NOTHING
        outer, self._line = self._line, self._line or call.node.lineno
        last = tree.body[-1] if tree.body else None
        self._block(tree.body[:-1] if isinstance(last, ast.Expr) else tree.body)
        value = self._value(last.value) if isinstance(last, ast.Expr) else NOTHING
        self._line = outer
        return value
