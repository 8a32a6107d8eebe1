"""What a factor is called: `n`, `1/(n - 1)`, `1/2`, by the numbers that have a name in the notebook."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from grader.diagnosis.case_view import Scene

PLAIN = {
    1.0: "1", 2.0: "2", 0.5: "1/2", 3.0: "3", 1 / 3: "1/3", 4.0: "4", 0.25: "1/4", 1.5: "1.5",
    2 / 3: "2/3", 8.0: "8", 0.125: "1/8", 10.0: "10", 0.1: "1/10",
}  # fmt: skip
"""Factors that stand for themselves, when no size of the case explains them."""
SAME = 1e-8
"""How nearly two factors must agree, relative to their size, to be one."""


class Factor(NamedTuple):
    """What a factor is called, its sign aside."""

    name: str
    negative: bool

    @property
    def said(self) -> str:
        """What is said of that which is so many times what it should be."""
        if self.name == "1":
            return "has the wrong sign"
        return f"is `{self.name}` times what it should be{', with the wrong sign' * self.negative}"


def named_factor(scenes: Sequence[Scene], ratios: Sequence[float | None], *, numbers: bool = True) -> Factor | None:
    """What a factor is called that has the given value in each case: `n`, `1/(n - 1)`, `1/2`.

    None where no name fits all cases, a value is missing or zero, or its sign changes from case to case. `numbers`: any
    number that is the same in all cases has its digits for a name.
    """
    found = [ratio for ratio in ratios if ratio]
    if len(found) < len(ratios) or len({ratio > 0 for ratio in found}) > 1:
        return None
    sizes, values = list(_sizes(scenes)), [abs(ratio) for ratio in found]
    changing = [(name, given) for name, given in sizes if len(set(given)) > 1]
    fixed = [(name, given) for name, given in sizes if len(set(given)) == 1]
    constant = all(_same(value, values[0]) for value in values)
    plain = next((text for value, text in PLAIN.items() if constant and _same(values[0], value)), None)
    name = (
        _formula_of(changing, _OF_A_SIZE, values)
        or plain
        or _formula_of(fixed, _OF_A_SIZE, values)
        or _formula_of(_named(scenes, float), _OF_A_FRACTION, values)
        or (_number(values[0]) if numbers and constant else None)
    )
    return None if name is None else Factor(name, found[0] < 0)


def _number(ratio: float) -> str | None:
    """A factor as a number, where a few digits tell it from 1."""
    text = f"{ratio:.7g}"
    return text if text != "1" or _same(ratio, 1.0) else None


Named = tuple[str, Sequence[float]]
"""What has a name in the notebook, and its value in each case."""


def _formula_of(named: Iterable[Named], formulas: Mapping[str, _Powers], ratios: Sequence[float]) -> str | None:
    """The first formula that gives the ratios in every case."""
    for name, values in named:
        for text, powers in formulas.items():
            if all(_same(ratio, _power_of(value, *powers)) for ratio, value in zip(ratios, values, strict=True)):
                return text.replace("n", name)
    return None


def _same(a: float, b: float | None) -> bool:
    return b is not None and abs(a - b) <= SAME * abs(b)


def _power_of(number: float, times: float, power: float, power_less_one: int) -> float | None:
    try:
        found: float = times * number**power * (number - 1) ** power_less_one
    except ZeroDivisionError:
        return None
    return found


_Powers = tuple[float, float, int]
"""A factor, and the exponents of a number and of one less than it, which it is multiplied by."""
_OF_A_SIZE: dict[str, _Powers] = {
    "n": (1, 1, 0), "1/n": (1, -1, 0), "n - 1": (1, 0, 1), "1/(n - 1)": (1, 0, -1), "n/(n - 1)": (1, 1, -1),
    "(n - 1)/n": (1, -1, 1), "n**2": (1, 2, 0), "1/n**2": (1, -2, 0), "n**3": (1, 3, 0), "1/n**3": (1, -3, 0),
    "2/n": (2, -1, 0), "n/2": (0.5, 1, 0), **{f"n**{power:g}": (1, power, 0) for power in (0.5, -0.5, 1.5, -1.5)},
}  # fmt: skip
_OF_A_FRACTION: dict[str, _Powers] = {"n": (1, 1, 0), "1/n": (1, -1, 0), "1 - n": (-1, 0, 1), "1/(1 - n)": (-1, 0, -1)}
"""What a probability such as `p` leaves: `1 - p`, `1/(1 - p)`."""


def _sizes(scenes: Sequence[Scene]) -> Iterator[Named]:
    dims = {size for tensor in scenes[0].forward.values() for size in tensor.shape if size > 2}
    yield from named_sizes(scenes, dims)
    yield f"{scenes[0].name}.numel()", [scene.shape.numel() for scene in scenes]


def named_sizes(scenes: Sequence[Scene], sizes: Collection[int]) -> list[Named]:
    """Those of some sizes of the first case that have a name in the notebook, `n` and other short names first."""
    found = [(name, values) for name, values in _named(scenes, int) if values[0] in sizes]
    return sorted(found, key=lambda one: len(one[0]))


def _named(scenes: Sequence[Scene], kind: type) -> Iterator[Named]:
    """The notebook's own numbers of one kind."""
    for name in scenes[0].reference.constants:
        values = [scene.reference.constants.get(name) for scene in scenes]
        numbers = [value for value in values if isinstance(value, int | float) and type(value) is kind]
        if len(numbers) == len(values):
            yield name, numbers
