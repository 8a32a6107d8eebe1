"""The catalogue of slips and the table of operations hold all that there is."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re

import pytest
import torch

from grader.diagnosis import slips
from grader.diagnosis.formula.expression import evaluate, write
from grader.diagnosis.formula.operations import OPERATIONS, SPELLED
from grader.diagnosis.formula.reader import Reader
from grader.diagnosis.slips.catalogue import MADE, MADE_OTHERWISE, UNDONE, UNDONE_FROM_AFAR

KINDS = {"Iterator[Guess]", "Iterator[Change]"}


def test_every_slip_is_in_the_catalogue_once_in_each_direction():
    modules = [importlib.import_module(f"{slips.__name__}.{one.name}") for one in pkgutil.iter_modules(slips.__path__)]
    found = {
        function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and function.__annotations__.get("return") in KINDS
    }
    listed = {
        function for function in (*MADE, *MADE_OTHERWISE, *UNDONE) if function.__module__.startswith(slips.__name__)
    }
    assert found == listed
    assert len(set(MADE)) == len(MADE)
    assert len(set(UNDONE)) == len(UNDONE)
    assert set(UNDONE_FROM_AFAR) <= set(UNDONE)


ARGUMENTS = {
    "x": "x", "xx": "x, y", "xi": "x, 1", "xii": "x, 0, 1", "sum": "x, 0", "mean": "x, 0", "reshape": "x, 3, 2",
    "expand": "x, 2, 3", "flatten": "x, 0, 1", "flip": "x, 0", "permute": "x, 1, 0", "one_hot": "k, 4", "arange": "4",
    "pad": "x, (1, 2)", "same": "x", "filled_like": "x, 2.0", "index_add": "x, 0, k, y", "masked_fill": "x, m, 2.0",
    "matmul": "x, z",
}  # fmt: skip
"""What an operation is called with: by its own name, else by what it takes."""
MODULES = {"one_hot": "F", "pad": "F", **dict.fromkeys(("arange", "ones_like", "zeros_like", "full_like"), "torch")}
"""The spellings that are functions and no methods."""


@pytest.mark.parametrize("spelling", sorted(set(SPELLED) - {"to"}))
def test_an_operation_is_read_as_it_is_spelled_computed_as_torch_does_and_quoted(spelling):
    names = {
        "x": torch.rand(2, 3, dtype=torch.float64), "y": torch.rand(2, 3, dtype=torch.float64),
        "z": torch.rand(3, 2, dtype=torch.float64), "k": torch.tensor([1, 0]), "m": torch.eye(2, 3, dtype=torch.bool),
    }  # fmt: skip
    op = SPELLED[spelling]
    given = ARGUMENTS.get(op) or ARGUMENTS[OPERATIONS[op].takes]
    first, _, rest = given.partition(", ")
    text = f"{MODULES[spelling]}.{spelling}({given})" if spelling in MODULES else f"{first}.{spelling}({rest})"
    node = Reader().read(ast.parse(text, mode="eval").body)
    assert node.op == op
    found = torch.as_tensor(evaluate(node, names, {})).double()
    wanted = torch.as_tensor(eval(text, {"torch": torch, "F": torch.nn.functional}, names)).double()
    assert torch.allclose(found, wanted, rtol=1e-6)  # `float` is float32's in torch, and here everything is float64
    assert re.search(r"\b[xk4]\b", write(node))
