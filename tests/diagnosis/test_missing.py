"""Why a tensor is missing: an import that failed, or what the parser or the compiler said of its line."""

from __future__ import annotations

import pytest

from tests.conftest import check_named, verdicts

LINE = "dhsum = (h"
ALONE = "dhsum = (h * dscaled).sum(1, keepdim=True)"


@pytest.mark.parametrize(
    ("imported", "call"),
    [
        ("from einops import reduce", "reduce(h * dscaled, 'a b -> a 1', 'sum')"),
        ("import helpers", "helpers.total(h * dscaled)"),
        ("import einops as eo", "eo.reduce(h * dscaled, 'a b -> a 1', 'sum')"),
    ],
)
def test_an_import_that_failed_is_named_and_not_the_students_name(grade, solved, imported, call):
    grading = grade(solved((ALONE, f"{imported}\ndhsum = {call}")))
    diagnosis = check_named(grading, "steps", "dhsum").diagnosis
    assert diagnosis.code == "import-failed"
    assert f"`{imported}`, and that import failed" in diagnosis.message
    assert "what comes with it (mini_data.py)" in diagnosis.message
    assert [name for name, verdict in verdicts(grading).items() if verdict == "missing"] == ["steps/dhsum"]


@pytest.mark.parametrize("line", ["from helpers import *", "%run helpers.py", "%load helpers.py"])
@pytest.mark.parametrize("above", [False, True])
def test_a_line_that_may_have_bound_the_name_is_named(grade, solved, line, above):
    def cell_above(notebook):
        source = {"cell_type": "code", "metadata": {}, "source": line, "outputs": [], "execution_count": None}
        notebook["cells"].insert(3, source)

    call = "dhsum = total(h * dscaled)"
    grading = grade(solved((ALONE, call), edit=cell_above)) if above else grade(solved((ALONE, f"{line}\n{call}")))
    diagnosis = check_named(grading, "steps", "dhsum").diagnosis
    assert diagnosis.code == "import-failed"
    assert f"It may come from `{line}`" in diagnosis.message
    assert [name for name, verdict in verdicts(grading).items() if verdict == "missing"] == ["steps/dhsum"]


def test_a_star_of_what_the_exercise_imports_itself_is_no_reason(grade, solved):
    grading = grade(solved((ALONE, "from torch import *\ndhsum = total(h * dscaled)")))
    assert check_named(grading, "steps", "dhsum").diagnosis.code == "unknown-name"


@pytest.mark.parametrize("line", ["return", "return 3", "break", "continue", "q = dict(a=1, a=2)", "def f(x, x): pass"])
def test_what_the_compiler_refuses_costs_its_own_statement_alone(grade, solved, line):
    grading = grade(solved((LINE, f"{line}\n{LINE}")))
    assert set(verdicts(grading).values()) <= {"exact", "approximate"}
    assert any("has a syntax error in line" in note for note in grading.notes)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (ALONE.replace("keepdim=True", "keepdim=True, keepdim=True"), "keyword argument repeated: keepdim"),
        (
            ALONE.replace("= (", "=\u00a0("),
            "it has a character that can't be seen, U+00A0 no-break space: retype its spaces",
        ),
        (
            ALONE.replace("(h", "(\u2212h"),
            "it has a character that Python doesn't know, U+2212 minus sign: retype it",
        ),
    ],
)
def test_pythons_own_words_are_the_reason(grade, solved, line, said):
    grading = grade(solved((ALONE, line)))
    assert f"isn't valid Python ({said})" in check_named(grading, "steps", "dhsum").diagnosis.message
    assert [name for name, verdict in verdicts(grading).items() if verdict == "missing"] == ["steps/dhsum"]
