"""Statements of notebooks without our metadata: copies of the release's, gradients of a part, the student's own."""

from __future__ import annotations

import json

import pytest

from grader.course.course import Course
from grader.errors import NothingMatches
from grader.intake.explain_cells import in_words
from grader.intake.matching import understand
from grader.intake.release_index import released
from grader.intake.take_in import take_in
from grader.notebook.file import read_notebook
from grader.notebook.gradient_names import nearest
from grader.notebook.statements import dissect
from tests.conftest import ROOT
from tests.lecture import CALLS, STEPS, Lecture

ALL, LOSS, NORM, TRAIN = "every-gradient", "cross-entropy", "batch-norm", "training"


@pytest.fixture
def plan(exercise):
    return lambda lecture: take_in(lecture.data(), exercise)


def parts(intake):
    """The student's gradients cells as they are run: part and the first name that each binds."""
    return [(cell.part, cell.source.strip().split(" ")[0]) for cell in intake.cells if cell.role == "gradients"]


def students(intake):
    return "\n".join(cell.source for cell in intake.cells if cell.student)


# --- copies


def test_nothing_of_a_copied_setup_parameters_or_forward_pass_is_run(plan):
    text = students(plan(Lecture()))
    for left_out in ("manual_seed", "n_hidden =", "def build_dataset", "def cmp", "emb = C[Xb]\nembcat", ".backward()"):
        assert left_out not in text, left_out


def test_a_name_that_the_release_does_not_know_stays_and_its_copy_does_not(plan):
    lecture = Lecture().replace("forward", ("bndiff2 = bndiff**2", "squares = bndiff**2\nbndiff2 = squares * 1"))
    (kept,) = [cell for cell in plan(lecture).cells if "squares = " in cell.source]
    assert kept.student
    assert "bndiff2 = " not in kept.source
    assert "bndiff2 = squares * 1" in kept.shown


def test_what_is_run_keeps_the_lines_where_the_student_has_them(plan):
    for cell in plan(Lecture().merge("forward", "gradients")).cells:
        if cell.shown is not None:
            shown, run = cell.shown.split("\n"), cell.source.split("\n")
            assert len(shown) == len(run)
            assert all(new in ("", old) or new.endswith(old) or "(learning_rate" in new
                       for old, new in zip(shown, run, strict=True))  # fmt: skip


def test_a_name_of_the_release_for_something_else_in_a_gradients_cell_is_kept(plan):
    line = "ix = logits.max(1).indices"
    lecture = Lecture().step(
        "dlogits", f"{line}\ndlogits = dnorm_logits.clone()\ndlogits[range(n), ix] += dlogit_maxes[:, 0]"
    )
    assert line in students(plan(lecture))


def test_a_slip_that_writes_into_the_forward_pass_is_the_students(plan):
    lecture = Lecture().step("dprobs", "dprobs = dlogprobs / probs\nprobs = dprobs * 2")
    assert "probs = dprobs * 2" in students(plan(lecture))


def test_calls_of_cmp_and_imports_can_not_stop_a_cell(plan):
    source = next(cell.source for cell in plan(Lecture()).cells if "dlogprobs = " in cell.source)
    calls = [line for line in source.split("\n") if "cmp(" in line]
    assert all(line.startswith("with __import__('contextlib').suppress(Exception): cmp(") for line in calls[:-1])
    assert calls[-1] == CALLS["dC"]  # the last can stop nothing, and shows what it evaluates to


# --- parts


def test_each_part_of_the_lecture_is_found(plan):
    assert [part for part, _ in parts(plan(Lecture()))] == [ALL, LOSS, NORM, TRAIN]


@pytest.mark.parametrize("gone", [(), ("fast-loss", "fast-norm")])
def test_a_second_dlogits_is_the_one_of_part_two_with_and_without_its_forward_pass(plan, gone):
    assert (LOSS, "#") in parts(plan(Lecture().drop(*gone)))
    assert (NORM, "#") in parts(plan(Lecture().drop(*gone)))


def test_a_second_attempt_in_the_middle_is_not_part_two(plan):
    cells = [source for name, source in STEPS.items()]
    place = list(STEPS).index("dlogits")
    lecture = (
        Lecture()
        .drop("fast-loss", "dlogits")
        .split("gradients", *cells[: place + 1], "dlogits = 1 * probs", *cells[place + 1 :])
    )
    assert LOSS not in [part for part, _ in parts(plan(lecture))]


def test_a_dlogits_that_is_all_there_is_belongs_to_part_two(plan):
    lecture = Lecture().drop("gradients", "fast-loss", "fast-norm", "dhprebn", "training")
    assert [part for part, _ in parts(plan(lecture))] == [LOSS]


@pytest.mark.parametrize("whole", [True, False])
def test_a_gradient_in_one_expression_behind_an_unfinished_part_one_is_not_part_ones(plan, whole):
    done = [STEPS[name] for name in list(STEPS)[:3]]
    lecture = (
        Lecture().drop("fast-loss", "fast-norm", "training").split("gradients", *(["\n".join(done)] if whole else done))
    )
    assert [part for part, _ in parts(plan(lecture)) if part != ALL] == [LOSS, NORM]


def test_a_gradient_by_helpers_behind_an_unfinished_part_one_is_part_ones(plan):
    cells = [STEPS[name] for name in list(STEPS)[:7]]
    helped = ["hot = F.one_hot(logits.max(1).indices, 27) * dlogit_maxes", "dlogits = hot"]
    lecture = Lecture().drop("fast-loss", "dlogits", "fast-norm", "dhprebn", "training")
    assert {part for part, _ in parts(plan(lecture.split("gradients", *cells, *helped)))} == {ALL}


def test_a_gradient_that_is_begun_with_zeros_stays_in_its_part(plan):
    cells = [STEPS[name] for name in list(STEPS)[:7]]
    zeros = "dlogits = torch.zeros_like(logits)\ndlogits += dnorm_logits"
    lecture = Lecture().drop("fast-loss", "dlogits", "fast-norm", "dhprebn", "training")
    assert {part for part, _ in parts(plan(lecture.split("gradients", *cells, zeros)))} == {ALL}


def test_a_name_of_the_exercise_is_never_called_unknown(plan):
    lecture = Lecture()
    lecture.cells["gradients"] = lecture.cells["gradients"].replace("counts_sum_inv", "inverse")
    assert not [note for note in plan(lecture).notes if note.startswith("dcounts_sum is no name")]


def test_a_double_loop_is_no_training_loop(plan):
    found = parts(plan(Lecture().split("gradients", *STEPS.values()).drop("training")))
    assert found[-3] == (ALL, "dC")


def test_a_training_loop_is_run_behind_all_other_parts(plan):
    lecture = Lecture().move("training", behind="forward")
    assert [part for part, _ in parts(plan(lecture))] == [ALL, LOSS, NORM, TRAIN]


def test_part_one_goes_on_with_part_twos_dlogits_where_it_has_none_of_its_own(plan):
    lecture = Lecture().step("dlogits", "").replace("gradients", (CALLS["dlogits"], ""))
    first = "\n".join(STEPS[name] for name in list(STEPS)[:7])
    rest = "\n".join(STEPS[name] for name in list(STEPS)[8:])
    lecture.cells["gradients"] = first
    lecture.insert("dlogits", "rest", rest)
    assert [part for part, _ in parts(plan(lecture))][:3] == [ALL, LOSS, ALL]


# --- the loop's given lines


def test_steps_rate_and_draws_of_a_loop_are_the_releases(plan):
    lecture = Lecture().replace(
        "training", ("range(max_steps)", "range(200_000)"), (", generator=g)\n    Xb", ")\n    Xb")
    )
    intake = plan(lecture)
    source = next(cell.source for cell in intake.cells if cell.student and cell.part == TRAIN)
    assert "for i in (range(max_steps)):" in source
    assert "p.data += -(learning_rate if i < 0.75 * max_steps else learning_rate / 10) * grad" in source
    assert "generator=g" in source
    assert len([note for note in intake.notes if note.startswith("Your training loop has its own")]) == 3


def test_the_releases_own_loop_is_left_as_it_is(course, solved):
    intake = take_in(solved(), course.exercise("mini"))
    assert all(cell.shown is None for cell in intake.cells)


def test_a_setting_that_is_no_python_sets_nothing(plan):
    lecture = Lecture().replace("training", ("max_steps = 200000", "max_steps = 20  000"))
    assert not [note for note in plan(lecture).notes if note.startswith("It sets max_steps")]


# --- names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("dL_probs", "dprobs"), ("dlogits_maxes", "dlogit_maxes"), ("dlogits_max", "dlogit_maxes"), ("dH", "dh"),
        ("d_counts_sum", "dcounts_sum"), ("grad_logits", "dlogits"), ("dloss_dlogits", "dlogits"),
        ("logits_grad", "dlogits"), ("dbn_raw", "dbnraw"), ("dl_dprobs", "dprobs"), ("dbnmean", "dbnmeani"),
        ("data", None), ("logits", None), ("counts", None), ("device", None), ("dW3", None), ("dh", None), ("d", None),
    ],
)  # fmt: skip
def test_the_nearest_expected_name(name, meant):
    assert nearest(name, STEPS) == meant


# --- shell lines, magics and what is no Python


@pytest.mark.parametrize(
    ("source", "run", "magics"),
    [
        ("!wget x\ny = 1", "\ny = 1", ["!wget x"]),
        ("%%time\ny = 1", "\ny = 1", []),
        ("%time y = 1\nz = y", "y = 1\nz = y", []),
        ("%%bash\nls -la", "\n", ["%%bash"]),
        ("%run x.py\ny = 1", "pass\ny = 1", ["%run x.py"]),
        ("if True:\n  !ls\ny = 1", "if True:\n  pass\ny = 1", ["!ls"]),
        ("x = (7\n  % 3)", "x = (7\n  % 3)", []),
        ("s = '''\n!no shell\n'''", "s = '''\n!no shell\n'''", []),
        (">>> x = 1\n>>> y = x", "x = 1\ny = x", []),
        ("$ pip install torch\nCollecting torch", "\n", []),
        ("y = 1\nF.one_hot?", "y = 1\n", ["F.one_hot?"]),
    ],
)
def test_lines_that_are_no_python(source, run, magics):
    found = dissect(source)
    assert "\n".join(found.lines) == run
    assert found.magics == magics
    assert found.pieces is not None


def test_what_can_not_be_read_is_left_as_it_is():
    assert dissect("dC = (").pieces is None
    assert dissect("dC = (").lines == ["dC = ("]


# --- told in words


def test_every_cell_is_explained(exercise):
    lecture = Lecture().insert("imports", "wget", "!wget https://example.org/names.txt")
    lecture.insert("gradients", "broken", "dC = (").insert("broken", "own", "mine = 1")
    notebook = read_notebook(lecture.data())
    told = in_words(understand(notebook.cells, exercise), released(exercise))
    by_beginning = {sense.beginning: sense for sense in told}
    assert by_beginning["!wget https://example.org/names.txt"].meaning == "shell lines and magics, not run"
    assert by_beginning["dC = ("].meaning.startswith("not valid Python")
    assert by_beginning["mine = 1"].meaning == "the student's own cell"
    assert by_beginning["# Exercise 2: the loss at once"].meaning == "the original fast-loss is run instead"
    assert "training: dW2, db2" in by_beginning["# Exercise 4: train with it"].meaning
    assert [sense.position for sense in told] == sorted(sense.position for sense in told)


def test_a_notebook_of_another_course_matches_nothing_and_says_what_to_do(plan):
    lecture = Lecture()
    lecture.cells = {
        "a": "import torch\nimport torch.nn.functional as F",
        "b": "model = torch.nn.Linear(3, 4)\nlr = 0.1",
    }
    with pytest.raises(NothingMatches, match=r"Nothing in this notebook belongs .* Use the exercise's own notebook"):
        plan(lecture)


# --- every exercise of the course


@pytest.mark.parametrize("stripped", [False, True])
@pytest.mark.parametrize("id_", Course(ROOT / "exercises").catalog.ids)
def test_a_solution_is_planned_cell_for_cell_with_and_without_its_metadata(id_, stripped):
    course = Course(ROOT / "exercises")
    exercise = course.exercise(id_)
    notebook = json.loads(course.solution_path(id_).read_text())
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["metadata"]["grader"]["role"] != "reference"]
    if stripped:
        notebook["metadata"] = {}
        for cell in notebook["cells"]:
            cell.pop("id")
            cell["metadata"] = {}
    intake = take_in(json.dumps(notebook).encode(), exercise)
    assert [(cell.label, cell.part, cell.role) for cell in intake.cells] == [
        (cell.grade_id, cell.part, cell.role) for cell in exercise.cells
    ]
    assert intake.notes == []


# --- a name of another part, used for something of a part's own


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("layer-norm-fast", "dgain = gain * dy\ndx = rstd * (dgain - dgain.mean(1, keepdim=True) - xhat)"),
        ("layer-norm-fast", "dy *= gain\ndx = rstd * (dy - dy.mean(1, keepdim=True) - xhat)"),
        ("layer-norm-fast", "dy = gain * dy; g = dy\ndx = rstd * (g - g.mean(1, keepdim=True) - xhat)"),
        ("rms-norm-fast", "dgain = gain * dy\ndx = rrms * (dgain - xhat)"),
    ],
)
def test_a_name_that_other_parts_ask_for_stays_with_the_cell_that_goes_on_from_it(part, source):
    course = Course(ROOT / "exercises")
    exercise = course.exercise("03_normalisation")
    notebook = read_notebook(course.solution_path(exercise.id).read_bytes())
    for cell in notebook.cells:
        if cell.metadata.nbgrader.grade_id == f"{part}-gradient":
            cell.source = source
    intake = take_in(json.dumps(notebook).encode(), exercise)
    own = "".join(cell.source for cell in intake.cells if cell.student and cell.part == part)
    assert " ".join(own.split()) == " ".join(source.split())
