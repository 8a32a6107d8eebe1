"""The catalogue: the one ordered list of exercises, read from `exercises/catalog.toml`."""

from __future__ import annotations

import math
import tomllib
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from grader.errors import CourseError
from grader.records import VISIBLE, Record

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$")]
ParameterValue = bool | int | float | str


class _Entry(Record, frozen=True, forbid_unknown_fields=True):
    """A table of the catalogue: an unknown key is a typing mistake, and said."""


class Case(_Entry, frozen=True):
    """One set of parameters under which the student's cells are run.

    `only_after` names a case: this one says something only of a part in which every tensor was right there.
    """

    id: Slug
    parameters: dict[str, ParameterValue] = {}
    only_after: str | None = None

    @property
    def dtype(self) -> Literal["float32", "float64"]:
        """The default dtype: float32 where the student sees it, float64 where it decides what is right."""
        return "float32" if self.id == VISIBLE else "float64"

    @property
    def autograd_factor(self) -> float:
        """What autograd's results are multiplied by in the student's kernel."""
        return 1.0


class ScaledCase(Case, frozen=True):
    """A hidden case again, with all that autograd computes multiplied by `factor`; see `autograd_use/flags.py`."""

    factor: float = 1.0

    @property
    def autograd_factor(self) -> float:
        """The factor."""
        return self.factor


class Float32Case(Case, frozen=True):
    """A hidden case again in float32, for code that insists on it: `.float()`, `dtype=torch.float32`."""

    @property
    def dtype(self) -> Literal["float32", "float64"]:
        """Always float32."""
        return "float32"


def in_float32(case: Case) -> Float32Case:
    """The same case in float32."""
    return Float32Case(id=case.id, parameters=case.parameters, only_after=case.only_after)


WHOLE_PART = "*"
"""In a part's hints: the hints for every check that has none of its own."""


class Part(_Entry, frozen=True):
    """A part of an exercise. `points` are shared equally by its checks; `values` are tensors compared by value.

    `uses` are the earlier parts whose code makes everything in this one: students write nothing here. `hints` are those
    of each check by its name, and under `*` those of the whole part.
    """

    id: Slug
    title: str
    points: float
    values: list[str] = []
    uses: list[Slug] = []
    hints: dict[str, list[str]] = {}


class Late(_Entry, frozen=True):
    """What handing in late costs: per cent of the points earned, for each day begun, and at most so much.

    Within `grace_minutes` nothing is late; after them the days are counted from the due date.
    """

    percent_a_day: Percent
    grace_minutes: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    at_most: Percent = 100.0


class Terms(_Entry, frozen=True):
    """What of an exercise's points counts, and for how much; no verdict depends on it.

    `attempts` is how many submissions count, all of them by default, and `counts` which of those.
    """

    due: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    late: Late | None = None
    weight: Annotated[float, msgspec.Meta(ge=0, le=1e6)] = 1.0
    attempts: Annotated[int, msgspec.Meta(ge=1)] | None = None
    counts: Literal["last", "best"] = "last"


class ExerciseSpec(_Entry, frozen=True):
    """What the catalogue says of one exercise; `docs/authoring.md` explains each key."""

    id: Slug
    title: str
    minutes: int
    parts: list[Part]
    rtol: float = 1e-5
    atol: float = 1e-8
    carried: Share = 1.0
    visible_only: Share = 0.5
    autograd: Literal["flag", "zero-part"] = "flag"
    files: list[str] = []
    packages: list[str] = []
    cell_seconds: float = 20.0
    notebook_seconds: float = 120.0
    visible: dict[str, ParameterValue] = {}
    cases: list[Case] = []
    terms: Terms = Terms()

    @property
    def all_cases(self) -> list[Case]:
        """The visible case, then the hidden ones. Every case starts from the visible one's parameters."""
        hidden = [msgspec.structs.replace(case, parameters={**self.visible, **case.parameters}) for case in self.cases]
        return [Case(id=VISIBLE, parameters=self.visible), *hidden]

    def part(self, part_id: str) -> Part:
        """The part with this id; KeyError where there is none."""
        for part in self.parts:
            if part.id == part_id:
                return part
        raise KeyError(part_id)


class Catalog(_Entry, frozen=True):
    """All exercises of a course, in the order in which students meet them; `late` holds where they say nothing else."""

    exercises: list[ExerciseSpec]
    late: Late | None = None

    @property
    def ids(self) -> list[str]:
        """The exercises' ids, in order."""
        return [exercise.id for exercise in self.exercises]

    @property
    def titles(self) -> dict[str, str]:
        """The titles of the exercises, by id, and of their parts, by `exercise/part`."""
        parts = {f"{each.id}/{part.id}": part.title for each in self.exercises for part in each.parts}
        return {each.id: each.title for each in self.exercises} | parts

    def after(self, exercise: str) -> str | None:
        """The id of the exercise that comes next."""
        return dict(pairwise(self.ids)).get(exercise)

    @property
    def terms(self) -> dict[str, Terms]:
        """Exercise → its terms, the course's late policy put in."""
        return {
            exercise.id: msgspec.structs.replace(exercise.terms, late=exercise.terms.late or self.late)
            if exercise.terms.due is not None
            else exercise.terms
            for exercise in self.exercises
        }


def read_catalog(path: Path) -> Catalog:
    """Read and check a `catalog.toml`.

    Raises:
        CourseError: the file can't be read, or says something that no course can mean.
    """
    try:
        catalog = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Catalog)
    except OSError as error:
        raise CourseError(f"The catalogue {path} can't be read ({error.strerror}): check that it is there.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise CourseError(f"The catalogue {path} isn't valid: {error}.") from error
    for exercise in catalog.exercises:
        _check(exercise, path)
    _check_unique([exercise.id for exercise in catalog.exercises], "exercise", path)
    return catalog


def _check(exercise: ExerciseSpec, path: Path) -> None:
    """Refuse what the types can't: numbers that are no marks, ids used twice, cases that refer to nothing."""
    where = f"{path}, exercise {exercise.id}"
    _check_unique([part.id for part in exercise.parts], "part", where)
    _check_unique([case.id for case in exercise.all_cases], "case", where)
    for number, part in enumerate(exercise.parts):
        if not (math.isfinite(part.points) and part.points > 0):
            raise CourseError(f"{where}: part {part.id} must be worth a positive number of points.")
        for used in set(part.uses) - {earlier.id for earlier in exercise.parts[:number]}:
            raise CourseError(f"{where}: part {part.id} uses {used}, which is not an earlier part.")
    for name in ("rtol", "atol", "cell_seconds", "notebook_seconds"):
        value = getattr(exercise, name)
        if not (math.isfinite(value) and value >= 0):
            raise CourseError(f"{where}: {name} must be zero or a positive number.")
    known = {case.id for case in exercise.cases}
    for case in exercise.cases:
        if case.only_after is not None and case.only_after not in known:
            raise CourseError(f"{where}: case {case.id} comes only after {case.only_after}, which is not a case.")


def _check_unique(ids: list[str], what: str, where: object) -> None:
    for id_ in ids:
        if ids.count(id_) > 1:
            raise CourseError(f"{where}: the {what} id {id_} is used twice; give each its own.")
