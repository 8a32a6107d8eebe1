"""`grader verify`: each mistake that an author can make, made in the mini course, and the sentence that finds it."""

from __future__ import annotations

import json

import pytest

from grader.authoring.answer_leaks import answers, given_away
from grader.authoring.release import released_text
from grader.authoring.verify import exercise_problems
from grader.course.course import Course
from tests.conftest import MINI
from tests.warm_python import grader

NAMES = {"steps": ["dscaled", "dhsum", "dh", "dhpre", "dW", "db"], "training": ["dW", "db", "W", "b"]}


class Author:
    """Someone who makes mistakes in a course, and then runs `release` and `verify`."""

    def __init__(self, folder):
        self.folder = folder
        self.catalog = folder / "exercises" / "catalog.toml"
        self.solution = folder / "solutions" / f"{MINI}.ipynb"
        self.blank = folder / "exercises" / f"{MINI}.ipynb"
        text = "".join(line for line in self.catalog.read_text().splitlines(True) if not line.startswith("hints"))
        for part, names in NAMES.items():
            hints = ", ".join(f'{name} = ["Think of {name}."]' for name in names)
            text = text.replace(f'id = "{part}"', f'id = "{part}"\nhints = {{ {hints} }}')
        self.catalog.write_text(text)

    def catalogue(self, old, new):
        assert old in self.catalog.read_text()
        self.catalog.write_text(self.catalog.read_text().replace(old, new, 1))
        return self

    def cell(self, grade_id, change, path=None):
        """Change a cell of the solution, or of the notebook at `path`."""
        path = path or self.solution
        notebook = json.loads(path.read_text())
        (cell,) = [cell for cell in notebook["cells"] if cell["metadata"]["nbgrader"]["grade_id"] == grade_id]
        change(cell)
        path.write_text(json.dumps(notebook))
        return self

    def edit(self, grade_id, old, new):
        """Replace a piece of a cell of the solution."""

        def change(cell):
            text = "".join(cell["source"])
            assert old in text
            cell["source"] = text.replace(old, new, 1)

        return self.cell(grade_id, change)

    def released(self):
        course = Course(self.folder / "exercises")
        self.blank.write_text(released_text(course, course.spec(MINI)))
        return self

    def problems(self, pool=None):
        """What `verify` says of the exercise; without graders, all that needs no kernel."""
        return exercise_problems(Course(self.folder / "exercises"), MINI, pool)

    def graded_problems(self, fresh_pool):
        course = Course(self.folder / "exercises")
        return exercise_problems(course, MINI, fresh_pool(course))


@pytest.fixture
def author(mini):
    """An author of the mini course, with every hint written."""
    return Author(mini)


def test_a_course_without_a_mistake_has_no_problem(author, fresh_pool):
    assert author.released().graded_problems(fresh_pool) == []


def test_a_blank_that_is_not_there(author):
    author.blank.unlink()
    (problem,) = author.problems()
    assert "can't be read" in problem
    assert "run `grader release`" in problem
    assert "has no blank notebook" in grader("init", "desk", cwd=author.folder, status=2).stderr


def test_a_mistake_in_a_solution_names_the_exercise_and_a_damaged_one_the_file(author):
    author.edit("gradients-bottom", "### BEGIN SOLUTION", "# here")
    assert "mini: Cell gradients-bottom needs its answer" in " ".join(
        grader("release", cwd=author.folder, status=2).stderr.split()
    )
    author.solution.write_text("{")
    said = "".join(grader("release", cwd=author.folder, status=2).stderr.split())
    assert "solutions/mini.ipynbisdamaged" in said


# --- a leak of the answer into the blank ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("intro", "In the end it is dW = x.T @ dhpre."),
        ("intro", "You will find that `dhpre` is `dh*(1-h**2)`, say."),
        ("intro", "```\nx.T  @  dhpre\n```"),
        ("look", "print('trained') # (1 - h ** 2) * dh"),
        ("look", "def f(h, dh):\n    return dh * (1 - h**2)"),
        ("look", "print(torch.equal(W, x.T @ (dhpre)))"),
        ("gradients-bottom", "### BEGIN SOLUTION\ndhpre = (1 - h**2) * dh\ndW = x.T @ dhpre\ndb = dhpre.sum(0)\n"
         "### END SOLUTION\n# dW = x.T @ dhpre"),
        ("train-reference", None),
    ],
)  # fmt: skip
def test_an_answer_in_what_a_student_reads(author, cell, text):
    if text is None:
        author.edit(cell, "loss = h.mean()", "loss = h.mean()  # as dW = x.T @ dhpre would have it")
        place = "the blank's metadata (a reference cell is kept there)"
    else:
        author.cell(cell, lambda node: node.update(source=text))
        place = f"the blank's cell {cell}"
    (problem,) = author.released().problems()
    assert problem.startswith(f"{place} gives the answer `d")
    assert problem.endswith("` away; take it out.")


def test_an_answer_in_an_output_or_in_a_cells_metadata(author):
    output = {"output_type": "stream", "name": "stdout", "text": ["dW:\n", "x.T @ dhpre\n"]}
    author.released().cell("look", lambda cell: cell.update(outputs=[output]), author.blank)
    author.cell("look", lambda cell: cell["metadata"].update(note="db = dhpre.sum(0)"), author.blank)
    step, output, metadata = author.problems()
    assert "doesn't match its solution" in step
    assert output == "an output of the blank's cell look gives the answer `dW = x.T @ dhpre` away; take it out."
    assert metadata.startswith("the metadata of the blank's cell look gives the answer `db = dhpre.sum(0)` away")


def test_an_answer_in_a_file_that_the_notebook_reads(author):
    path = author.folder / "exercises" / "mini_data.py"
    path.write_text(path.read_text() + "\n\ndef backward(x, dhpre):\n    return x.T @ dhpre\n")
    (problem,) = author.released().problems()
    assert problem.startswith("the file mini_data.py gives the answer")


def test_an_answer_that_stays_in_the_blank_earns_points(author, fresh_pool):
    author.edit("gradients-top", "### BEGIN SOLUTION\ndscaled", "n_elements = scaled.numel()\ndscaled")
    author.edit("gradients-top", "dhsum", "### BEGIN SOLUTION\ndhsum")
    found = author.released().graded_problems(fresh_pool)
    assert "the blank earns points for dscaled (steps); take the answer out of it." in found


def test_a_line_that_makes_a_compared_value_is_an_answer_too():
    line = "w = w - rate * m_hat / (v_hat.sqrt() + eps)"
    assert [answer.line for answer in answers(line, ["w"])] == [line]
    assert answers(line) == []


def test_a_line_of_the_lecture_with_other_names_gives_nothing_away():
    sought = answers("dW = x.T @ dhpre\ndy = dout\ndz = -dq\nreturn dx")
    assert [answer.line for answer in sought] == ["dW = x.T @ dhpre", "dz = -dq"]
    for text in ("dW = x.T @ dlogits", "`x.T @ dhpre2`", "max.T @ dhpre", "x @ dhpre.T", "dq - 1", "dhpre @ x.T", ""):
        assert given_away(sought, text) == []


# --- what no check covers ---------------------------------------------------------------------------------------------


def test_a_gradient_of_a_tensor_that_has_no_name(author):
    author.edit("forward", "hpre = x @ W + b\nh = torch.tanh(hpre)", "h = torch.tanh(x @ W + b)")
    author.edit("forward", "[hpre, h,", "[h,").edit("compare-bottom", "cmp('hpre', dhpre, hpre)\n", "")
    author.catalogue('dhpre = ["Think of dhpre."], ', "")
    assert author.released().problems() == [
        "part steps makes dhpre, which no check covers, because the forward pass has no tensor hpre; give it that name "
        "there, or give the helper a name without the d."
    ]


def test_a_gradient_of_a_tensor_that_the_loss_does_not_depend_on(author):
    author.edit("gradients-bottom", "db = ", "dx = dhpre @ W.T\ndb = ")
    (problem,) = author.released().problems()
    assert problem.startswith("part steps makes dx, which no check covers, because the loss doesn't depend on x; let x")


def test_a_helper_without_the_d_is_no_gradient(author):
    author.edit("gradients-bottom", "dhpre = ", "inner = h * 2\ndhpre = ")
    assert author.released().problems() == []


def test_a_comparison_of_what_the_solution_does_not_make(author):
    author.edit("gradients-top", "dhsum = (h * dscaled).sum(1, keepdim=True)\n", "")
    author.edit("gradients-top", "+ dhsum", "+ (h * dscaled).sum(1, keepdim=True)")
    author.catalogue('dhsum = ["Think of dhsum."], ', "")
    (problem,) = author.released().problems()
    assert problem == (
        "cell compare-top compares dhsum, which the solution doesn't make; make it in the part's answer, or take it out "
        "of the cell."
    )


def test_a_trained_value_without_its_gradient(author):
    author.edit("train", "db = dhpre.sum(0)", "grad_b = dhpre.sum(0)").edit(
        "train", "dW is None or db is None", "dW is None"
    )
    author.edit("train", "[dW, db]", "[dW, grad_b]")
    found = author.released().problems()
    assert (
        "part training trains b, and its answer makes no db; make it there, or take b out of the catalogue's values."
        in found
    )


def test_a_gradient_that_pytorch_does_not_keep(author):
    author.edit("forward", "[hpre, h, hsum,", "[hpre, hsum,")
    (problem,) = author.released().problems()
    assert problem == (
        "cell compare-top compares dh with h.grad, which is not kept; call h.retain_grad() in the forward cell, before "
        "backward()."
    )


# --- hints ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "problem"),
    [
        ("It is x.T@dhpre.", "hint 1 for dW in part steps gives the answer `dW = x.T @ dhpre` away; say what to think of instead."),
        ("Of `h` make `(1 - h**2) * dh`.", "hint 1 for dW in part steps gives the answer `dhpre = (1 - h**2) * dh` away"),
        ("  ", "part steps has an empty hint for dW; write it, or take it out."),
    ],
)  # fmt: skip
def test_a_hint_that_gives_the_answer_away_or_is_empty(author, hint, problem):
    author.catalogue("Think of dW.", hint)
    (found,) = author.released().problems()
    assert found.startswith(problem)


def test_a_missing_hint_and_one_for_nothing(author):
    author.catalogue("dhsum = [", "dhsun = [")
    assert author.released().problems() == [
        "part steps has no hint for dhsum; write one in the catalogue.",
        "part steps has hints for dhsun, which isn't a check; correct the name, or take them out.",
    ]


# --- cases and marks --------------------------------------------------------------------------------------------------


def test_a_hidden_case_on_which_the_solution_fails(author, fresh_pool):
    author.edit("gradients-top", "scaled.numel()", "24")
    assert (
        "the solution's dscaled (steps) is wrong in the hidden case another-batch-size; correct the answer, or a size or "
        "number that is fixed in a cell."
    ) in author.released().graded_problems(fresh_pool)


def test_a_hidden_case_in_which_the_courses_own_cells_fail(author):
    author.edit("forward", "hsum = h.sum", "assert n == 6, 'six rows'\nhsum = h.sum")
    assert author.released().problems() == [
        "in the hidden case another-batch-size, cell forward fails with AssertionError: six rows"
    ]


def test_a_loop_of_several_steps_in_which_single_lines_are_judged(author):
    author.catalogue("max_steps = 1", "max_steps = 2").released()
    assert author.problems() == [
        "part training makes 2 steps in the visible case, so a slip in one line makes all of them wrong; "
        "set max_steps = 1 under [exercises.visible] and in every case without only_after."
    ]


def test_a_loop_of_several_steps_in_a_hidden_case_that_asks_for_no_other(author):
    author.catalogue('only_after = "twin"', "").released()
    (problem,) = author.problems()
    assert problem.startswith("part training makes 3 steps in the hidden case several-steps, so a slip")


def test_a_loop_that_never_makes_a_second_step(author):
    author.catalogue("max_steps = 3", "max_steps = 1").released()
    assert author.problems() == [
        "part training makes one step of its loop in every case, so one that goes right only once earns full "
        'marks; add a case with max_steps = 3 and only_after = "twin".'
    ]


def test_a_loop_whose_steps_are_no_parameter(author):
    for cell in ("train", "train-reference"):
        author.edit(cell, "range(max_steps)", "range(4)")
    assert author.released().problems() == [
        "part training has a training loop whose number of steps isn't a parameter; loop over "
        "`range(max_steps)`, with max_steps in the parameters cell."
    ]


def test_a_case_that_sets_what_is_no_parameter(author):
    author.catalogue("{ batch_size = 4 }", "{ batchsize = 4 }")
    assert author.problems() == [
        "the case another-batch-size sets batchsize, which no parameters cell assigns; correct it, or assign it in one."
    ]


def test_full_marks_that_can_not_be_reached(author, fresh_pool):
    author.catalogue('files = ["mini_data.py"]', 'files = ["mini_data.py"]\nautograd = "zero-part"')
    author.edit("gradients-bottom", "dW = x.T @ dhpre", "dW = torch.autograd.grad(loss, W, retain_graph=True)[0]")
    author.edit("forward", "loss.backward()", "loss.backward(retain_graph=True)")
    found = [problem for problem in author.released().graded_problems(fresh_pool) if "full marks" in problem]
    assert len(found) == 1, found
    assert found[0].startswith("full marks can't be reached: the solution is right and earns 4.")


# --- cells, files and steps -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grade_id", "change", "problem"),
    [
        ("look", {"grade_id": "start"}, "2 cells have the grade_id start; give each its own."),
        ("start", {"part": "trainnig"}, "cell start belongs to part trainnig, which the catalogue doesn't have; add it there, or correct the cell."),
        ("train", {"part": None}, "cell train has the role gradients but no part; give it one of steps, training."),
        ("train", {"part": "steps"}, "part training has no gradients cell; add one, say in the catalogue which parts it uses, or take"),
        ("compare-top", {"role": "setup"}, "the setup cell compare-top comes after gradients-top; move it up, setup cells"),
        ("compare-top", {"role": "forward"}, "the forward cell compare-top comes after a gradients cell of its part; move"),
        ("compare-top", {"role": "layout"}, "Code cell 7 has no role or no grade_id: see docs/authoring.md."),
        ("train", {"locked": True}, "cell train must be the student's: locked false, solution true in its nbgrader metadata."),
        ("look", {"locked": False}, "cell look must be locked: locked true, solution false in its nbgrader metadata."),
    ],
)  # fmt: skip
def test_cells_that_say_the_wrong_thing(author, grade_id, change, problem):
    def mistake(cell):
        for key, value in change.items():
            cell["metadata"]["nbgrader" if key in ("grade_id", "locked") else "grader"][key] = value

    (found,) = author.cell(grade_id, mistake).problems()
    assert found.startswith(problem)
    done = grader("release", cwd=author.folder, status=2)
    assert problem in done.stderr


@pytest.mark.slow
def test_stray_files_and_a_blank_out_of_step(author):
    author.released()
    (author.folder / "exercises" / "old.ipynb").write_text("{}")
    (author.folder / "solutions" / "08_line.ipynb").write_text("{}")
    author.edit("gradients-bottom", "### BEGIN", "# the last step\n### BEGIN")
    out = grader("verify", cwd=author.folder, status=1).stdout
    assert "exercises/old.ipynb belongs to no exercise of the catalogue; name it in `files`, or move it away." in out
    assert "solutions/08_line.ipynb belongs to no exercise of the catalogue; add an entry, or move it away." in out
    assert "mini: the blank doesn't match its solution; run `grader release`." in out


def test_a_package_that_students_may_use_and_is_not_there_is_named(mini):
    catalog = mini / "exercises" / "catalog.toml"
    catalog.write_text(catalog.read_text().replace("files = [", 'packages = ["json", "no_such_package"]\nfiles = [', 1))
    found = [problem for problem in exercise_problems(Course(mini / "exercises"), "mini", None) if "package" in problem]
    assert found == [
        "the package no_such_package, which students may use, isn't installed here; install it where notebooks are graded."
    ]
