"""Workers on hosts of their own, as network namespaces: one is cut off and one is killed while they grade."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import msgspec
import pytest
from sqlalchemy import select

from grader.gradebook.gradebook import Gradebook
from grader.gradebook.schema import gradings
from grader.records import Submission
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or os.getuid() != 0 or shutil.which("ip") is None,
        reason="network namespaces need root and iproute2",
    ),
]

HOSTS = 3
NET = f"10.{64 + os.getpid() % 128}"  # this run's own: another on the same machine has other hosts
SUBMISSIONS = 48
SOON = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s",  # a host that is cut off is given up this soon
}


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def hosts():
    """Network namespaces, each on a cable of its own; names in order."""
    names = [f"grader{os.getpid()}-{number}" for number in range(HOSTS)]
    with contextlib.ExitStack() as stack:
        for number, name in enumerate(names):
            outside, inside = f"gr{os.getpid() % 100000}o{number}", f"gr{os.getpid() % 100000}i{number}"
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
            stack.callback(ip, "netns", "delete", name)
            ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
            ip("address", "add", f"{NET}.{number}.1/30", "dev", outside)
            ip("link", "set", outside, "up")
            ip("-n", name, "address", "add", f"{NET}.{number}.2/30", "dev", inside)
            ip("-n", name, "link", "set", inside, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names


@pytest.fixture
def start(tmp_path_factory):
    """Starts one of dask's own commands; all are killed at the end."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with contextlib.ExitStack() as stack:

        def start(*command, inside=None):
            prefix = ["ip", "netns", "exec", inside] if inside else []
            log = (folder / f"{len(list(folder.iterdir()))}.log").open("w")
            stack.callback(log.close)
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", *map(str, command)],
                cwd=folder,
                env={**os.environ, **SOON, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield start


def test_with_a_host_cut_off_and_a_worker_killed_each_is_graded_once(mini, solved, pool, hosts, start):
    contents = [
        solved(),
        solved(("dhsum = (h", "dhsum = 3 * (h")),
        solved(("dhsum = (h", "raise ValueError((h")),
        b"not a notebook",
    ]
    for number in range(SUBMISSIONS):
        (mini / "handed-in" / f"s{number:02}.ipynb").write_bytes(contents[number % len(contents)])
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    start("distributed.cli.dask_scheduler", "--host", "0.0.0.0", "--port", port, "--no-dashboard")
    workers = [
        start(
            "distributed.cli.dask_worker", f"tcp://{NET}.{number}.1:{port}", "--host", f"{NET}.{number}.2",
            "--nthreads", 1, "--no-nanny", "--no-dashboard", inside=name,
        )
        for number, name in enumerate(hosts)
    ]  # fmt: skip
    command = ["grade", "handed-in", "--out", "out", "--exercise", "mini", "--scheduler", f"tcp://127.0.0.1:{port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    grading = subprocess.Popen(
        [sys.executable, "-m", "grader", *command],
        cwd=mini, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    done = mini / "out"
    deadline = time.monotonic() + 300
    while len(list(done.glob("*/mini.json"))) < SUBMISSIONS // 8 and time.monotonic() < deadline:
        assert grading.poll() is None, grading.communicate()
        time.sleep(0.05)
    workers[0].kill()
    ip("link", "set", f"gr{os.getpid() % 100000}o1", "down")
    at_the_blow = len(list(done.glob("*/mini.json")))
    stdout, stderr = grading.communicate(timeout=300)
    assert grading.returncode == 3, stdout + stderr
    assert 0 < at_the_blow < SUBMISSIONS

    with Gradebook(done / "gradebook.sqlite") as book, book._engine.connect() as connection:
        rows = [row.student for row in connection.execute(select(gradings.c.student))]
        assert sorted(rows) == [f"s{number:02}" for number in range(SUBMISSIONS)]
        there = {grade.student: grade for grade in book.grades()}
    here = [pool.grade(Submission("", "mini", data)).grade for data in contents]
    for number in range(SUBMISSIONS):
        student = f"s{number:02}"
        expected = msgspec.structs.replace(here[number % len(contents)], student=student)
        assert same(there[student]) == same(expected)
        assert json.loads((done / student / "mini.json").read_text())["score"] == expected.score


def same(grade):
    """A grade without what differs from run to run."""
    return msgspec.structs.replace(grade, cpu_seconds=0.0, wall_seconds=0.0)
