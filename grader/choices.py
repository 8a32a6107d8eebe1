"""What a command line lets choose, as types. Nothing is imported here, for `grader --help` answers at once."""

from __future__ import annotations

from typing import Literal

Sandbox = Literal["bwrap", "none"]
Format = Literal["csv", "totals", "canvas", "moodle", "gradescope", "junit", "json"]
"""What the gradebook's grades are exported as."""
Export = Literal[Format, "gradescope-autograder"]
By = Literal["exercise", "part", "check"]
"""What an exported table has a column for."""
