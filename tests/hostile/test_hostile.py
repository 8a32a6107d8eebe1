"""Hostile notebooks: each attacks one promise, while an honest notebook is graded beside it."""

from __future__ import annotations

import sys

import msgspec
import pytest

from grader.kernels import open_source
from tests.hostile.arena import SMALL, Arena, Scenario, all_scenarios
from tests.hostile.judge import broken, left, what_stays

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

QUICK = {
    "crafts_safetensors",
    "exits",
    "kills_everybody",
    "leaves_a_daemon",
    "lies_through_torch_function",
    "memory_bomb",
    "reads_another_students_file",
    "reads_the_reference",
    "writes_outside_its_folder",
}
"""What every run of the tests tries; the others are for CI."""


def parameter(scenario: Scenario):
    marks = [] if scenario.name in QUICK else [pytest.mark.slow]
    return pytest.param(scenario, id=scenario.name, marks=marks)


@pytest.mark.parametrize("scenario", [parameter(scenario) for scenario in all_scenarios()])
def test_promise_holds_neighbour_is_untouched_and_nothing_is_left(scenario: Scenario, arena: Arena):
    arena.neighbour  # noqa: B018  (what it opens stays)
    before = left()
    outcome = arena.grade(arena.notebook(scenario), scenario.seconds)
    complaints = broken(scenario, outcome, arena.traps) + what_stays(before)
    assert not complaints, f"{scenario.promise}\n" + "\n".join(complaints)


def test_the_scenarios_are_many_and_each_names_its_promise():
    scenarios = all_scenarios()
    assert len(scenarios) >= 40
    assert len({scenario.promise for scenario in scenarios}) == len(scenarios)
    assert {scenario.name for scenario in scenarios} >= QUICK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("reads_another_students_file", "it escaped: "),
        ("connects_by_tcp", "it reached a trap: tcp"),
        ("connects_to_an_abstract_socket", "it reached a trap: abstract"),
        ("sends_by_udp", "it reached a trap: udp"),
        ("reads_the_environment", "what is secret was shown: "),
    ],
)
def test_an_escape_would_be_seen(unconfined: Arena, name: str, complaint: str):
    scenario = next(scenario for scenario in all_scenarios() if scenario.name == name)
    outcome = unconfined.grade(unconfined.notebook(scenario), scenario.seconds)
    assert any(found.startswith(complaint) for found in broken(scenario, outcome, unconfined.traps))


@pytest.mark.slow
def test_harm_to_the_neighbour_and_to_the_machine_would_be_seen(arena: Arena):
    scenario = next(scenario for scenario in all_scenarios() if scenario.name == "reads_another_students_file")
    arena.neighbour  # noqa: B018  (what it opens stays)
    before = left()
    outcome = arena.grade(arena.notebook(scenario))
    worse = msgspec.structs.replace(outcome.neighbours[0].grade, score=15.0)
    outcome.neighbours.append(msgspec.structs.replace(outcome.neighbours[0], grade=worse))
    arena.traps.victim.with_name("written").touch()
    source = open_source("cold", "bwrap", [], {}, [], SMALL)
    try:
        found = broken(scenario, outcome, arena.traps)
        assert [complaint.split(":")[0] for complaint in found] == ["it reached a trap", "the neighbour got 15.0"]
        kinds = ("descriptors", "processes stay", "folders stay")
        assert all(any(kind in complaint for complaint in what_stays(before)) for kind in kinds)
    finally:
        source.__exit__(None, None, None)
        arena.traps.victim.with_name("written").unlink()
    assert not what_stays(before)
