"""Grading on dask workers: the same grades as in this process, each once, whatever happens to a worker."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import msgspec
import psutil
import pytest

from grader.course.course import unpacked_course
from grader.errors import ClusterError
from grader.grading import dask_cluster, dask_worker
from grader.grading import pool as pool_module
from grader.grading.dask_cluster import open_dask
from grader.grading.workers import InProcess, _processes, open_workers
from grader.intake.found import Found
from grader.kernels import open_source
from grader.records import Submission
from tests.conftest import ROOT

PROBLEM = "It is a problem."
MARK = b"What the test looks for."

KILL_THE_WORKER = """
import os, pathlib, signal
pid = os.getpid()
while pid > 1:
    process = pathlib.Path("/proc", str(pid))
    if "multiprocessing" in (process / "cmdline").read_text():
        os.kill(pid, signal.SIGKILL)
        break
    pid = int((process / "stat").read_text().rpartition(")")[2].split()[1])
"""


def same(grading):
    """A grading without what differs from run to run."""
    grade = msgspec.structs.replace(grading.grade, cpu_seconds=0.0, wall_seconds=0.0)
    cells = [msgspec.structs.replace(cell, seconds=None) for cell in grading.cells]
    return msgspec.structs.replace(grading, grade=grade, cells=cells)


@pytest.fixture(scope="module")
def cluster(course):
    """A worker process with confined kernels."""
    with open_dask(course, ["mini"], "snapshot", "bwrap", 1) as workers:
        yield workers


@pytest.fixture
def handed_in(solved, tmp_path):
    """A few submissions that differ: name → what was found."""
    contents = {
        "ann": solved(),
        "bob": solved(("dhsum = (h", "dhsum = 3 * (h")),
        "cy": b"not a notebook",
        "dee": solved(("dhsum = (h", "raise ValueError((h")),
    }
    found = []
    for name, data in contents.items():
        (tmp_path / f"{name}.ipynb").write_bytes(data)
        found.append(Found(student=name, exercise="mini", path=str(tmp_path / f"{name}.ipynb")))
    return found


def test_workers_give_the_grades_of_a_single_process_and_nobody_else_hears_of_them(cluster, pool, handed_in):
    """In one test: another one might be another process's, which would open a cluster of its own."""
    here, there = [], []
    InProcess(pool).grade(handed_in, here.append)
    cluster.grade(handed_in, there.append)
    there.sort(key=lambda grading: grading.grade.student)
    assert [grading.grade.student for grading in there] == ["ann", "bob", "cy", "dee"]
    assert list(map(same, there)) == list(map(same, here))
    missing = cluster.client.run(lambda: sys.modules.get("rfc3987_syntax", "not told") is None)
    assert list(missing.values()) == [True], "it builds a grammar of web addresses"
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    addresses = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            connections = process.net_connections(kind="inet")
            addresses |= {entry.laddr.ip for entry in connections if entry.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}
    assert cluster.client.scheduler.address.startswith("tls://")


@pytest.mark.slow
def test_the_cluster_holds_a_bounded_number_of_submissions(cluster):
    with_cluster, most = 0, 0

    class Watched(Found, frozen=True):
        def submission(self):
            nonlocal with_cluster, most
            with_cluster += 1
            most = max(most, with_cluster)
            return msgspec.structs.replace(super().submission(), data=MARK)

    def done(grading):
        nonlocal with_cluster
        with_cluster -= 1
        students[grading.grade.student] += 1
        assert grading.grade.reason == PROBLEM

    students = Counter()
    many = [Watched(student=f"s{number}", exercise="mini", path="", problem=PROBLEM) for number in range(800)]
    cluster.grade(many, done)
    assert len(students) == 800
    assert set(students.values()) == {1}
    assert most <= 17 * dask_cluster.BATCH
    gc.collect()
    messages = {id(one): one for thing in gc.get_objects() for one in gc.get_referents(thing) if type(one) is bytes}
    assert sum(one.count(MARK) for one in messages.values()) < 400  # dask's logs of messages keep the last ones


@pytest.mark.skipif(sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs two cores of Linux")
def test_workers_have_a_core_of_their_own_where_there_is_one_for_each(course):
    before = os.sched_getaffinity(0)
    mine = sorted(before)[:2]
    try:
        os.sched_setaffinity(0, mine)
        with open_dask(course, ["mini"], "cold", "none", 2) as cluster:
            client = cluster.client
            asked = [client.submit(os.sched_getaffinity, 0, workers=[one], pure=False) for one in client.nthreads()]
            cores = client.gather(asked)
    finally:
        os.sched_setaffinity(0, before)
    assert sorted(cores, key=min) == [{core} for core in mine]


@pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen on Linux")
@pytest.mark.parametrize(("workers", "kept_to"), [(2, [{7}]), (1, []), (3, [])])
def test_workers_that_are_more_or_fewer_than_cores_go_where_the_system_puts_them(monkeypatch, workers, kept_to):
    kept = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 7})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: kept.append(cores))
    dask_worker._keep_to_one_core(SimpleNamespace(name="1"), workers)
    assert kept == kept_to


@pytest.mark.slow
def test_a_submission_that_kills_two_workers_is_given_up_and_the_rest_go_on(course, solved, tmp_path):
    found = []
    for number in range(6):
        path = tmp_path / f"s{number}.ipynb"
        path.write_bytes(solved(("dhsum = (h", KILL_THE_WORKER + "\ndhsum = (h")) if number == 2 else solved())
        found.append(Found(student=path.stem, exercise="mini", path=str(path)))
    gradings = []
    with open_dask(course, ["mini"], "snapshot", "none", 2) as workers:
        workers.grade(found, gradings.append)
    grades = {grading.grade.student: grading.grade for grading in gradings}
    assert len(gradings) == len(grades) == 6
    killer = grades.pop("s2")
    assert killer.status == "ungradable"
    assert "Two workers died" in killer.reason
    assert killer.max_score == 16
    assert {grade.score for grade in grades.values()} == {16}


def test_the_course_travels_to_workers_as_its_files(course, tmp_path):
    copy = unpacked_course(course.packed(["mini"]), tmp_path)
    assert copy.exercise("mini").version == course.exercise("mini").version
    assert not list(tmp_path.rglob("*solution*"))


def test_a_worker_with_another_grader_is_refused(course, monkeypatch):
    plugin = dask_worker.GraderPlugin("run", course.packed(["mini"]), "cold", "none", children=0)
    monkeypatch.setattr(dask_worker, "grader_version", lambda: "0.0 torch 1.0")

    class Worker:
        address = "tcp://10.0.0.1:1"

    with pytest.raises(ClusterError, match="install the same versions"):
        plugin.setup(Worker())


@pytest.mark.parametrize(("submissions", "count"), [(3, None), (3, 2), (30, 2), (300, 1)])
def test_little_work_and_all_for_one_worker_are_done_in_this_process(course, submissions, count):
    found = [Found(student="s", exercise="mini", path="")] * submissions
    with open_workers(course, found, "cold", "none", count) as workers:
        assert isinstance(workers, InProcess)


@pytest.mark.parametrize(("submissions", "seconds", "most", "processes"), [
    (84, 0.12, 2, 2), (83, 0.12, 2, 1), (10_000, 0.12, 8, 8), (300, 0.12, 64, 7), (4, 60, 8, 4), (0, 60, 8, 1),
])  # fmt: skip
def test_every_process_has_as_much_to_do_as_it_takes_to_start(submissions, seconds, most, processes):
    assert _processes(submissions, seconds, most) == processes


def test_what_takes_long_is_handed_to_other_processes_each_once(pool, handed_in):
    opened = []

    def others(left, seconds):
        if len(left) > 1:
            return None
        opened.append(seconds)
        return contextlib.nullcontext(InProcess(pool))

    gradings = []
    InProcess(pool, others).grade(handed_in, gradings.append)
    assert [grading.grade.student for grading in gradings] == ["ann", "bob", "cy", "dee"]
    took = [grading.grade.wall_seconds for grading in gradings[:3]]
    assert opened == [pytest.approx(sum(took) / 3)]


def test_kernels_are_on_their_way_before_the_first_submission_is_graded(course, solved, monkeypatch):
    opened = []

    def watched(**wanted):
        opened.append(open_source(**wanted))
        return opened[-1]

    monkeypatch.setattr(pool_module, "open_source", watched)
    with open_workers(course, [Found(student="s", exercise="mini", path="")], "snapshot", "none") as workers:
        assert len(opened) == 1
        assert workers.pool.grade(Submission("s", "mini", solved())).grade.status == "graded"
        assert len(opened) == 1, "what was opened first was not used"


def grader(*arguments, cwd, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "grader", *arguments],
        cwd=cwd,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


@pytest.mark.parametrize(
    ("address", "message"), [("tcp://127.0.0.1:9", "doesn't answer"), ("nonsense://x", "isn't a scheduler's address")]
)
def test_a_scheduler_that_can_not_be_used_is_said(course, address, message, monkeypatch):
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 0.2)
    with pytest.raises(ClusterError, match=message), open_dask(course, ["mini"], "cold", "none", address):
        pass


@pytest.mark.slow
def test_a_cluster_that_is_there_already_needs_no_course_of_its_own(mini, solved, tmp_path_factory):
    for name in ("ann", "bob"):
        (mini / "handed-in" / f"{name}.ipynb").write_bytes(solved())
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with contextlib.ExitStack() as stack:

        def start(module, *arguments):
            command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
            process = subprocess.Popen(command, cwd=elsewhere, env=environment, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        address = elsewhere / "scheduler.json"
        options = ["--no-dashboard", "--scheduler-file", str(address)]
        start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", *options)
        start("dask_worker", "--nthreads", "1", *options)
        deadline = time.monotonic() + 60
        while not (address.exists() and address.read_bytes().endswith(b"}")) and time.monotonic() < deadline:
            time.sleep(0.1)  # it is there before it is written
        where = msgspec.json.decode(address.read_bytes())["address"]
        process = grader("grade", "handed-in", "--out", "out", "--scheduler", where, cwd=mini)
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "2 graded, 0 could not be graded" in stdout


@pytest.mark.slow
def test_ctrl_c_leaves_what_was_graded_and_no_process(mini, solved):
    for number in range(150):
        (mini / "handed-in" / f"s{number:03}.ipynb").write_bytes(solved())
    process = grader("grade", "handed-in", "--out", "out", "--workers", "2", cwd=mini)
    deadline = time.monotonic() + 120
    while not list((mini / "out").glob("*/mini.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    group = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stdout + stderr
    assert "stopped" in stderr
    assert "Traceback" not in stderr
    written = list((mini / "out").glob("*/mini.json"))
    assert 1 <= len(written) < 150
    for path in written:
        assert msgspec.json.decode(path.read_bytes())["score"] == 16
    psutil.wait_procs(group, timeout=10)
    assert not [child for child in group if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
