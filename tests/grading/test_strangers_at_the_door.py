"""What is around a grading: files beside the notebooks, temporary folders, dask's ports."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import dask.config
import pytest

from grader.grading.dask_cluster import _CONFIG, _local_client
from grader.kernels import scratch_folders
from tests.conftest import HERE, MINI, ROOT

SOLUTION = HERE / "courses" / "mini" / "solutions" / f"{MINI}.ipynb"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

BEGINS_WORKERS_AT_ONCE = """
from grader.cli.commands import main
from grader.grading import workers
workers.START_SECONDS = 0.01
main()
"""
"""`grader`, to which it is worth starting processes for three notebooks."""


@pytest.fixture
def class_folder(tmp_path: Path) -> Path:
    """A course's folder with the submissions of three students, who handed in more than a notebook."""
    shutil.copytree(HERE / "courses" / "mini" / "exercises", tmp_path / "exercises")
    for student in ("ann", "test_ben", "tests"):
        folder = tmp_path / "handed-in" / student
        folder.mkdir(parents=True)
        shutil.copy(SOLUTION, folder)
        plant = f"open({str(tmp_path / 'planted')!r}, 'a').write(__file__ + chr(10))\n"
        for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "torch.py", "test_x.py", "aux_files.py"):
            (folder / name).write_text(plant)
        for name in ("grader/__init__.py", "nbformat/__init__.py", "exercises/mini_data.py"):
            (folder / name).parent.mkdir()
            (folder / name).write_text(plant)
        (folder / "exercises" / "catalog.toml").write_text("nonsense")
        (folder / "pytest.ini").write_text("[pytest]\naddopts = -p test_x\npythonpath = .\n")
    return tmp_path


def graded(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run as by the installed scripts, which don't look for modules in the folder they are started in."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@LINUX
@pytest.mark.parametrize("where", [pytest.param(".", marks=pytest.mark.slow), "handed-in"])
def test_no_file_beside_a_notebook_is_run_by_the_plugin(class_folder, where):
    """Nor by kernels that nothing confines, which could."""
    options = ["-p", "no:cacheprovider", "--grade", str(class_folder / "handed-in"), "--sandbox", "none", "-q"]
    done = graded("-m", "pytest", *options, cwd=class_folder / where)
    assert "30 passed" in done.stdout, done.stdout + done.stderr
    assert not (class_folder / "planted").exists()


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_no_file_beside_a_notebook_is_run_by_the_command(class_folder, workers):
    command = ["grade", "handed-in", "--out", "out", "--workers", str(workers), "--sandbox", "none"]
    done = graded("-c", BEGINS_WORKERS_AT_ONCE, *command, cwd=class_folder)
    assert done.stdout.count("16 / 16") == 3, done.stdout + done.stderr
    assert not (class_folder / "planted").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
def test_temporary_folders_are_nobody_elses_to_list_or_to_guess():
    one, other = scratch_folders.folder("x"), scratch_folders.folder("x")
    try:
        assert one.name != other.name
        assert stat.S_IMODE(one.stat().st_mode) == 0o700
        assert stat.S_IMODE(one.parent.stat().st_mode) == 0o711  # the sandbox's user may pass through
        assert stat.S_IMODE((one.parent / "lock").stat().st_mode) & 0o022 == 0
    finally:
        one.rmdir()
        other.rmdir()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ss") is None, reason="needs the program ss")
def test_dasks_ports_are_on_loopback_and_tell_a_stranger_nothing():
    with dask.config.set(_CONFIG), _local_client(2):
        doors = _listening()
        assert len(doors) >= 5
        for host, port in doors:
            assert host == "127.0.0.1"
            for path in ("/", "/health", "/metrics", "/info/main/workers.html", "/json/counts.json"):
                assert _asked(host, port, path) in (None, (404, b"404: Not Found"))
            assert not _lets_in(host, port)


def _listening() -> list[tuple[str, int]]:
    children = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=False).stdout
    pids = {os.getpid(), *map(int, children.split())}
    rows = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    mine = [row.split()[3] for row in rows if any(f"pid={pid}," in row for pid in pids)]
    return [(host, int(port)) for host, _, port in (one.rpartition(":") for one in mine)]


def _asked(host: str, port: int, path: str) -> tuple[int, bytes] | None:
    connection = http.client.HTTPConnection(host, port, timeout=3)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, re.sub(rb".*<body>|</body>.*", b"", answer.read(10_000), flags=re.DOTALL)
        except (OSError, http.client.HTTPException):
            return None


def _lets_in(host: str, port: int) -> bool:
    """Whether a client without our certificate gets a word."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), 3) as plain, context.wrap_socket(plain) as channel:
            channel.settimeout(3)
            return bool(channel.recv(1))
    except OSError:
        return False
