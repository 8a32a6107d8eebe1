"""Heat maps: what a picture of a large tensor keeps of it."""

from __future__ import annotations

import math

import pytest
import torch

from grader.grading.evidence import MAP_SIDE, graph_of, heat_map
from tests.slips import bench


@pytest.mark.parametrize("spike", [9.0, -9.0])
@pytest.mark.parametrize("shape", [(100, 70), (3, 40, 33), (5000,), (2, 2), ()])
def test_the_value_of_largest_magnitude_stays_with_its_sign_and_in_its_place(shape, spike):
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(1)).clamp(-4, 4)
    place = tuple(size * 3 // 4 for size in shape)
    tensor[place] = spike
    found = heat_map(tensor)
    values = torch.tensor(found.values, dtype=torch.float64) * found.unit
    rows, columns = math.prod(shape[:-1]), shape[-1] if shape else 1
    assert values.shape == (min(rows, MAP_SIDE), min(columns, MAP_SIDE))
    assert found.scale == abs(spike)
    row, column = divmod(int(torch.arange(tensor.numel()).reshape(shape)[place]), columns)
    ((at_row, at_column),) = (values == spike).nonzero().tolist()
    assert abs(at_row / values.shape[0] - row / rows) <= 1 / values.shape[0]
    assert abs(at_column / values.shape[1] - column / columns) <= 1 / values.shape[1]


def test_numbers_that_are_not_finite_are_drawn_as_zero():
    found = heat_map(torch.tensor([math.nan, math.inf, -math.inf, 2.0]))
    assert [[value * found.unit for value in row] for row in found.values] == [[0.0, 0.0, 0.0, 2.0]]
    assert found.scale == 2.0


@pytest.mark.parametrize("size", [1.0, 1e-300, 3e-324, 1e308])
def test_values_are_kept_as_whole_numbers_near_enough_for_the_eye(size):
    tensor = torch.randn(20, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64).clamp(-1, 1) * size
    found = heat_map(tensor)
    assert all(type(value) is int for row in found.values for value in row)
    kept = torch.tensor(found.values, dtype=torch.float64) * found.unit
    assert (kept - tensor).abs().max() <= found.scale / 4000


def test_the_largest_value_stays_the_only_largest():
    assert heat_map(torch.tensor([1 - 1e-12, -1.0, 1 - 1e-12], dtype=torch.float64)).values == [[4095, -4096, 4095]]


def test_an_empty_tensor_has_no_picture():
    assert heat_map(torch.zeros(0, 3)) is None


def test_a_state_is_drawn_below_what_its_own_step_makes_of_it_though_the_name_is_older():
    inputs = {node.name: set(node.inputs) for node in graph_of(bench("08_through_time").references["visible"]["lstm"])}
    assert inputs["h"] == {"o", "q"}
    assert "h" not in inputs["z"]
    assert inputs["loss"] == {"h"}
