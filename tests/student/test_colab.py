"""Google Colab's environment, made anew: installing the wheel changes none of its packages, and the magics work there.

torch and what it needs are this environment's own, as hard links: Colab has them, and they are the bulk of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, link_or_copy
from tests.test_extras import packages_of

pytestmark = pytest.mark.slow

COLABS = ("ipython==7.34.0", "ipykernel==6.17.1", "jupyter-client==7.4.9", "tornado==6.4.2", "notebook==6.5.7")
EXERCISE = "00_chain_rule"
SLIP = re.compile(r"^du = (.*)$", re.MULTILINE)
EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


class Place:
    """A virtual environment."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
        (self.packages,) = folder.rglob("site-packages")
        self._environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
        self._environment |= {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("DATA", "CONFIG", "RUNTIME")}
        self._environment["IPYTHONDIR"] = str(folder / "ipython")

    def run(self, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(self.bin / "python"), *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=self._environment, capture_output=True, text=True, check=False)

    def packages_there(self) -> set[str]:
        return set(self.run("-m", "pip", "list", "--format=freeze").stdout.split())


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """Colab's environment, and its packages before the wheel was installed."""
    folder = tmp_path_factory.mktemp("colab")
    place = Place(folder / "venv")
    for package in packages_of(["torch"]):
        link_or_copy(package, place.packages)
    done = place.run("-m", "pip", "install", "--quiet", *COLABS)
    if done.returncode != 0:
        pytest.skip(f"Colab's packages can't be had here: {(done.stderr.strip() or '?').splitlines()[-1]}")
    before = place.packages_there()
    assert set(COLABS) <= {line.lower().replace("_", "-") for line in before}
    done = place.run("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    assert done.returncode == 0, done.stderr
    done = place.run("-m", "pip", "install", "--quiet", *folder.glob("*.whl"))
    assert done.returncode == 0, done.stderr
    return place, before


@pytest.fixture
def desk(colab, tmp_path):
    """A student's folder with exercise 00 filled in, the first gradient twice as large as it should be."""
    place, _ = colab
    assert place.run("-m", "grader", "init", tmp_path / "desk").returncode == 0
    notebook = json.loads((ROOT / "solutions" / f"{EXERCISE}.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["metadata"]["grader"]["role"] != "reference"]
    slips = 0
    for cell in cells:
        if cell["metadata"]["grader"]["role"] == "gradients":
            cell["source"], count = SLIP.subn(r"du = 2 * (\1)", "".join(cell["source"]), count=1 - slips)
            slips += count
    assert slips == 1
    for source in ("%load_ext grader", "%check", "%hint du"):
        empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
        cells.append({**empty, "id": re.sub(r"\W", "", source)})
    notebook["cells"] = cells
    file = tmp_path / "desk" / f"{EXERCISE}.ipynb"
    file.write_text(json.dumps(notebook), encoding="utf-8")
    return file


def test_installing_the_wheel_changes_no_package_of_colabs(colab):
    place, before = colab
    lost = before - place.packages_there()
    assert not lost, f"pip replaced {sorted(lost)}"
    done = place.run("-m", "pip", "check")
    assert done.returncode == 0, done.stdout


def test_the_magics_answer_in_a_kernel_of_colabs(colab, desk):
    place, _ = colab
    done = place.run("-c", EXECUTE, desk, desk.with_name("run.ipynb"), cwd=desk.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    *_, check, hint = json.loads(desk.with_name("run.ipynb").read_text(encoding="utf-8"))["cells"]
    (answer,) = check["outputs"]
    text = "".join(answer["data"]["text/plain"])
    assert "du is wrong" in text
    assert "twice" in text or "2 times" in text, text
    assert "<img" in "".join(answer["data"]["text/html"])
    assert "Hint 1 of" in "".join(hint["outputs"][0]["data"]["text/plain"])


def test_check_comes_to_the_same_marks_there_as_here(colab, desk):
    place, _ = colab
    there = place.run("-m", "grader", "check", desk.name, cwd=desk.parent)
    command = [sys.executable, "-m", "grader", "check", desk.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    here = subprocess.run(command, cwd=desk.parent, env=environment, capture_output=True, text=True, check=False)
    assert (there.returncode, here.returncode) == (1, 1), there.stderr + here.stderr
    assert there.stdout == here.stdout


def test_snapshot_kernels_say_which_ipykernel_they_need(colab, desk):
    place, _ = colab
    done = place.run("-m", "pytest", "--grade", desk.name, "--kernel", "snapshot", "-q", cwd=desk.parent)
    assert "Snapshot kernels need ipykernel 7, and 6.17.1 is installed here" in done.stdout + done.stderr
    assert shutil.which("grader", path=str(place.bin))
