"""The arena, opened once; a test must not go on where its limits turn out not to hold."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from grader import client
from tests.hostile.arena import CANARY, Arena, Traps


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A pool with small limits, in a process that holds a secret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADER_TEST_TOKEN", CANARY)
        patch.setattr(client, "INTERRUPT_SECONDS", 1)
        traps = Traps(tmp_path_factory.mktemp("traps"))
        arena = Arena(traps)
        assert os.environ["GRADER_TEST_TOKEN"] == CANARY
        yield arena
        arena.close()
        traps.close()
