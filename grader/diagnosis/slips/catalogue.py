"""Every kind of slip, in both directions, simplest first.

`MADE` starts from the right step: what would the student's tensor be, had this slip been made? That needs no source.
`UNDONE` starts from the student's formula: what would it be without this slip? The two stand side by side in the
modules of this package. They share no code beyond that: a formula says which part is wrong and quotes it, numbers alone
say which contribution or factor is. The first that explains is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from grader.diagnosis import observed
from grader.diagnosis.guess import Guess
from grader.diagnosis.slips import (
    contributions,
    functions,
    layout,
    names,
    products,
    row_lookups,
    sums,
    time_steps,
    whole_value,
)
from grader.diagnosis.slips.edit import Kind
from grader.diagnosis.wrong_tensor import WrongTensor

Family = Callable[[WrongTensor], Iterator[Guess]]
"""Slips of one kind, simplest first."""

MADE: tuple[Family, ...] = (
    observed.upstream_changed, whole_value.zeros, whole_value.sign, whole_value.begun_with_ones,
    layout.transposed, whole_value.factor, contributions.missing,
    contributions.missing_further_up, names.too_early, products.left_out, functions.another_function,
    time_steps.some_steps, functions.on_the_way, names.another_value, contributions.scaled, sums.sums, layout.passed_on,
    functions.row_left_out, row_lookups.rows, names.stale_upstream,
    partial(names.a_step_too_far, seen=True),
)  # fmt: skip
"""Slips as they are made, tried before any formula is read."""

MADE_OTHERWISE: tuple[Family, ...] = (names.a_step_too_far, products.factors, contributions.uses)
"""Those that are tried when no formula says more."""

MADE_TWICE: tuple[Family, ...] = (layout.transposed, sums.sums, layout.passed_on)
"""Those that show in the shape, and are tried together with a constant where nothing else explains."""

UNDONE: tuple[Kind, ...] = (
    time_steps.another_step, row_lookups.collected, row_lookups.crossed, layout.denominators, whole_value.signs,
    contributions.terms_too_many, whole_value.exponents, whole_value.numbers, whole_value.small, sums.sums_otherwise,
    layout.orders, layout.layouts, products.powers, whole_value.sizes, names.searched,
    products.removed, products.factors_put_in, names.intermediates, names.exchanges, layout.grouped,
    sums.summed_early, functions.functions, whole_value.ones, contributions.terms,
)  # fmt: skip
"""Changes of a formula, with what is near to the step put in."""

UNDONE_FROM_AFAR: tuple[Kind, ...] = (products.factors_put_in, contributions.terms)
"""Those that are tried with everything else, when all others are in vain."""
