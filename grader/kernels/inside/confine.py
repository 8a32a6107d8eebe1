"""Linux namespaces, mounts, capabilities and limits for one kernel, through the C library."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import resource
import signal
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence

USER_ID = 1000
ROOM = "/kernel"
HOME, WORKDIR = f"{ROOM}/home", f"{ROOM}/exercise"
"""A kernel's only writable folders: its home, and the folder it starts in. Besides them /tmp and /dev/shm."""

_CLONE = {"x86_64": 56}.get(platform.machine(), 220)
_KEYCTL = {"x86_64": 250}.get(platform.machine(), 219)
_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_NAMESPACES = _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWUSER | _CLONE_NEWPID | _CLONE_NEWNET
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC = 2, 4, 8, 4096, 16384
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 4, 24, 38, 47
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_THIS_THREAD, _NO_CAPABILITIES = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_PIECE = 1 << 30
_WAITING_SIGNALS = 256

_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def _checked(result: int, what: str) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int = 0, address: int = 0) -> int:
    """The system call `prctl`; -1 where the system refuses."""
    return int(_libc.prctl(option, value, address, 0, 0))


def die_with_parent() -> None:
    """Be killed when the process that started this one ends."""
    parent = os.getppid()
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def fork_into_namespaces() -> int:
    """Like `os.fork`, but the child is process 1 of namespaces of its own.

    After `unshare` it would take a second fork until something is process 1. The C library doesn't know of this fork:
    the child may use it only plainly.
    """
    api = ctypes.pythonapi
    api.PyOS_BeforeFork()
    pid = int(_libc.syscall(_CLONE, _NAMESPACES | signal.SIGCHLD, 0, 0, 0, 0))
    if pid == 0:
        api.PyOS_AfterFork_Child()
    else:
        api.PyOS_AfterFork_Parent()
    return _checked(pid, "new namespaces")


def fork_into_family(family: int) -> int:
    """Like `os.fork`, but the child is in the PID namespace of the guardian that `family` (a pidfd) refers to.

    This process's later children go there too, until it calls this with another guardian.
    """
    _checked(_libc.setns(family, _CLONE_NEWPID), "a kernel's PID namespace")
    return os.fork()


def enter(family: int) -> None:
    """Enter a guardian's other namespaces, with every capability there."""
    _checked(_libc.setns(family, _NAMESPACES & ~_CLONE_NEWPID), "a kernel's namespaces")


# --- what the kernel sees ---------------------------------------------------------------------------------------------


def furnish(tmp_bytes: int, kept: Sequence[str]) -> None:
    """Give new namespaces their own user, folders, /proc, terminals and loopback. Runs in the guardian.

    The folder the template works in is copied. `kept` are paths below /tmp that stay visible: a Python environment.
    """
    _map_user()
    workdir = os.open(WORKDIR, os.O_DIRECTORY)
    shown = [(path, os.open(path, os.O_PATH)) for path in kept]
    _mount("tmpfs", ROOM, "tmpfs", _MS_NOSUID | _MS_NODEV, f"size={tmp_bytes},nr_inodes=16384,mode=0755")
    for name, mode in (("home", 0o700), ("tmp", 0o1777), ("shm", 0o1777)):
        os.mkdir(f"{ROOM}/{name}")
        os.chmod(f"{ROOM}/{name}", mode)
    _copy_folder(workdir, WORKDIR)
    os.close(workdir)
    _mount(f"{ROOM}/tmp", "/tmp", None, _MS_BIND)
    _mount(f"{ROOM}/shm", "/dev/shm", None, _MS_BIND)
    for path, descriptor in shown:
        os.makedirs(path)
        _mount(f"/proc/self/fd/{descriptor}", path, None, _MS_BIND | _MS_REC)  # with what covers parts of it
        os.close(descriptor)
    _mount("devpts", "/dev/pts", "devpts", _MS_NOSUID | _MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,max=16")
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("/dev/full", "/dev/zero", None, _MS_BIND)  # reads the same, and can't be mapped as memory of nobody's
    _write("/proc/sys/user/max_user_namespaces", "0")
    _raise_loopback()
    os.chdir(WORKDIR)


def _copy_folder(source: int, target: str) -> None:
    """Copy an open folder with its files, folders and symbolic links.

    As `shutil.copytree`, whose code alone is on as many pages of memory, each to be copied in a fork that runs it, as
    all else that a guardian does.
    """
    os.mkdir(target)
    with os.scandir(source) as entries:
        for entry in entries:
            path = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.name, dir_fd=source), path)
            elif entry.is_dir() or entry.is_file():  # and nothing that an open would wait for
                found = os.open(entry.name, os.O_RDONLY, dir_fd=source)
                if entry.is_dir():
                    _copy_folder(found, path)
                else:
                    _copy_file(found, path)
                os.chmod(path, os.fstat(found).st_mode & 0o7777)
                os.close(found)


def _copy_file(source: int, path: str) -> None:
    copy = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    while os.sendfile(copy, source, None, _PIECE):
        continue
    os.close(copy)


def _map_user() -> None:
    """Until its ids are mapped a process is nobody here and may not even write to its own tmpfs."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{USER_ID} {USER_ID} 1")
    _write("/proc/self/gid_map", f"{USER_ID} {USER_ID} 1")


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    arguments = [value.encode() if value is not None else None for value in (source, target, kind)]
    options = data.encode() if data is not None else None
    _checked(_libc.mount(*arguments, ctypes.c_ulong(flags), options), f"mount {target}")


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY)  # Python's own files would be more to load than this is to write
    os.write(file, text.encode())
    os.close(file)


def _raise_loopback() -> None:
    """Ipykernel collects the output of child processes over 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", _IFF_UP, b""))


# --- what it may do ---------------------------------------------------------------------------------------------------


def give_up_privileges() -> None:
    """Drop every capability for good. Capabilities belong to a thread: call this before there is a second one."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    number = 0
    while prctl(_PR_CAPBSET_DROP, number) == 0:
        number += 1
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _checked(_libc.capset(_THIS_THREAD, _NO_CAPABILITIES), "dropping capabilities")


def close_to_others() -> None:
    """Let no process of the same user look into this one or change it: they are students', and under limits."""
    prctl(_PR_SET_DUMPABLE, 0)


def set_limits(limits: Mapping[str, int], in_use: tuple[int, int], own_user: bool) -> None:
    """Set this process's resource limits (megabytes, counts, seconds), for itself and all it starts.

    The memory limit counts from what is `in_use` already: a fork of the template begins with torch in it. Processes
    can be limited only where they are counted for this kernel alone: `own_user`.
    """
    megabyte = 1 << 20
    total, data = in_use
    room = limits["memory_mb"] * megabyte
    _limit(resource.RLIMIT_AS, total + 2 * room + (1 << 30))
    _limit(resource.RLIMIT_DATA, data + room + room // 8)  # what was never touched counts here, and not in the watch
    _limit(resource.RLIMIT_FSIZE, limits["file_size_mb"] * megabyte)
    _limit(resource.RLIMIT_NOFILE, limits["open_files"])
    _limit(resource.RLIMIT_CPU, limits["cpu_seconds"] + 2)  # the template's watch, which can say why, comes first
    for nothing in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        _limit(nothing, 0)
    if own_user:
        _limit(resource.RLIMIT_SIGPENDING, _WAITING_SIGNALS)
        _limit(resource.RLIMIT_NPROC, limits["processes"])


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def memory_in_use() -> tuple[int, int]:
    """Address space and private writable memory of this process, in bytes."""
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmSize"].split()[0]) << 10, int(fields["VmData"].split()[0]) << 10


def leave_keyring() -> None:
    """Swap the session keyring, which is inherited from whoever started the grader, for an empty one."""
    _libc.syscall(_KEYCTL, 1, None)  # refused where the system has no keyrings: then there is nothing to leave


# --- processes --------------------------------------------------------------------------------------------------------


class ChildEnds:
    """A descriptor that becomes readable when children have ended."""

    def __enter__(self) -> ChildEnds:
        self._hear, self._tell = socket.socketpair()
        for end in (self._hear, self._tell):
            end.setblocking(False)
        signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._hear.close()
        self._tell.close()

    def fileno(self) -> int:
        """The descriptor."""
        return self._hear.fileno()

    def reap(self) -> Iterator[tuple[int, int, resource.struct_rusage]]:
        """Process ID, wait status and usage of each child that has ended."""
        try:
            self._hear.recv(4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            yield pid, status, usage


def exit_status(status: int) -> int:
    """A shell's number for how a process ended: its exit status, or 128 + the signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
