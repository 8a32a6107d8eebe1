"""What a workspace remembers, `grader list`'s next step, and `grader reset`, which loses nothing."""

from __future__ import annotations

import json
import shutil

import msgspec
import pytest

from grader.errors import UsageError
from grader.notebook.file import read_notebook
from grader.records import Check, Grade, Verdict
from grader.student.hints import next_hint
from grader.student.next_step import exercise_statuses, next_step
from grader.student.progress import STATE, read_progress, remember_check
from grader.student.reset import find_target, reset
from tests.conftest import HERE


@pytest.fixture
def desk(tmp_path):
    shutil.copy(HERE / "courses" / "mini" / "exercises" / "mini.ipynb", tmp_path)
    return tmp_path


def grade_with(course, **verdicts):
    checks = [
        Check(part=part, name=name, verdict=verdicts.get(name, Verdict.EXACT), points=1, max_points=1)
        for part, checks in course.exercise("mini").parts.items()
        for name in checks.names
    ]
    return Grade(
        student="you", exercise="mini", status="graded", score=1, max_score=1, checks=checks, flags=[],
        cpu_seconds=0, wall_seconds=0,
    )  # fmt: skip


def remember(course, desk, **verdicts):
    remember_check(desk / "mini.ipynb", (desk / "mini.ipynb").read_bytes(), grade_with(course, **verdicts))


def step(course, folder):
    return next_step(exercise_statuses(course, folder), course.catalog)


def test_the_next_step_goes_from_nothing_to_everything(course, tmp_path, desk):
    (tmp_path / "empty").mkdir()
    assert "grader init" in step(course, tmp_path / "empty")
    assert "work on mini.ipynb" in step(course, desk)
    remember(course, desk, dhsum=Verdict.MISSING, dscaled=Verdict.WRONG)
    assert "fix dscaled in “Step by step”" in step(course, desk)
    remember(course, desk, dhsum=Verdict.WRONG, dscaled=Verdict.MISSING)
    assert "fill in dscaled" in step(course, desk)
    remember(course, desk, dscaled=Verdict.MISSING)
    assert "fill in dscaled" in step(course, desk)
    remember(course, desk)
    assert "Everything is right" in step(course, desk)


def test_passes_are_counted_by_part_and_stale_when_the_code_changes(course, desk):
    remember(course, desk, dhsum=Verdict.WRONG)
    (status,) = exercise_statuses(course, desk)
    assert [status.checked.right(part) for part in ("steps", "training")] == [5, 4]
    notebook = json.loads((desk / "mini.ipynb").read_text())
    notebook["cells"][-1]["metadata"]["seen"] = True
    (desk / "mini.ipynb").write_text(json.dumps(notebook))
    assert not exercise_statuses(course, desk)[0].stale
    notebook["cells"][-1]["source"] = "x = 1"
    (desk / "mini.ipynb").write_text(json.dumps(notebook))
    assert exercise_statuses(course, desk)[0].stale
    assert "changed since" in step(course, desk)


def test_hints_and_checks_share_a_file_and_neither_forgets_the_other(course, desk):
    grade = grade_with(course, dscaled=Verdict.MISSING)
    assert "Hint 1 of 1" in next_hint(course.spec("mini"), grade, desk).lines[0]
    remember(course, desk, dscaled=Verdict.MISSING)
    next_hint(course.spec("mini"), grade, desk)
    progress = read_progress(desk)
    assert progress.hints == {"mini/steps/dscaled": 1}
    assert set(progress.checks) == {"mini.ipynb"}


def test_a_hint_can_be_asked_for_by_name(course, desk):
    grade = grade_with(course, dscaled=Verdict.MISSING, dhsum=Verdict.WRONG)
    assert next_hint(course.spec("mini"), grade, desk, "dhsum").about == "dhsum"


@pytest.mark.parametrize("content", [b"", b"{", b'{"hints": 3}', b'{"checks": {"mini.ipynb": {}}}'])
def test_a_damaged_memory_is_an_empty_one(course, desk, content):
    (desk / STATE).write_bytes(content)
    assert read_progress(desk) == msgspec.convert({}, type(read_progress(desk)))
    remember(course, desk)
    assert read_progress(desk).checks


def test_reset_restores_a_part_and_nothing_else(course, desk, solved):
    def edit(notebook):
        mine = {"cell_type": "code", "source": "helper = 1", "metadata": {}, "outputs": [], "execution_count": None}
        notebook["cells"].insert(3, mine)

    before = solved(edit=edit)
    (desk / "mini.ipynb").write_bytes(before)
    path, kept = reset(course, "training", None, desk)
    assert kept.read_bytes() == before
    sources = [cell.source for cell in read_notebook(path.read_bytes()).cells]
    old = [cell.source for cell in read_notebook(before).cells]
    changed = [new for new, was in zip(sources, old, strict=True) if new != was]
    assert len(changed) == 1
    assert "dW = None  # (3, 4)" in changed[0]


def test_reset_of_an_exercise_is_the_blank_and_every_copy_is_kept(course, desk, solved):
    copies = []
    for text in (solved(), solved(("dhsum = (h", "dhsum = 3 * (h"))):
        (desk / "mini.ipynb").write_bytes(text)
        path, kept = reset(course, "mini", None, desk)
        assert path.read_bytes() == course.notebook_path("mini").read_bytes()
        copies.append((kept, text))
    assert len({kept for kept, _ in copies}) == 2
    assert all(kept.read_bytes() == text for kept, text in copies)


def test_reset_puts_a_deleted_cell_back_in_its_place(course, desk, solved):
    def edit(notebook):
        notebook["cells"] = [
            cell for cell in notebook["cells"] if cell["metadata"]["nbgrader"]["grade_id"] != "gradients-bottom"
        ]

    (desk / "mini.ipynb").write_bytes(solved(edit=edit))
    path, _ = reset(course, "mini/steps", None, desk)
    sources = [cell.source for cell in read_notebook(path.read_bytes()).cells]
    (place,) = [index for index, source in enumerate(sources) if "dhpre = None" in source]
    assert "cmp('hpre'" in sources[place + 1]


def test_reset_of_nothing_changes_nothing(course, desk):
    before = (desk / "mini.ipynb").read_bytes()
    with pytest.raises(UsageError, match="no exercise or part"):
        reset(course, "nope", None, desk)
    with pytest.raises(UsageError, match="can't be reset"):
        reset(course, "mini", desk / "missing.ipynb", desk)
    (desk / "list.txt").write_text("milk")
    with pytest.raises(UsageError, match="isn't a notebook"):
        reset(course, "mini", desk / "list.txt", desk)
    (desk / "mini.ipynb").write_bytes(other := before.replace(b'"exercise": "mini"', b'"exercise": "maxi"'))
    assert other != before
    with pytest.raises(UsageError, match="is a notebook of maxi"):
        reset(course, "mini", None, desk)
    assert (desk / "list.txt").read_text() == "milk"
    assert [path.name for path in desk.glob("*.ipynb")] == ["mini.ipynb"]
    assert (desk / "mini.ipynb").read_bytes() == other


def test_reset_replaces_a_damaged_notebook_and_keeps_it(course, desk):
    (desk / "mini.ipynb").write_text("<<<<<<< HEAD")
    path, kept = reset(course, "mini", None, desk)
    assert path.read_bytes() == course.notebook_path("mini").read_bytes()
    assert kept.read_text() == "<<<<<<< HEAD"


def test_reset_of_a_part_survives_half_a_character(course, desk):
    text = (desk / "mini.ipynb").read_text().replace('"# ', '"# \\ud83e ', 1)
    assert "\\ud83e" in text
    (desk / "mini.ipynb").write_text(text)
    path, _ = reset(course, "training", None, desk)
    assert "\ufffd" in path.read_text(encoding="utf-8")


def test_a_part_is_known_by_its_id_and_by_its_title(course):
    title = course.spec("mini").part("training").title
    for target in ("training", "mini/training", title, f"mini/{title}", f"{title.upper()} "):
        assert find_target(course, target) == ("mini", "training")


def test_the_last_hint_says_so_and_a_part_can_have_hints_as_a_whole(course, desk):
    grade = grade_with(course, dscaled=Verdict.MISSING)
    spec = course.spec("mini")
    assert next_hint(spec, grade, desk).lines[-1] == "That was the last hint for dscaled."
    parts = [msgspec.structs.replace(part, hints={"*": ["Look at the shapes.", "Go back line by line."]})
             for part in spec.parts]  # fmt: skip
    spec = msgspec.structs.replace(spec, parts=parts)
    assert next_hint(spec, grade, desk).lines == [f"Hint 1 of 2 for the part “{parts[0].title}”: Look at the shapes."]
    other = grade_with(course, dhsum=Verdict.WRONG)
    assert next_hint(spec, other, desk).lines[1:] == [
        f"Hint 2 of 2 for the part “{parts[0].title}”: Go back line by line.",
        f"That was the last hint for the part “{parts[0].title}”.",
    ]
