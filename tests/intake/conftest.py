"""What the tests of intake share."""

from __future__ import annotations

import pytest

from grader.course.exercise import Exercise
from tests.submissions import COURSE


@pytest.fixture(scope="session")
def exercise() -> Exercise:
    """The lecture's exercise."""
    return COURSE.exercise("01_backprop_ninja")
