"""What a student's installation holds is enough for a student, and what isn't there is named."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from grader.extras import EXTRAS
from tests.conftest import MINI, ROOT
from tests.warm_python import python

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLASS = ("class", "postgresql", "review")

REFUSE = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

assert not [name for name in sys.modules if name.partition(".")[0] in {names!r}]
sys.meta_path.insert(0, Refuse())

from grader.kernels import template_process
template_process.can_fork = lambda: True  # torch is loaded, and nothing was done with it
"""
COMMAND = "from grader.cli.commands import main; main()"
PYTEST = """
import os, pytest
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # other packages' plugins import what they like
sys.exit(pytest.main(["-q", "-p", "grader.grading.pytest_plugin", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def packages_of(lines, *extras) -> set[str]:
    """The packages that these requirements bring, and those that they bring in their turn."""
    found: set[str] = set()
    wanted = [(Requirement(line), extras) for line in lines]
    while wanted:
        requirement, given = wanted.pop()
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *given)):
            continue
        name = canonicalize_name(requirement.name)
        if name in found and not requirement.extras:
            continue
        found.add(name)
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:  # another system's or another Python's
            continue
        wanted += [(Requirement(line), tuple(requirement.extras)) for line in requires]
    return found


def modules_of(packages) -> set[str]:
    return {
        module for module, owners in packages_distributions().items() if {*map(canonicalize_name, owners)} <= packages
    }


@pytest.fixture(scope="module")
def for_classes_only() -> set[str]:
    """The modules of every package that only the extras bring."""
    extras = [line for extra in CLASS for line in PROJECT["optional-dependencies"][extra]]
    others = [line for line in extras if Requirement(line).name != PROJECT["name"]]
    return modules_of(packages_of(others) - packages_of(PROJECT["dependencies"]))


def run(code, *arguments, names, cwd):
    """Run code where these modules are refused; torch is loaded, which takes most of a new Python's time."""
    return python("-c", REFUSE.format(names=names) + code, *arguments, cwd=cwd, loaded="torch", COLUMNS="100")


@pytest.fixture
def desk(mini):
    """A student's folder in the mini course, with the solved notebook."""
    (mini / "mine.ipynb").write_bytes((mini / "solutions" / f"{MINI}.ipynb").read_bytes())
    return mini


def test_the_names_of_missing_modules_are_those_of_the_extras(for_classes_only):
    assert {module for modules in EXTRAS.values() for module in modules} <= for_classes_only
    owners = packages_distributions()
    there_anyway = packages_of(PROJECT["dependencies"]) | {PROJECT["name"]}
    for extra in CLASS:
        needed = {canonicalize_name(Requirement(line).name) for line in PROJECT["optional-dependencies"][extra]}
        named = {canonicalize_name(owner) for module in EXTRAS[extra] for owner in owners[module]}
        assert needed - there_anyway <= named, f"grader/extras.py doesn't name {sorted(needed - there_anyway - named)}"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "grade"),
        (["list"], 0, "mini"),
        (["init", "here"], 0, "wrote"),
        (["reset", MINI, "mine.ipynb"], 0, "reset"),
        (["check", "mine.ipynb", "--hint"], 0, "points"),
        (["new", "09_mine"], 0, "wrote"),
        (["export", "gradescope-autograder", "--exercise", MINI, "--out", "z.zip"], 0, ""),
        pytest.param(["verify"], 1, "part steps has no hint for dh", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_what_students_and_authors_do_needs_no_package_of_a_class(desk, for_classes_only, arguments, status, said):
    done = run(COMMAND, *arguments, names=for_classes_only, cwd=desk)
    assert (done.returncode, said in done.stdout) == (status, True), done.stdout + done.stderr


def test_nor_do_the_magics_their_process_or_the_pytest_plugin(desk, for_classes_only):
    code = "import grader.student.magics, grader.student.magics_server, grader.student.watch"
    done = run(code, names=for_classes_only, cwd=desk)
    assert done.returncode == 0, done.stderr
    done = run(PYTEST, "--grade", "mine.ipynb", "--sandbox", "none", names=for_classes_only, cwd=desk)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["grade", "mine.ipynb", "--out", "graded"], "class"),
        (["runs", "graded"], "class"),
        (["export", "csv", "graded"], "class"),
        (["feedback", "graded"], "class"),
        (["review", "graded"], "review"),
    ],
)  # fmt: skip
def test_what_needs_an_extra_says_the_one_command_that_adds_it(desk, for_classes_only, arguments, extra):
    done = run(COMMAND, *arguments, names=for_classes_only, cwd=desk)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"pip install 'backprop-grader[{extra}]'.")
    assert not (desk / "graded").exists()


def test_a_gradebook_in_postgresql_names_its_driver(desk):
    done = run(COMMAND, "runs", ".", "--gradebook", "postgresql://nobody@127.0.0.1:1/x", names={"psycopg"}, cwd=desk)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("pip install 'backprop-grader[postgresql]'."), done.stderr


def test_gradescopes_export_names_what_reads_it(desk, for_classes_only):
    folder = desk / "export" / "submission_1"
    folder.mkdir(parents=True)
    (desk / "mine.ipynb").rename(folder / "mine.ipynb")
    (desk / "export" / "submission_metadata.yml").write_text("submission_1:\n  :submitters:\n  - :name: Ann Ash\n")
    done = run(PYTEST, "--grade", "export", names=for_classes_only, cwd=desk)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "pip install 'backprop-grader[class]'." in done.stderr


def test_another_missing_module_is_no_matter_of_extras(desk):
    done = run(COMMAND, "check", "mine.ipynb", names={"safetensors"}, cwd=desk)
    assert "No module named 'safetensors'" in done.stderr
    assert "pip install" not in done.stderr
