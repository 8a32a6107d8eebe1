"""Finding submissions: from the paths on a command line to one submission a student and exercise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from grader.course.course import Course
from grader.errors import SubmissionError, UsageError
from grader.files import as_text, is_notebook, safe_name
from grader.intake.take_in import guess_exercise
from grader.notebook.file import MAX_BYTES
from grader.records import Record, Submission

UNKNOWN = "unknown"


class Found(Record, frozen=True):
    """A file that was handed in: whose, for which exercise, or why it can't be taken in.

    `exercise` is empty where the file gives no hint of one.
    """

    student: str
    exercise: str
    path: str
    problem: str | None = None

    def read(self) -> bytes:
        """The file's bytes.

        Raises:
            SubmissionError: it can't be read, or is too large to be.
        """
        path = Path(self.path)
        try:
            if path.stat().st_size > MAX_BYTES:
                size = path.stat().st_size // 2**20
                raise SubmissionError(
                    f"The file has {size} MB and the limit is {MAX_BYTES // 2**20} MB: "
                    "clear the outputs and save it again."
                )
            return path.read_bytes()
        except OSError as error:
            raise SubmissionError(f"The file {path.name!r} can't be read: {error.strerror or error}.") from error

    def size(self) -> int:
        """The file's size in bytes; 0 where it can't be read."""
        try:
            return Path(self.path).stat().st_size
        except OSError:
            return 0

    def submission(self) -> Submission:
        """The submission itself; a file that can't be read becomes one that says so."""
        try:
            problem, data = self.problem, b"" if self.problem else self.read()
        except SubmissionError as error:
            problem, data = str(error), b""
        return Submission(student=self.student, exercise=self.exercise, data=data, problem=problem)


def collect(paths: Iterable[Path], course: Course, exercise_id: str | None = None) -> list[Found]:
    """All submissions among `paths`: notebooks, or folders of them, sorted by student and exercise.

    A notebook is `<student>.ipynb` or `<student>/<exercise>.ipynb`; a file of any other name in a student's folder is
    that student's too. Which exercise it is for is, best evidence first:
    what the caller says, the file's name, what the notebook itself says or resembles.

    Raises:
        UsageError: a path does not exist or holds no notebook, or `exercise_id` is unknown.
    """
    if exercise_id is not None:
        course.spec(exercise_id)
    found = [_identify(path, owner, course, exercise_id) for path, owner in _notebooks(paths).items()]
    return sorted(_without_doubles(_as_the_others(found)), key=lambda item: (item.student, item.exercise))


def _notebooks(paths: Iterable[Path]) -> dict[Path, str | None]:
    """Every file to look at → the student in whose folder it was found, if it was found in one."""
    notebooks: dict[Path, str | None] = {}
    for path in paths:
        if path.is_dir():
            inside = _inside(path)
            if not inside:
                raise UsageError(f"The folder {str(path)!r} holds no notebook: give a folder of .ipynb files.")
            notebooks = {**inside, **notebooks}
        elif path.exists() or path.is_symlink():
            notebooks.setdefault(path)
        else:
            raise UsageError(f"There is no file or folder {str(path)!r}.")
    return notebooks


def _inside(folder: Path) -> dict[Path, str | None]:
    found: dict[Path, str | None] = {}
    for path in _listed(folder):
        if is_notebook(path):
            found[path] = None
        elif path.is_dir():
            try:
                inside = list(filter(is_notebook, _listed(path)))
            except UsageError:
                inside = [path]  # the folder itself stands for the submission that can't be reached
            if inside and path.is_symlink():
                inside = [path]  # or that would be somebody else's under another name
            found.update(dict.fromkeys(inside, path.name))
    return found


def _listed(folder: Path) -> list[Path]:
    """A folder's entries but the hidden ones; `glob` would pass over a folder that it may not read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"The folder {str(folder)!r} can't be read: {error.strerror or error}.") from error


def _identify(path: Path, owner: str | None, course: Course, exercise_id: str | None) -> Found:
    ids = course.catalog.ids
    student = as_text(owner or (path.absolute().parent.name if path.stem in ids else _student_of(path, ids)))
    if path.is_dir() and not is_notebook(path):
        problem = f"The folder {path.name!r} can't be read: let the grader's user read it."
        if path.is_symlink():
            problem = f"The folder {path.name!r} is a link: hand in the folder itself."
        return Found(student=student, exercise=exercise_id or _only(ids), path=str(path), problem=problem)
    if path.is_symlink() or not path.is_file():
        return Found(student=student, exercise=exercise_id or "", path=str(path), problem=_NO_FILE)
    if exercise_id is not None:
        return Found(student=student, exercise=exercise_id, path=str(path))
    if path.stem in ids:
        return Found(student=student, exercise=path.stem, path=str(path))
    found = Found(student=student, exercise="", path=str(path))
    try:
        guess = guess_exercise(found.read(), [course.exercise(id_) for id_ in ids])
    except SubmissionError as error:
        return Found(student=student, exercise=_only(ids), path=str(path), problem=str(error))
    if guess is None:
        problem = "It resembles no exercise of this course: say which it is with --exercise, or hand in the right file."
        return Found(student=student, exercise=_only(ids), path=str(path), problem=problem)
    return Found(student=student, exercise=guess, path=str(path))


_NO_FILE = "It is not a plain file (a link, a folder or a device): hand in the notebook itself."


def _student_of(path: Path, ids: Sequence[str]) -> str:
    """`alice.ipynb`, or Moodle's and Jupyter's ways of adding the exercise to it, are alice's."""
    stem = path.stem
    for id_ in ids:
        stem = re.sub(rf"[-_ ]+{re.escape(id_)}$", "", stem)
    return stem or path.name


def _only(ids: Sequence[str]) -> str:
    return ids[0] if len(ids) == 1 else UNKNOWN


def _as_the_others(found: Sequence[Found]) -> list[Found]:
    """Where all that can be told is of one exercise, a student's only file is taken to be for that one, too."""
    known = {item.exercise for item in found} - {UNKNOWN, ""}
    students = [item.student for item in found]
    if len(known) != 1:
        return list(found)
    (exercise,) = known
    return [
        msgspec.structs.replace(item, exercise=exercise)
        if item.exercise == UNKNOWN and students.count(item.student) == 1
        else item
        for item in found
    ]


def _without_doubles(found: Sequence[Found]) -> list[Found]:
    """Two files for one student and exercise: the grader doesn't choose, it says so."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for item in found:
        groups.setdefault((safe_name(item.student), item.exercise), []).append(item)
    kept = []
    for group in groups.values():
        if len(group) == 1:
            kept.append(group[0])
            continue
        names = " and ".join(repr(item.path) for item in group[:3])
        problem = f"There are {len(group)} files for this student and exercise ({names}): keep the one that counts."
        first = group[0]
        kept.append(Found(student=first.student, exercise=first.exercise, path=first.path, problem=problem))
    return kept
