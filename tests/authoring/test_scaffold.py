"""`grader new`: what it makes grades at once, and it takes nothing that is there."""

from __future__ import annotations

import json
import shutil
import tomllib
from types import SimpleNamespace

import pytest

from grader.authoring.scaffold import new_course, new_exercise
from grader.course.catalog import read_catalog
from grader.course.course import Course
from grader.diagnosis.diagnose import explained
from grader.diagnosis.gradient_lines import GradientLines
from grader.errors import CourseError, UsageError
from grader.notebook.file import ROLES
from grader.records import Verdict
from tests.warm_python import grader
from tests.workbench import Workbench


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A course of one's own, made in an empty folder, with a second exercise; released."""
    folder = tmp_path_factory.mktemp("empty")
    grader("new", "--course", "my-course", cwd=folder)
    grader("new", "02_second_one", cwd=folder / "my-course" / "solutions")  # from any folder of the course
    grader("release", cwd=folder / "my-course")
    return folder / "my-course"


@pytest.mark.slow
def test_a_new_course_verifies_and_its_blank_and_solution_check(made):
    out = grader("verify", cwd=made).stdout
    assert out.splitlines() == [
        "01_first: the blank scores 0 and the solution 9 of 9, in every part.",
        "02_second_one: the blank scores 0 and the solution 9 of 9, in every part.",
    ]
    assert "0 / 9 points" in grader("check", "exercises/01_first.ipynb", cwd=made, status=1).stdout
    assert "9 / 9 points" in grader("check", "solutions/02_second_one.ipynb", cwd=made).stdout


def test_a_slip_in_the_loop_of_a_new_exercise_costs_one_point_and_is_explained(made):
    notebook = json.loads((made / "solutions" / "01_first.ipynb").read_text())
    sources = {cell["metadata"]["nbgrader"]["grade_id"]: "".join(cell["source"]) for cell in notebook["cells"]}
    where = Workbench(sources, "01_first", Course(made / "exercises"))
    loop = sources["training-loop"]
    assert "dy = 2 * error / n" in loop
    marks, _, _ = where.mark("training", {**sources, "training-loop": loop.replace("2 * error", "3 * error")})
    found = {name: explained(marks.check(name), marks, GradientLines(marks.part)) for name in marks.part.checks.names}
    assert {name: check.verdict for name, check in found.items()} == {
        "dw": Verdict.WRONG, "db": Verdict.CARRIED, "w": Verdict.CARRIED, "b": Verdict.CARRIED,
    }  # fmt: skip
    assert found["dw"].diagnosis.code == "constant-factor"


def test_a_new_solution_has_a_cell_of_every_role_and_its_own_title(made):
    notebook = json.loads((made / "solutions" / "02_second_one.ipynb").read_text())
    assert {cell["metadata"]["grader"]["role"] for cell in notebook["cells"]} == set(ROLES)
    assert "# Second one" in "".join(notebook["cells"][0]["source"])
    assert "NEW_" not in json.dumps(notebook)
    assert read_catalog(made / "exercises" / "catalog.toml").exercises[1].title == "Second one"


def test_a_course_has_what_its_repository_needs(made):
    assert "grader verify" in (made / ".github" / "workflows" / "verify.yml").read_text()
    assert "graded/" in (made / ".gitignore").read_text()
    assert "NEW_" not in (made / "README.md").read_text() + (made / "requirements.txt").read_text()


@pytest.mark.parametrize(
    ("recorded", "line"),
    [
        (
            {"url": "https://host.invalid/a/grader", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            "backprop-grader[class] @ git+https://host.invalid/a/grader@c0ffee",
        ),
        (
            {"url": "file:///home/me/grader", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}},
            "# backprop-grader[",
        ),
        ({"url": "file:///home/me/grader", "dir_info": {}}, "# backprop-grader["),
        (None, "# backprop-grader["),
    ],
)
def test_the_requirements_of_a_course_name_nothing_that_pip_cannot_find(tmp_path, monkeypatch, recorded, line):
    text = json.dumps(recorded) if recorded is not None else None
    package = SimpleNamespace(version="1.2.3", read_text=lambda name: text if name == "direct_url.json" else None)
    monkeypatch.setattr("grader.authoring.scaffold.distribution", lambda name: package)
    new_course(tmp_path)
    *comments, last = (tmp_path / "requirements.txt").read_text().splitlines()
    assert all(text.startswith("#") for text in comments)
    assert last.startswith(line)


@pytest.mark.slow
def test_a_template_of_the_course_takes_the_place_of_the_packages(made, tmp_path):
    course = shutil.copytree(made, tmp_path / "course")
    # word for word what templates/README.md shows
    shown = [line[4:] for line in (course / "templates" / "README.md").read_text().splitlines() if line[:4] == "    "]
    (course / "templates" / "report.html.jinja").write_text("\n".join(shown))
    (course / "submissions").mkdir()
    shutil.copy(course / "solutions" / "01_first.ipynb", course / "submissions" / "ann.ipynb")
    grade = ("grade", "submissions", "--out", "graded", "--workers", "1")
    grader(*grade, cwd=course)
    page = (course / "graded" / "ann" / "01_first.html").read_text()
    assert "Come to room 12" in page
    assert "Every gradient is right" in page

    (course / "templates" / "report.html.jinja").write_text("{{ no_such_thing.at_all }}")
    done = grader(*grade, "--no-resume", cwd=course, status=2)
    assert "no_such_thing" in done.stderr
    assert len(done.stderr.split(".\n")) == 2, done.stderr  # one sentence


def test_an_entry_leaves_the_catalogues_text_as_it_is(mini):
    catalog = mini / "exercises" / "catalog.toml"
    for before in (catalog.read_text(), catalog.read_text().rstrip("\n"), catalog.read_text() + "# the end\n\n\n"):
        catalog.write_text(before)
        new_exercise(Course(mini / "exercises"), "08_my_layer")
        assert catalog.read_text().startswith(before)
        assert read_catalog(catalog).ids == ["mini", "08_my_layer"]
        (mini / "solutions" / "08_my_layer.ipynb").unlink()


@pytest.mark.parametrize(
    "name", ["line", "8_line", "08_Line", "08-line", "../08_line", "08_", "08_li/ne", "08_line\n", ""]
)
def test_a_bad_name_is_refused(mini, name):
    before = (mini / "exercises" / "catalog.toml").read_text()
    with pytest.raises(UsageError, match="two digits, an underscore"):
        new_exercise(Course(mini / "exercises"), name)
    with pytest.raises(UsageError, match="two digits, an underscore"):
        new_course(mini / "other", name)
    assert (mini / "exercises" / "catalog.toml").read_text() == before
    assert not (mini / "other").exists()


def test_what_exists_is_refused_and_left(mini):
    course = Course(mini / "exercises")
    for path in (course.solution_path("08_line"), course.notebook_path("08_line")):
        path.write_text("mine")
        with pytest.raises(UsageError, match="There is already a file"):
            new_exercise(course, "08_line")
        assert path.read_text() == "mine"
        path.unlink()
    new_exercise(course, "08_line")
    with pytest.raises(UsageError, match="already has an exercise '08_line'"):
        new_exercise(Course(mini / "exercises"), "08_line")


def test_a_catalogue_to_which_nothing_can_be_added_is_left(mini):
    catalog = mini / "exercises" / "catalog.toml"
    (exercise,) = tomllib.loads(catalog.read_text())["exercises"]
    inline = f'exercises = [{{ id = "mini", title = "{exercise["title"]}", minutes = 5, parts = [] }}]\n'
    catalog.write_text(inline)
    with pytest.raises(CourseError, match="write the entry yourself"):
        new_exercise(Course(mini / "exercises"), "08_line")
    assert catalog.read_text() == inline
    assert not (mini / "solutions" / "08_line.ipynb").exists()


def test_a_course_keeps_the_files_that_are_there(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "exercises").mkdir()
    (tmp_path / "exercises" / "data.csv").write_text("1")
    made, kept = new_course(tmp_path)
    assert kept == [tmp_path / "README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"
    assert tmp_path / ".gitignore" in made
    with pytest.raises(UsageError, match="already holds a course"):
        new_course(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("08_line",), "isn't part of a course"), ((), "Say what to make"), (("--course", "file"), "can't be written")],
)
def test_a_wrong_command_line_says_what_to_do(tmp_path, arguments, said):
    (tmp_path / "file").write_text("no folder")
    assert said in grader("new", *arguments, cwd=tmp_path, status=2).stderr
