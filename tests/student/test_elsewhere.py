"""`grader check` as on macOS and Windows, as far as Linux can play them: without what only Linux has.

What other systems lack is taken away after the libraries were imported, which have ways of their own there, and before
any of the grader's modules is. macOS is played to the verdict, Windows until everything is imported: a kernel is
started there through system calls that Linux can't imitate.
"""

from __future__ import annotations

import json

import pytest

from tests.conftest import HERE, verdicts
from tests.warm_python import python

LIBRARIES = (
    "asyncio, jinja2, jupyter_client, jupyter_client.manager, jupyter_client.provisioning.local_provisioner, "
    "msgspec, nbclient, nbformat, pytest, rich.console, safetensors.torch, sqlalchemy, subprocess, tempfile, torch, "
    "torch.autograd.forward_ad, typer, watchfiles, zmq.asyncio, IPython.core.magic, logging.handlers, webbrowser"
)
LACKING = {
    "darwin": {
        "os": ["pidfd_open", "memfd_create", "unshare", "setns", "sched_getaffinity", "fork", "forkpty", "splice"],
        "signal": ["pidfd_send_signal"],
        "socket": ["SOCK_SEQPACKET", "SCM_CREDENTIALS", "SO_PASSCRED"],
        "modules": [],
    },
    "win32": {
        "os": ["pidfd_open", "memfd_create", "unshare", "setns", "sched_getaffinity", "fork", "forkpty", "splice",
               "getuid", "geteuid", "getgid", "getegid", "killpg", "getpgid", "setsid", "register_at_fork", "wait4",
               "mkfifo", "chown", "statvfs", "O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "WNOHANG",
               "sysconf", "sched_setaffinity", "getloadavg", "pipe2"],
        "signal": ["SIGKILL", "SIGALRM", "SIGHUP", "setitimer", "alarm", "pthread_sigmask", "pidfd_send_signal"],
        "socket": ["AF_UNIX", "socketpair", "SOCK_SEQPACKET", "SCM_RIGHTS", "SCM_CREDENTIALS", "SO_PASSCRED"],
        "modules": ["fcntl", "resource", "pwd", "grp", "termios", "pty"],
    },
}  # fmt: skip
TAKE_AWAY = """
import {libraries}
import os, signal, socket, sys
lacking = {lacking!r}
for module in (os, signal, socket):
    for name in lacking[module.__name__]:
        if hasattr(module, name):
            delattr(module, name)
for name in lacking["modules"]:
    sys.modules[name] = None
sys.platform = {platform!r}
"""
IN_THE_KERNEL = "import os, sys, torch, urllib.request\ndel os.fork\nsys.platform = 'darwin'\nprint('no fork here')"


def run(platform, code, folder):
    """Run code in a process of its own that lacks what the platform does."""
    start = TAKE_AWAY.format(libraries=LIBRARIES, lacking=LACKING[platform], platform=platform)
    done = python("-c", start + code, cwd=folder, loaded="torch", IPYTHONDIR=str(folder / "ipython"))
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("platform", [pytest.param("darwin", marks=pytest.mark.slow), "win32"])  # which lacks more
def test_everything_that_check_imports_is_there_on_any_system(platform, tmp_path):
    modules = ("cli.commands", "student.check", "student.magics", "student.magics_server", "grading.pool")
    code = "".join(f"import grader.{module}\n" for module in modules) + "print(sys.platform)"
    assert run(platform, code, tmp_path) == f"{platform}\n"


@pytest.mark.slow
def test_without_linux_a_check_comes_to_the_same_verdicts(course, solved, grade, tmp_path):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-elsewhere.py").write_text(IN_THE_KERNEL)
    slips = (("dhsum = (h", "dhsum = 3 * (h"), ("/ scaled.numel()", "/ 24"))
    (tmp_path / "mine.ipynb").write_bytes(solved(*slips))
    code = f"""
import json
from pathlib import Path
from grader.student.check import check_notebook
from grader.course.course import Course
grade = check_notebook(Course(Path({str(HERE / "courses" / "mini" / "exercises")!r})), Path("mine.ipynb"), "mini").grade
assert grade.status == "graded", grade.reason
print(json.dumps({{f"{{check.part}}/{{check.name}}": check.verdict.value for check in grade.checks}}))
"""
    assert json.loads(run("darwin", code, tmp_path)) == verdicts(grade(solved(*slips)))
