"""The arena, opened once; a test must not go on where its limits turn out not to hold."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.choices import Sandbox
from grader.execution import cell_client
from grader.kernels import kernel_source
from tests.hostile.arena import CANARY, Arena, Traps


@pytest.fixture(scope="session")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """A pool with small limits, in a process that holds a secret."""
    with opened(tmp_path_factory.mktemp("traps"), "bwrap") as arena:
        yield arena


@pytest.fixture(scope="session")
def unconfined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """The same without a sandbox: for attacks that hurt nobody, to see that they would be noticed."""
    with opened(tmp_path_factory.mktemp("open-traps"), "none") as arena:
        yield arena


@contextlib.contextmanager
def opened(folder: Path, sandbox: Sandbox) -> Iterator[Arena]:
    """An arena in a process that holds a secret."""
    with pytest.MonkeyPatch.context() as patch, contextlib.closing(Traps(folder)) as traps:
        patch.setenv("GRADER_TEST_TOKEN", CANARY)
        patch.setattr(cell_client, "INTERRUPT_SECONDS", 2)
        patch.setattr(kernel_source, "MANY", sys.maxsize)  # what is renewed meanwhile would pass for what stays
        with contextlib.closing(Arena(traps, sandbox)) as arena:
            yield arena
