"""The errors that the grader raises on purpose, drawn as one tree.

GraderError                     every message: one sentence, and what the user can do
├── UsageError                  the command line or a path on it is wrong          (exit status 2)
├── CourseError                 the course itself is broken: catalogue, exercise, solution
├── SubmissionError             one submission can't be graded; the others can      (exit status 3)
│   ├── UnreadableNotebook      not a notebook that nbformat can make sense of
│   └── NothingMatches          a notebook, but no cell of it belongs to the exercise
├── ExecutionError              the kernel could not be started or kept alive
├── ClusterError                the workers that should grade can't be reached or used
└── SandboxUnavailable          this machine offers no sandbox and none was waived
"""

from __future__ import annotations


class GraderError(Exception):
    """Base of every error with a message made for the user."""


class UsageError(GraderError):
    """The command line, or a path named on it, is wrong."""


class CourseError(GraderError):
    """The catalogue, an exercise or a solution breaks the course's own rules."""


class SubmissionError(GraderError):
    """One submission can't be graded. Never a verdict on its gradients."""


class UnreadableNotebook(SubmissionError):
    """The file is not a notebook that nbformat can make sense of."""


class NothingMatches(SubmissionError):
    """The notebook holds no cell that belongs to the exercise."""


class ExecutionError(GraderError):
    """A kernel could not be started, or died before it ran anything."""


class ClusterError(GraderError):
    """The workers that should grade can't be reached, or are not fit to."""


class SandboxUnavailable(GraderError):
    """This machine offers no sandbox, and the user has not waived it."""
