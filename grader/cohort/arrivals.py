"""What `grader grade` was given, brought to the class: collected, named, with the times at which it was handed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from grader.cohort.csv_file import read_roster
from grader.cohort.naming import by_list, by_pattern, by_roster, renamed
from grader.cohort.times import Times
from grader.course.course import Course
from grader.errors import UsageError
from grader.files import as_text
from grader.intake.collect import collect
from grader.intake.found import Found
from grader.intake.handed_in.owners import Identity
from grader.records import Record
from grader.reports.roster import Person, Roster
from grader.timestamps import NotATime, zone_named
from grader.wording import listed

MANY = 20
"""So many sentences about single files are printed, of which `handed-in.csv` has all, and files not looked at."""


class Naming(Record, frozen=True):
    """Where names and times come from, as the command line says."""

    pattern: str | None = None
    names: Path | None = None
    roster: Path | None = None
    times: Path | None = None
    timezone: str | None = None


class Arrivals(Record, frozen=True):
    """The submissions, the class list where there is one, and what is to be said of how they came to be.

    `naming` is where names and times came from, `about_names` what is to be said of names alone.
    """

    found: list[Found]
    roster: Roster | None
    naming: Naming
    about_names: list[str]
    said: list[str]
    times: dict[tuple[str, str], datetime]

    def submitted(self, student: str, exercise: str) -> datetime | None:
        """When it was handed in, as the file of times says, or else the platform."""
        return self.times.get((student, exercise))

    def identities(self) -> dict[str, list[Identity]]:
        """Student → what platforms know them by, and with whom they handed something in."""
        known: dict[str, list[Identity]] = {}
        for item in self.found:
            group = [Identity("group", ", ".join(item.group))] if item.group else []
            known.setdefault(item.student, []).extend([*item.identities, *group])
        return known

    def under(self, renames: Mapping[str, str]) -> Arrivals:
        """The same under the names that the gradebook has for these, which has the last word.

        Raises:
            UsageError: as `arrive`, of the file of times.
        """
        found = renamed(self.found, lambda item: [renames.get(item.student, item.student)])
        return _arrivals(found, self.roster, self.naming, self.about_names)


def arrive(paths: Sequence[Path], course: Course, exercise: str | None, naming: Naming) -> Arrivals:
    """Collect what was handed in.

    Args:
        paths: folders, zips and notebooks.
        course: the course.
        exercise: the only one that all of it is for.
        naming: what names and times come from. A pattern is looked at first, then the list, then the roster.

    Raises:
        UsageError: a path or an option is wrong.
    """
    passed_over: list[str] = []
    said: list[str] = []
    found = collect(paths, course, exercise, passed_over.append)
    if naming.pattern is not None:
        found = renamed(found, by_pattern(naming.pattern))
    if naming.names is not None:
        its, unused = by_list(naming.names, found)
        found = renamed(found, its)
        if unused:
            said.append(f"{naming.names}: no submission here is from {_quoted(unused)}; check the spelling.")
    roster = read_roster(naming.roster) if naming.roster is not None else None
    if roster is not None:
        its, unknown = by_roster(roster, found)
        strays = [item for item in found if item.stray and item.student in unknown]  # a print of nobody's in the class
        passed_over += [as_text(Path(item.path).name) for item in strays]
        unknown = [student for student in unknown if student not in {item.student for item in strays}]
        found = renamed([item for item in found if item not in strays], its)
        if unknown:
            said.append(f"{naming.roster}: no row, or several, for {_quoted(unknown)}.")
    if passed_over:
        said.append(f"Ignored: {listed(passed_over, MANY)}.")
    return _arrivals(found, roster, naming, said)


def _arrivals(found: list[Found], roster: Roster | None, naming: Naming, about_names: list[str]) -> Arrivals:
    said = [*about_names, *_about_files(found)]
    times, about_times = _times(found, naming)
    if late := [item.student for item in found if item.late and (item.student, item.exercise) not in times]:
        said.append(f"Marked late without a time, so nothing is taken off: {listed(late, 5)}. Give times with --times.")
    return Arrivals(found, roster, naming, about_names, said + about_times, times)


def _times(found: Sequence[Found], naming: Naming) -> tuple[dict[tuple[str, str], datetime], list[str]]:
    try:
        zone = zone_named(naming.timezone) if naming.timezone is not None else None
    except NotATime as error:
        raise UsageError(f"--timezone: {error}") from error
    handed_in = {(item.student, item.exercise) for item in found}
    times = {(item.student, item.exercise): item.submitted for item in found if item.submitted is not None}
    if naming.times is None:
        return times, []
    said = Times(naming.times, zone, [Person(item.student, item.identities) for item in found])
    times |= {key: time for key in handed_in if (time := said.of(*key)) is not None}
    nobody = said.of_nobody(handed_in)
    return times, (
        [f"{naming.times}: no submission here is from {listed(nobody, 5)}; check the spelling."] if nobody else []
    )


def _about_files(found: Sequence[Found]) -> list[str]:
    sentences = [f"{item.student} ({item.exercise}): {'; '.join(item.remarks)}." for item in found if item.remarks]
    more = len(sentences) - MANY
    return sentences[:MANY] + ([f"{more} more such remarks are in handed-in.csv."] if more > 0 else [])


def _quoted(names: Sequence[str]) -> str:
    return listed([repr(name) for name in names], 5)
