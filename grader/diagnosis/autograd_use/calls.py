"""The calls of a notebook, read for where their numbers come from."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from grader.diagnosis.autograd_use.autograd_names import (
    CODE_RUNNERS,
    FILLERS,
    HOLDERS,
    LOADERS,
    NO_NUMBERS,
    SAME_OBJECT,
    SAVERS,
    SHAPED_AFTER,
    kind_of,
)
from grader.diagnosis.autograd_use.calls_by_string import TextCalls
from grader.diagnosis.autograd_use.values import NOTHING, Call, Class, Function, Origin, Value, holding, joined

MAX_DEPTH = 8
_FILES = "<files>"  # the name that stands for all files
_MADE = "<made>"  # the name of an object that has none yet


class Flow(TextCalls):
    """Reads a notebook's cells in the order in which they run: `read`, then `origins` of a name."""

    def _of_Call(self, node: ast.Call) -> Value:
        receiver = self._value(node.func.value) if isinstance(node.func, ast.Attribute) else None
        if isinstance(node.func, ast.Attribute) and receiver is not None:
            function, name = self._attribute(receiver, node.func.attr, node.func), node.func.attr
        else:
            function = self._value(node.func)
            name = function.path.rsplit(".", 1)[-1] or getattr(node.func, "id", "")
        args = [self._value(argument) for argument in node.args]
        keywords = {keyword.arg or "**": self._value(keyword.value) for keyword in node.keywords}
        return self._called(Call(node, function, receiver, name, args, keywords))

    def _called(self, call: Call) -> Value:
        function, name = call.function, call.name
        if function.code is not None:
            return self._inlined(function.code, [*function.bound, *call.args], call.keywords)
        if function.kind is not None:
            return self._instance(call, function.kind)
        if call.receiver is not None and call.receiver.kind is not None and name == "apply":
            return self._applied(call, call.receiver)
        if function.path == "[attrgetter]" and call.args:
            return self._attribute(call.args[0], function.text or "", call.node)
        if name in NO_NUMBERS:
            return NOTHING
        special: Callable[[Call], Value] | None = getattr(self, f"_call_{name}", None)
        if special is not None:
            return special(call)
        if name in CODE_RUNNERS:
            return self._run_text(call)
        if name.startswith("register_") and "hook" in name:
            return self._hooked(call)
        return self._computed(call)

    def _computed(self, call: Call) -> Value:
        """A call of which nothing special is known: what comes out holds what went in."""
        receiver = call.receiver or NOTHING
        given = joined(call.operands).origins
        kind = kind_of(call.function.path)
        if kind == "optimizer":
            return Value(path="[optimizer]", names=holding(call.operands).names)
        self._filled(call, receiver, given)
        if call.name in SHAPED_AFTER and not receiver.path:
            given = frozenset()
        if call.name in LOADERS:
            given |= self.origins(_FILES)
        result = Value(origins=call.function.origins | receiver.origins | given)
        if call.name in HOLDERS:
            return self._held(call, result)
        return replace(result, names=receiver.names) if call.name in SAME_OBJECT or call.name.endswith("_") else result

    def _filled(self, call: Call, receiver: Value, given: frozenset[Origin]) -> None:
        """Note what a call writes into: its receiver, `out=`, a file."""
        if call.name in FILLERS or (call.name.endswith("_") and not call.name.endswith("__")):
            self._write(receiver.names, given)
        if "out" in call.keywords:
            self._write(call.keywords["out"].names, given | call.function.origins)
        if call.name in SAVERS:
            self._write(holding(call.args).names | {_FILES}, given)

    def _held(self, call: Call, result: Value) -> Value:
        first = call.argument(0) if call.receiver is None or call.receiver.path else call.receiver
        if call.name in ("list", "tuple", "iter", "copy"):
            return replace(first, text=None)
        self._spend(sum(len(value.items) for value in (first, *call.args)))
        inside = holding([first, *call.operands])
        result = replace(result, names=inside.names, coded=inside.coded)
        if call.name == "enumerate":
            items = tuple(Value(items=(NOTHING, item)) for item in first.items)
            return replace(result, items=items) if items else replace(result, path="[zip]", items=(NOTHING, first))
        if call.name == "zip" and call.args:
            if all(arg.items and len(arg.items) == len(call.args[0].items) and not arg.path for arg in call.args):
                rows = zip(*(arg.items for arg in call.args), strict=True)
                return replace(result, items=tuple(replace(holding(row), items=row) for row in rows))
            return replace(result, path="[zip]", items=tuple(replace(arg, items=()) for arg in call.args))
        return result

    # --- autograd's own

    def _call_backward(self, call: Call) -> Value:
        if kind_of(call.function.path) == "node":
            return self._computed(call)
        self._own_grads = None  # from here on `.grad` is autograd's again
        return NOTHING

    def _call_step(self, call: Call) -> Value:
        receiver = call.receiver or NOTHING
        if receiver.path == "[optimizer]":
            origins = self._origin(call.node, "beside") if self._own_grads is None else self._own_grads
            self._write(receiver.names, origins)
            return NOTHING
        return self._computed(call)

    def _hooked(self, call: Call) -> Value:
        """A hook is handed a gradient: whatever it keeps is autograd's."""
        handed = Value(origins=self._origin(call.node))
        for hook in call.operands:
            if hook.code is not None:
                self._inlined(hook.code, [*hook.bound, handed, handed, handed], {})
            self._write(_filler(hook), handed.origins)
        return NOTHING

    def _applied(self, call: Call, receiver: Value) -> Value:
        """`apply` of an own `torch.autograd.Function`: its `backward` will be handed gradients."""
        backward = receiver.kind.methods.get("backward") if receiver.kind is not None else None
        if receiver.kind is not None and receiver.kind.differentiable and backward is not None:
            handed = Value(origins=self._origin(call.node))
            self._inlined(backward, [NOTHING, handed, handed], {})
        return joined(call.operands)

    # --- the notebook's own functions and classes

    def _call_map(self, call: Call) -> Value:
        """`map` and `partial`: a call with arguments that are not all there yet."""
        function, rest = call.argument(0), list(call.args[1:])
        if function.code is None:
            return Value(origins=joined(call.operands).origins, names=_filler(function))
        if call.name == "partial":
            return replace(function, bound=(*function.bound, *rest))
        return self._inlined(function.code, [*function.bound, *rest], {})

    _call_partial = _call_map

    def _instance(self, call: Call, kind: Class) -> Value:
        """A class is called: an object of it; or an object is."""
        if call.function.path == "[object]":
            code = kind.methods.get("__call__")
            return self._inlined(code, [call.function, *call.args], call.keywords) if code else joined(call.operands)
        self.names[_MADE] = NOTHING.named(_MADE)
        given = holding(call.operands)
        made = replace(given, kind=kind, path="[object]", names=given.names | {_MADE})
        if "__init__" in kind.methods:
            self._inlined(kind.methods["__init__"], [made, *call.args], call.keywords)
        return replace(made, origins=made.origins | self.origins(_MADE), names=given.names)

    def _inlined(self, function: Function, args: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
        """Read a function's body with its arguments known; what it returns."""
        node = function.node
        given = [*args, *keywords.values()]
        if node in self._active or len(self._active) >= MAX_DEPTH:
            return joined(given)
        if function.trusted and all(value.is_inert for value in given):
            return NOTHING  # the release's own code makes no number that counts
        bound = _bound(node.args, args, keywords)
        local = {*bound, *(name for name, _ in _defaults(node.args)), *_locals(node)}
        outer = {name: self.names[name] for name in local if name in self.names}
        context = (self._cell, self._trusted, self._returned)
        self._cell, self._trusted, self._returned = function.cell, function.trusted, []
        self.names.update({name: self._value(default) for name, default in _defaults(node.args) if name not in bound})
        self.names.update({name: value.named(name) for name, value in bound.items()})
        self._active.append(node)
        if isinstance(node, ast.Lambda):
            result = self._value(node.body)
        else:
            self._block(node.body)
            result = self._result()
        self._active.pop()
        self._cell, self._trusted, self._returned = context
        for name in local:
            self.names.pop(name, None)
        self.names.update(outer)
        return result

    def _result(self) -> Value:
        if len(self._returned) == 1:
            return self._returned[0]
        return holding(self._returned)


def _filler(method: Value) -> frozenset[str]:
    """The names that a bound method such as `store.append` fills; empty for any other value."""
    return frozenset(name for name in method.names if name.split(".")[-1] in FILLERS)


def _bound(parameters: ast.arguments, args: Sequence[Value], keywords: Mapping[str, Value]) -> dict[str, Value]:
    """Parameter → what is known of its argument."""
    names = [parameter.arg for parameter in (*parameters.posonlyargs, *parameters.args)]
    bound = dict(zip(names, args, strict=False))
    bound.update(keywords)
    if parameters.vararg is not None:
        bound[parameters.vararg.arg] = replace(holding(args[len(names) :]), items=tuple(args[len(names) :]))
    if parameters.kwarg is not None:
        bound[parameters.kwarg.arg] = holding(keywords.values())
    return bound


def _defaults(parameters: ast.arguments) -> list[tuple[str, ast.expr]]:
    """The parameters that have a default, and it."""
    names = [parameter.arg for parameter in (*parameters.posonlyargs, *parameters.args)]
    with_default = names[len(names) - len(parameters.defaults) :]
    named = zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True)
    keyword_only = [(parameter.arg, default) for parameter, default in named if default is not None]
    return [*zip(with_default, parameters.defaults, strict=True), *keyword_only]


@functools.lru_cache(maxsize=256)
def _locals(node: ast.AST) -> set[str]:
    """The names that a function binds for itself alone."""
    found: set[str] = set()
    shared: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
        elif isinstance(part, ast.Global | ast.Nonlocal):
            shared.update(part.names)
    return found - shared
