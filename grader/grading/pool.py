"""The graders of a course, each started when its first submission comes and kept warm until the end."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from grader.choices import Sandbox
from grader.course.course import Course
from grader.course.exercise import Exercise
from grader.errors import GraderError
from grader.garbage_collection import uncollected
from grader.grading.ungradable import ITSELF_FAILED, ungradable
from grader.kernels import KernelKind, KernelSource, Limits, open_source
from grader.records import Grading, Submission

if TYPE_CHECKING:  # these import torch
    from grader.grading.grade import Grader, SoFar
    from grader.grading.live_kernel import Live


PROBE_FOLDER = Path(__file__).parent.parent / "kernels" / "probe"


class GraderPool:
    """Grades submissions of any exercise of a course; a context manager.

    Args:
        course: the course.
        kernel: how kernels come to be.
        sandbox: what they are confined by.
        hurry: for a student at work: nobody looks at outputs, and kernels can be started before they are needed.
        so_far: see `Grader`.

    Raises:
        SandboxUnavailable: this machine has no sandbox, and `sandbox` asks for one.
    """

    def __init__(
        self,
        course: Course,
        kernel: KernelKind,
        sandbox: Sandbox,
        *,
        hurry: bool = False,
        so_far: SoFar | None = None,
    ) -> None:
        self.course = course
        self.kernel = kernel
        self.sandbox = sandbox
        self.hurry = hurry
        self.so_far = so_far
        self._begun: dict[str, KernelSource] = {}
        self._graders: dict[str, Grader] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> GraderPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all kernels; a pool that is used again starts them again."""
        self._begun.clear()
        self._graders.clear()
        self._open.close()

    def check_names(self, exercise_id: str) -> list[tuple[str, str]]:
        """Part and name of every check of an exercise, in order."""
        parts = self.course.exercise(exercise_id).parts
        return [(part, name) for part, checks in parts.items() for name in checks.names]

    def grade(self, submission: Submission, live: Live | None = None) -> Grading:
        """Grade one submission; what is wrong with it is in the result. `live`: see `Grader.grade`."""
        if submission.problem is not None:
            spec = next((spec for spec in self.course.catalog.exercises if spec.id == submission.exercise), None)
            return ungradable(submission, spec, submission.problem)
        try:
            return self._grader(submission.exercise).grade(submission, live)
        except GraderError:
            raise
        except RecursionError:
            reason = "Its code is nested too deeply to be understood: write long expressions as several statements."
            return ungradable(submission, self.course.spec(submission.exercise), reason)
        except Exception as error:  # noqa: BLE001 - one submission must never cost another its marks, whatever we overlooked
            reason = f"{ITSELF_FAILED} ({type(error).__name__}: {error}): please report this."
            return ungradable(submission, self.course.spec(submission.exercise), reason)

    def names(self, exercise_id: str) -> list[str]:
        """The names that a kernel is asked for: every check, and the tensors of every forward pass.

        Raises:
            CourseError: a cell of the exercise fails.
        """
        return self._grader(exercise_id).names()

    def lists(self, exercise_id: str) -> list[str]:
        """Of these names, those that stand for lists of tensors."""
        return self._grader(exercise_id).lists()

    def prepare(self, exercise_id: str) -> None:
        """Get all that the next grading of an exercise needs ready: its reference, and kernels ahead.

        Raises:
            ExecutionError: no kernel can be started.
        """
        self._grader(exercise_id).prepare()

    def begin(self, exercise_id: str) -> None:
        """Start the process that an exercise's kernels come from, which loads torch while this one goes on.

        Raises:
            GraderError: there is no such exercise, or no kernels for it.
        """
        if exercise_id not in self._begun:
            exercise = self.course.exercise(exercise_id)
            with uncollected():
                self._begun[exercise_id] = self._kernels(exercise)
            self._open.push(self._begun[exercise_id])

    def _grader(self, exercise_id: str) -> Grader:
        if exercise_id not in self._graders:
            exercise = self.course.exercise(exercise_id)
            self.begin(exercise_id)
            with uncollected():
                from grader.grading.grade import Grader

            grader = Grader(exercise, self._begun[exercise_id], hurry=self.hurry, so_far=self.so_far)
            self._graders[exercise_id] = self._open.enter_context(grader)
        return self._graders[exercise_id]

    def _kernels(self, exercise: Exercise) -> KernelSource:
        return open_source(
            kind=self.kernel,
            sandbox=self.sandbox,
            setup_cells=exercise.setup_sources,
            files=exercise.files,
            modules_path=[PROBE_FOLDER],
            limits=Limits(),
            libraries=exercise.late_libraries,
            ahead=self.hurry,
        )
