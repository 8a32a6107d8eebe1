"""Running hostile and clumsy cells: what is said of them, and that what can be judged is."""

from __future__ import annotations

import msgspec
import pytest

from tests.conftest import check_named, verdicts


@pytest.fixture
def hasty(course, monkeypatch):
    """The mini exercise with a time limit that a test can wait for."""
    exercise = course.exercise("mini")
    monkeypatch.setattr(exercise, "spec", msgspec.structs.replace(exercise.spec, cell_seconds=1.0))


def texts(grading):
    return "\n".join(output.content for cell in grading.cells for output in cell.outputs)


def test_a_failing_cell_does_not_stop_the_later_ones(solved, grade):
    grading = grade(
        solved(("dh = hsum", "raise ValueError('oops')\ndh = hsum"), ("(1 - h**2) * dh\ndW", "(1 - h**2) * h\ndW"))
    )
    found = verdicts(grading)
    assert found["steps/dhsum"] == "exact"
    assert found["steps/dh"] == "carried"  # its line is right, and was not reached
    assert found["steps/dhpre"] == "wrong"
    assert found["steps/dW"] == "carried"
    assert found["training/W"] in ("exact", "approximate")
    assert "ValueError: oops" in texts(grading)


def test_an_exit_among_the_answers_costs_no_line(solved, grade):
    grading = grade(solved(("dh = hsum", "import sys\nsys.exit()\ndh = hsum")))
    found = verdicts(grading)
    assert {name for name, verdict in found.items() if verdict == "carried"} == {
        "steps/dh", "steps/dhpre", "steps/dW", "steps/db",
    }  # fmt: skip
    assert set(found.values()) == {"exact", "approximate", "carried"}
    remark = next(check.remark for check in grading.grade.checks if check.name == "dh")
    assert remark == "Right on its own; the cell stopped before this line."


def test_what_stops_a_cell_in_the_visible_case_alone_costs_the_lines_below_it_nothing(solved, grade):
    once = "import os\nif not os.path.exists('seen'):\n    open('seen', 'w').close()\n    raise ValueError\n"
    found = verdicts(grade(solved(("dhsum = (h", f"{once}dhsum = (h"))))
    assert {name.split("/")[1] for name, verdict in found.items() if verdict == "carried"} == {
        "dhsum", "dh", "dhpre", "dW", "db",
    }  # fmt: skip
    assert set(found.values()) == {"exact", "approximate", "carried"}


@pytest.mark.usefixtures("hasty")
def test_an_endless_loop_is_unchecked_and_what_stands_before_it_counts(solved, grade):
    grading = grade(solved(("dhsum = (h", "import time\nwhile True: time.sleep(0.01)\ndhsum = (h")))
    found = verdicts(grading)
    assert found["steps/dscaled"] == "exact"
    assert found["steps/dhsum"] == found["steps/dh"] == "unchecked"
    assert found["steps/dhpre"] == found["steps/db"] == "carried"  # computed from dh, and right on their own
    assert found["training/dW"] in ("exact", "approximate")
    assert "stopped after 1 s" in check_named(grading, "steps", "dhsum").remark
    assert {flag.code for flag in grading.grade.flags} == {"unchecked"}


@pytest.mark.usefixtures("hasty")
def test_a_loop_that_can_not_be_interrupted_costs_its_cell_only(solved, grade):
    deaf = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(9)\n"
    grading = grade(solved(("dhsum = (h", f"{deaf}dhsum = (h")))
    found = verdicts(grading)
    assert found["steps/dhsum"] == "unchecked"
    assert found["training/dW"] in ("exact", "approximate")


def test_a_dead_kernel_is_unchecked_and_the_other_cells_are_tried_again(solved, grade):
    grading = grade(solved(("dhsum = (h", "import os; os._exit(0)\ndhsum = (h")))
    found = verdicts(grading)
    assert found["steps/dscaled"] == found["steps/dh"] == "unchecked"
    assert found["training/dW"] in ("exact", "approximate")
    assert grading.grade.status == "graded"
    assert "The kernel died" in texts(grading)


def test_the_notebooks_own_time_ends_too(solved, grade, course, monkeypatch):
    exercise = course.exercise("mini")
    monkeypatch.setattr(
        exercise, "spec", msgspec.structs.replace(exercise.spec, cell_seconds=5.0, notebook_seconds=0.5)
    )
    slow = "import time; time.sleep(0.4)\n"
    grading = grade(
        solved(
            ("dscaled = torch", f"{slow}dscaled = torch"),
            ("dhpre = (1 - h**2) * dh\ndW", f"{slow}dhpre = (1 - h**2) * dh\ndW"),
        )
    )
    assert verdicts(grading)["training/dW"] == "unchecked"


def test_what_was_handed_over_before_a_kernel_died_stands_where_no_time_is_left_to_run_it_again(
    solved, grade, course, monkeypatch
):
    exercise = course.exercise("mini")
    monkeypatch.setattr(
        exercise, "spec", msgspec.structs.replace(exercise.spec, cell_seconds=5.0, notebook_seconds=1.5)
    )
    dies = "import os, time\ntry: time.sleep(20)\nexcept KeyboardInterrupt: os._exit(0)"

    def edit(notebook):
        ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in notebook["cells"]]
        cell = {"cell_type": "code", "metadata": {}, "source": dies, "outputs": [], "execution_count": None}
        notebook["cells"].insert(ids.index("train"), cell)

    found = verdicts(grade(solved(edit=edit)))
    assert {name for name, verdict in found.items() if name.startswith("steps/")} == {
        name for name, verdict in found.items() if verdict in ("exact", "approximate")
    }
    assert found["training/dW"] == "unchecked"


def test_no_time_stamps_are_asked_for_which_warn_on_python_3_12(solved, grade, monkeypatch):
    def warns(_=None):
        raise DeprecationWarning("datetime.datetime.utcnow() is deprecated")

    monkeypatch.setattr("nbclient.client.timestamp", warns)
    assert grade(solved()).grade.score == 16


def test_output_is_capped_and_the_grader_lives(solved, grade):
    grading = grade(solved(("dhsum = (h", "for _ in range(400): print('x' * 100_000)\ndhsum = (h")))
    assert verdicts(grading)["steps/dhsum"] == "exact"
    assert sum(len(output.content) for cell in grading.cells for output in cell.outputs) < 200_000
    assert "output cut" in texts(grading)


def test_a_cell_of_the_students_own_before_the_setup_is_run_there(solved, grade):
    def edit(notebook):
        first = {
            "cell_type": "code",
            "source": "mine = 41\nprint('first of all')",
            "metadata": {},
            "outputs": [],
            "id": "mine",
            "execution_count": None,
        }
        notebook["cells"].insert(0, first)

    grading = grade(solved(("dscaled = torch", "assert mine == 41\ndscaled = torch"), edit=edit))
    assert grading.grade.score == 16
    assert "first of all" in texts(grading)


def test_an_ordinary_notebooks_ways_work(solved, grade):
    source = (
        "%matplotlib inline\n"
        "import asyncio, matplotlib.pyplot as plt\n"
        "await asyncio.sleep(0)\n"
        "lines = !echo shell works\n"
        "print(lines)\n"
        "plt.plot([1, 2]); plt.show()\n"
        "display({'text/plain': 'shown'}, raw=True)\n"
        "dscaled = torch"
    )
    grading = grade(solved(("dscaled = torch", source)))
    assert grading.grade.score == 16
    said = texts(grading)
    assert "shell works" in said
    assert "shown" in said
    assert any(output.kind == "image" for cell in grading.cells for output in cell.outputs)


def test_input_is_refused_at_once(solved, grade):
    grading = grade(solved(("dh = hsum", "input('name? ')\ndh = hsum")))
    assert "StdinNotImplementedError" in texts(grading)
    assert grading.grade.wall_seconds < 5


def test_hidden_parameters_never_reach_the_visible_kernel(solved, grade):
    spy = (
        "import gc, sys\n"
        "found = [o for o in gc.get_objects() if isinstance(o, dict) and 'another-seed' in str(o.get('id', ''))]\n"
        "print('SPY', len(found), 'another-seed' in str(sys.modules['grader_probe'].__dict__))\n"
        "dscaled = torch"
    )
    assert "SPY 0 False" in texts(grade(solved(("dscaled = torch", spy))))


def test_what_a_cell_printed_before_its_kernel_died_is_shown_and_how_it_died(solved, grade):
    dying = "print('so far', flush=True); import time; time.sleep(0.3)\nimport os; os._exit(3)\ndhsum = (h"
    grading = grade(solved(("dhsum = (h", dying)))
    assert "so far" in texts(grading)
    assert "The kernel died while it ran this cell: it ended itself, with exit status 3." in texts(grading)
    assert check_named(grading, "steps", "dhsum").remark.endswith(": it ended itself, with exit status 3.")


def test_what_is_right_only_where_it_is_seen_is_unchecked_when_another_case_dies(solved, grade):
    grading = grade(solved(("dscaled = torch", "if batch_size != 6:\n    import os; os._exit(0)\ndscaled = torch")))
    assert set(verdicts(grading).values()) == {"unchecked"}
    assert grading.grade.score == 0
    assert len(grading.grade.flags) == len(grading.grade.checks)


def test_what_is_wrong_in_one_case_is_wrong_though_another_dies(solved, grade):
    pasted = "dscaled = torch.ones_like(scaled) / (scaled.numel() if seed == 3 else 1)"
    source = f"if batch_size != 6:\n    import os; os._exit(0)\n{pasted}\n"
    grading = grade(solved(("dscaled = torch.ones_like(scaled) / scaled.numel()", source)))
    assert verdicts(grading)["steps/dscaled"] == "wrong"


def test_an_error_whose_text_can_not_be_sent_costs_its_cell_only(solved, grade):
    grading = grade(solved(("dh = hsum", "raise ValueError('\\ud800')\ndh = hsum")))
    found = verdicts(grading)
    assert found["steps/dhsum"] == "exact"
    assert found["steps/dh"] == "carried"
    assert grading.grade.flags == []


MODULE = '''"""It's a module, and dW is no gradient in it."""
def total(x, n=1):
    return x.sum(n, keepdim=True)'''


@pytest.mark.parametrize(
    "cell",
    [
        f"%%writefile helpers.py\n{MODULE}",
        f"%%file 'helpers.py'\n{MODULE}",
        f"%%writefile -a helpers.py\n{MODULE}",
        f"open('helpers.py', 'w').write({MODULE!r})",
        f"exec('open(\"helpers.py\", \"w\").write(text)', {{'text': {MODULE!r}}})",
    ],
)
def test_a_file_that_a_cell_writes_is_there_for_those_below(grade, solved, cell):
    def with_cell(notebook):
        made = {"cell_type": "code", "metadata": {}, "source": cell, "outputs": [], "execution_count": None}
        notebook["cells"].insert(3, made)

    old, new = "dhsum = (h * dscaled).sum(1, keepdim=True)", "import helpers\ndhsum = helpers.total(h * dscaled)"
    grading = grade(solved((old, new), edit=with_cell))
    assert set(verdicts(grading).values()) <= {"exact", "approximate"}
    assert not [note for note in grading.notes if "not run" in note]


def test_a_file_that_a_cell_writes_below_costs_the_line_that_wants_it_above_and_no_other(grade, solved):
    written = f"%%writefile helpers.py\n{MODULE}"

    def with_cell(notebook):
        made = {"cell_type": "code", "metadata": {}, "source": written, "outputs": [], "execution_count": None}
        notebook["cells"].insert(6, made)

    old, new = "dhsum = (h * dscaled).sum(1, keepdim=True)", "import helpers\ndhsum = helpers.total(h * dscaled)"
    found = verdicts(grade(solved((old, new), edit=with_cell)))
    assert [name for name, verdict in found.items() if verdict == "missing"] == ["steps/dhsum"]
    assert found["steps/dh"] == "carried"
