"""The detached run of a part in the student's kernel: every statement once more, from random gradients.

Like `grader_probe`, which starts it, this file knows no reference, and nothing that it returns is believed. What it is
for is in `docs/verdicts.md`, "Each line on its own"; `grader/execution/detached_cells.py` writes the cells it runs.
"""

from __future__ import annotations

import base64
import functools
import marshal
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import torch

LOOKED_AT = 1000
"""Of a list so many members are looked at, to see whether tensors are among them; a longer one without is data."""
KEPT_ELEMENTS = 1 << 16
"""Tensors larger than this are not copied: where a part writes to one, it is not run again."""
MAX_SECONDS = 4.0
"""When the time for all detached runs of a submission is over, no further one is begun."""

_kept: dict[tuple[str, str], _Kept] = {}
_run: _Run | None = None


class _Kept:
    """The notebook's namespace as it was when a part began, and the numbers in it."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.names = dict(namespace)
        values = list({id(value): value for value in self.names.values()}.values())
        lists = [(value, _have_numbers(value)) for value in values if isinstance(value, list)]
        # A data set's list of words stays as it is: each word that is looked at is a page of memory to be copied.
        self.lists = [(value, list(value)) for value, numbers in lists if numbers or len(value) <= LOOKED_AT]
        members = [member for value, numbers in lists if numbers for member in value]
        values = list({id(value): value for value in (*values, *members)}.values())
        self.tensors = [
            (tensor, tensor._version, _once(tensor).detach().clone() if tensor.numel() <= KEPT_ELEMENTS else None)
            for tensor in values
            if isinstance(tensor, torch.Tensor) and not tensor.is_inference()
        ]
        self.generators = [(found, found.get_state()) for found in values if isinstance(found, torch.Generator)]
        self.random = torch.get_rng_state()

    def restore(self, namespace: dict[str, Any]) -> None:
        """Put everything back; RuntimeError where a tensor was changed of which there is no copy."""
        namespace.clear()
        namespace.update(self.names)
        for value, members in self.lists:
            value[:] = members
        for tensor, version, copy in self.tensors:
            if copy is not None:
                held = _once(tensor.data)  # `p.data -= …` is no new version
                if not _same(held, copy):  # to write what is there already would copy a fork's pages
                    held.copy_(copy)
            elif tensor._version != version:
                raise RuntimeError("a large tensor was changed in place")
        for generator, state in self.generators:
            generator.set_state(state)
        torch.set_rng_state(self.random)


def _have_numbers(members: list[Any]) -> bool:
    """Whether tensors or generators are among them, or among the first of many: a data set's list of words is long."""
    kinds = {*map(type, members[:LOOKED_AT])}
    return any(issubclass(kind, (torch.Tensor, torch.Generator)) for kind in kinds)


def _same(held: torch.Tensor, copy: torch.Tensor) -> bool:
    """Whether two tensors are known to hold the same numbers."""
    try:
        return torch.equal(held, copy)
    except RuntimeError:  # not every layout can be compared
        return False


def _once(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with each of its places in memory once: what was expanded can't be written to."""
    for dim, stride in enumerate(tensor.stride()) if tensor.layout is torch.strided else ():
        if stride == 0 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


class _Rows(list[Any]):
    """A student's list of gradients while its lines are run: an element that was written is read as random numbers.

    So each line of a loop starts from numbers, at every step; what was written is in `made`. An element that no line
    has written yet is what it is: a line that reads it has come too early.

    Args:
        value: what the student's list holds at first.
        numbers: the random numbers, an element's beside the other's.
        written: whether all of it counts as written.
    """

    def __init__(self, value: list[Any], numbers: torch.Tensor, *, written: bool) -> None:
        super().__init__(value)
        self.made = list(value)
        self.numbers = list(numbers.clone()) if len(value) == len(numbers) else None
        self.left = dict[int, tuple[Any, Any]]()
        self.read = set[int]()
        self.late = False
        for place in range(len(value)) if written else ():
            self.write(place)

    def write(self, place: int) -> None:
        """An element is what it should be, or its line has failed: from here on others start from its numbers."""
        if self.numbers is not None:
            list.__setitem__(self, place, self.numbers[place])
            self.left[place] = state_of(self.made[place]), state_of(self.numbers[place])

    @property
    def changed(self) -> bool:
        """Whether anything was written after others have read it, or in a way that was not followed."""
        now = {place: (state_of(self.made[place]), state_of(self.numbers[place]))
               for place in self.left} if self.numbers is not None else {}  # fmt: skip
        return self.late or self.numbers is None or now != self.left

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, int) and place % max(1, len(self)) in self.left:
            self.read.add(place % len(self))
        return super().__getitem__(place)

    def __setitem__(self, place: Any, value: Any) -> None:
        super().__setitem__(place, value)
        self.made[place] = value
        if not isinstance(place, int):
            self.numbers = None
            return
        self.late = self.late or place % len(self) in self.read
        self.write(place % len(self))

    def _otherwise(self, method: str, *words: Any) -> Any:
        """A method that moves elements: which is which is not followed, so none is read as numbers any more."""
        self.numbers = None
        list.__init__(self, self.made)
        result = getattr(list, method)(self, *words)
        self.made = list.__getitem__(self, slice(None))
        return result

    def append(self, value: Any) -> None:
        self._otherwise("append", value)

    def extend(self, values: Iterable[Any]) -> None:
        self._otherwise("extend", values)

    def insert(self, place: Any, value: Any) -> None:
        self._otherwise("insert", place, value)

    def pop(self, *place: Any) -> Any:
        return self._otherwise("pop", *place)

    def reverse(self) -> None:
        self._otherwise("reverse")


class _Own:
    """The list as the line that writes an element has it: what was in that element before, and no numbers."""

    def __init__(self, rows: _Rows) -> None:
        self.rows = rows

    def __getitem__(self, place: Any) -> Any:
        return self.rows.made[place]

    def __setitem__(self, place: Any, value: Any) -> None:
        self.rows[place] = value


class _Run:
    """One detached run.

    Args:
        namespace: the notebook's, as it was when the part began.
        part: what the grader says of the part; see `run`.
        others: the names whose numbers come from the seed after it.
        restores: whether what the exercise has given keeps its name, whatever lines give the name to.
        early: the gradients that are taken as they are above a line that turns them into another shape.
    """

    def __init__(self, namespace: dict[str, Any], part: dict[str, Any], others: Iterable[str], *, restores: bool,
                 early: set[str]) -> None:  # fmt: skip
        self.namespace = namespace
        self.inner = set(part["inner"])
        self.lists = set(part["lists"])
        self.unfollowed: set[str] = set()
        self.shapes = part["shapes"]
        self.variables = part["variables"]
        self.seed = seed = part["seed"]
        self.own = set(part["own"]) if others else set()
        seeds = dict.fromkeys(others, seed + 1)
        self.numbers = {
            name: drawn(name, tuple(shape), seeds.get(name, seed)) for name, shape in part["shapes"].items()
        }
        self.began = {name: namespace[name] for name in part["known"] if name in namespace} if restores else {}
        self.began_as = {name: state(namespace, name) for name in part["forward"]}
        self.early = early
        self.given: dict[str, Any] = {}
        self.memory: dict[int | None, set[str]] = {}
        self.recorded: dict[str, Any] = {}
        self.others: set[str] = set()
        self.left: dict[str, tuple[Any, ...]] = {}
        self.shared: dict[str, str] = {}
        self.again: dict[str, Any] = {}
        self.usable: set[str] = set()
        self.reshaped: set[str] = set()
        self.rebound: set[str] = set()
        for name in self.numbers:
            if name in part["bound"]:
                self.hold(name, namespace.get(self.variables.get(name, name)))
            else:
                self.give(name)

    def give(self, name: str) -> None:
        """Put random numbers in a gradient's place, under the student's name for it."""
        variable = self.variables.get(name, name)
        numbers = self.numbers[name].clone()
        self.namespace[variable] = list(numbers) if name in self.lists else numbers
        self.hold(name, self.namespace[variable])
        self.left[name] = state(self.namespace, variable)

    def hold(self, name: str, value: Any) -> None:
        """Remember what a gradient's name was bound to last, other than by the student's lines."""
        self.given[name] = value
        self.memory.setdefault(_address(value), set()).add(name)

    def record(self, name: str) -> bool:
        """Keep what the student's lines have made of a gradient, if anything; whether the name stands for it.

        A name like `grad_emb` may be the student's for a view of it, which is no gradient in the tensor's shape; and
        `dh`, where `h` is a list, for the gradient of a single element.
        """
        variable = self.variables.get(name, name)
        value = self.namespace.get(variable)
        view = variable != name and isinstance(value, torch.Tensor) and value.shape != self.numbers[name].shape
        if view or (name in self.lists and isinstance(value, torch.Tensor) and value.dim() < self.numbers[name].dim()):
            self.others.add(name)
            return False
        if name not in self.recorded and variable in self.namespace and value is not self.given.get(name):
            self.recorded[name] = _copied(value)
            if isinstance(value, _Rows) and value.changed:
                self.unfollowed.add(name)
            self.left[name] = state(self.namespace, variable)
        return True

    def part_shared(self, name: str) -> None:
        """Give other gradients their numbers again that a write to this one has changed: it is the same memory."""
        address = _address(self.namespace.get(self.variables.get(name, name)))
        there = self.memory.get(address, set()) - {name} if address is not None else set()
        for other in self.changed() if there else ():
            if other in there and _address(self.given.get(other)) == address:
                self.shared[other] = name
                self.give(other)

    def replace(self, name: str) -> None:
        """Put random numbers in the place of a name of the student's own, in the shape of its value."""
        value = self.namespace.get(name)
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            self.numbers[name] = drawn(name, tuple(value.shape), self.seed).to(value.dtype)
            self.give(name)

    def leave(self, name: str) -> None:
        """Take a name as it is now for what it should be in the end."""
        if name in self.left:
            self.left[name] = state(self.namespace, self.variables.get(name, name))

    def is_usable(self, name: str) -> bool:
        """Whether what the student's name for a gradient is bound to can be calculated with as one."""
        value = self.namespace.get(self.variables.get(name, name))
        if name in self.lists:
            return isinstance(value, list) and len(value) == len(self.numbers[name])
        if not isinstance(value, torch.Tensor):
            return False
        try:
            value.expand(self.numbers[name].shape)
        except RuntimeError:
            return False
        return True

    def named(self) -> dict[str, Any]:
        """What the gradients are bound to now."""
        variables = {name: self.variables.get(name, name) for name in self.left}
        return {name: self.namespace[own] for name, own in variables.items() if own in self.namespace}

    def absent(self, before: dict[str, Any]) -> list[str]:
        """The gradients that were bound neither before the part nor by its lines."""
        names = self.shapes.keys() - self.recorded.keys() - self.others
        variables = {name: self.variables.get(name, name) for name in names}
        return [name for name, own in variables.items() if own not in before]

    def changed(self) -> list[str]:
        """The gradients that a line has bound or written to after what was taken for the last one to do so."""
        later = [
            name for name, left in self.left.items() if state(self.namespace, self.variables.get(name, name)) != left
        ]
        return [*later, *self.unfollowed.difference(later)]


def _address(value: object) -> int | None:
    """Where the memory that a tensor uses begins; None for what uses none."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or not value.numel():
        return None
    return int(value.untyped_storage().data_ptr()) or None


def _copied(value: Any) -> Any:
    """What a name is bound to, as it is now."""
    if isinstance(value, list):
        return [_copied(member) for member in (value.made if isinstance(value, _Rows) else value)]
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


@functools.cache
def drawn(name: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """The random numbers for a gradient, float64; never handed out but as a copy."""
    generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@functools.cache
def code(text: str) -> Any:
    """A compiled cell, as the grader sends it."""
    return marshal.loads(base64.b64decode(text))  # noqa: S302 - the grader's own


def state(namespace: dict[str, Any], name: str) -> tuple[Any, ...]:
    """What a name is bound to, and how often that tensor was written to."""
    return state_of(namespace.get(name))


def state_of(value: Any) -> tuple[Any, ...]:
    """Which object a value is, and how often that tensor, or those in that list, were written to."""
    if isinstance(value, list):
        return id(value), *((id(member), _version(member)) for member in value)
    return id(value), _version(value)


def _version(value: Any) -> int:
    return value._version if isinstance(value, torch.Tensor) and not value.is_inference() else 0


def keep(namespace: dict[str, Any], case: str, part: str) -> None:
    """Remember the namespace with which a part begins."""
    _kept[case, part] = _Kept(namespace)


# --- what the rewritten cells call


def after(*names: str) -> None:
    """The last statement for these gradients is done: keep their values, and have the next start from numbers.

    A gradient from which no other is computed keeps its value, which a student may use for a sum that is in it.
    """
    if _run is not None:
        for name in names:
            if name in _run.early and name in _run.recorded:
                _run.leave(name)
                continue
            known = _run.record(name) and name in _run.shapes
            _run.part_shared(name)
            if known and name in _run.usable and not _run.is_usable(name):
                _run.reshaped.add(name)
            if known and (name in _run.inner or not _run.is_usable(name)):
                _run.give(name)
            elif name in _run.own:
                _run.replace(name)


def listed(name: str, *, written: bool) -> None:
    """A line has bound a list of gradients; see `_Rows` for `written`."""
    if _run is not None:
        variable = _run.variables.get(name, name)
        value = _run.namespace.get(variable)
        if isinstance(value, list) and name not in _run.recorded:
            _run.namespace[variable] = _Rows(value, _run.numbers[name], written=written)


def own(value: Any) -> Any:
    """A list as a line has it that reads the element which it writes."""
    return _Own(value) if isinstance(value, _Rows) else value


def wrote(value: Any, place: Any) -> None:
    """A line that writes an element of a list has failed."""
    if isinstance(value, _Rows) and isinstance(place, int) and -len(value) <= place < len(value):
        value.write(place % len(value))


def before(*names: str) -> None:
    """A line binds gradients anew; where it is known to turn them into another shape, they are taken as they are."""
    if _run is not None:
        for name in names:
            if name in _run.early and name not in _run.recorded and _run.record(name):
                _run.give(name)
            elif _run.is_usable(name):
                _run.usable.add(name)


def given(*names: str) -> None:
    """A line has given what the exercise has called so another value."""
    if _run is not None:
        for name in names:
            _run.rebound.add(name)
            if name in _run.began:
                _run.namespace[name] = _run.began[name]


def again(*names: str) -> None:
    """A line has bound the names of gradients anew that were done with."""
    if _run is not None:
        for name in names:
            value = _run.named().get(name)
            _run.again[name] = _copied(value)
            _run.leave(name)


def update(*names: str) -> None:
    """All gradients of a training step are done: the update starts from numbers, too."""
    if _run is not None:
        for name in names:
            if _run.record(name):
                _run.give(name)


def failed() -> None:
    """A statement has raised; the next one is run. An interrupt ends the run."""
    if not isinstance(sys.exc_info()[1], Exception | SystemExit):
        raise


# --- the run


def run(
    namespace: dict[str, Any],
    key: tuple[str, str],
    part: dict[str, Any],
    run_cell: Callable[[str, str], Any],
    export: Callable[[dict[str, Any], Iterable[str]], dict[str, Any]],
    deadline: float,
) -> list[dict[str, Any]]:
    """Run a part's cells detached, once for each entry of its `runs`.

    Args:
        namespace: the notebook's.
        key: the case and the part that were kept.
        part: `cells` (whether code or source, and its text; in the code each statement is tried on its own), `shapes`
            (gradient → the shape of its numbers), `bound` (those that the cells bind: they are not there before),
            `inner` (the gradients from which others are computed), `variables` (gradient → the student's name for it,
            where that is different), `lists` (of all names, those of lists of tensors), `own` (names of the student's
            that get numbers, too, where some gradients have different ones), `values` and `forward` (names that are
            wanted as they are in the end), `known` (all that the exercise has given), `runs` (for each, the gradients
            whose numbers are different) and `seed`.
        run_cell: runs a cell, given as in `cells`.
        export: the named values of a namespace, as the probe exports them.
        deadline: of `time.monotonic`, after which no further run is begun.
    """
    global _run
    found: list[dict[str, Any]] = []
    kept = _kept.get(key)

    def through(others: list[str], *, restores: bool, early: set[str]) -> _Run:
        """Run all cells, and say what came of it."""
        global _run
        kept.restore(namespace)  # type: ignore[union-attr]
        _run = _Run(namespace, part, others, restores=restores, early=early)
        for kind, text in part["cells"]:
            run_cell(kind, text)
        return _run

    try:
        for others in part["runs"] if kept is not None else ():
            if time.monotonic() > deadline:
                break
            done = through(others, restores=False, early=set())
            placed = list(done.recorded)
            for name in part["shapes"]:
                done.record(name)
            ended = [name for name in done.recorded if name not in placed]
            changed = [name for name in part["forward"] if state(namespace, name) != done.began_as.get(name)]
            changed_numbers = [*done.changed(), *done.shared]
            told = {
                "recorded": export(done.recorded, list(done.recorded)),
                "ended": ended,
                "absent": done.absent(kept.names),  # type: ignore[union-attr]
                "changed": export(done.named(), changed_numbers),
                "shared": done.shared,
                "reshaped": sorted(done.reshaped),
                "again": export(done.again, list(done.again)),
                "given": export(done.given, sorted(done.own & done.given.keys())),
                "after": export(namespace, [*part["values"], *changed]),
                "otherwise": export({}, []),
            }
            if (done.rebound or done.reshaped) and not found:
                other = through(others, restores=True, early=done.reshaped)
                told["otherwise"] = export(other.recorded, list(other.recorded))
            found.append(told)
    except Exception:
        return []
    finally:
        _run = None
    return found
