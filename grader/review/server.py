"""`grader review`: one gradebook, served to a browser."""

from __future__ import annotations

import contextlib
import getpass
import secrets
import signal
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uvicorn
from filelock import FileLock, Timeout

from grader.choices import Sandbox
from grader.course.course import Course
from grader.errors import UsageError
from grader.files import as_text
from grader.gradebook.gradebook import Gradebook
from grader.records import Record
from grader.review.access import Rules
from grader.review.app import make_app
from grader.review.app_state import AppState
from grader.review.class_cache import ClassCache
from grader.review.regrade import Regrader
from grader.review.reports_on_disk import ReportsOnDisk
from grader.review.users import Users

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Options(Record, frozen=True, kw_only=True):
    """How to serve: the options of `grader review`."""

    folder: Path | None
    gradebook: str
    host: str | None = None
    port: int = 0
    names: list[str] = []
    users: Path | None = None
    proxy_header: str | None = None
    proxy: str = "127.0.0.1"
    sandbox: Sandbox = "bwrap"
    open_browser: bool = True


def serve(options: Options, course: Course, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `say` is told the address.

    Raises:
        UsageError: the options don't fit, the port is taken, or somebody else reviews this SQLite gradebook.
    """
    rules, shown = access_rules(options)
    listening = _listening(options.host or "127.0.0.1", options.port)
    with listening, _only_one(options.gradebook), Gradebook(options.gradebook) as book:
        port = listening.getsockname()[1]
        rules = msgspec.structs.replace(rules, cookie=f"grader-review-{port}")
        with open_state(options, course, book) as state:
            config = uvicorn.Config(
                make_app(state, rules), log_level="warning", access_log=False, server_header=False, ws="none",
                lifespan="off", proxy_headers=False, timeout_graceful_shutdown=5,
            )  # fmt: skip
            address = f"http://{_bracketed(shown)}:{port}/"
            if rules.token is not None:
                address += f"queue?token={rules.token}"
            listening.listen(128)  # whoever reads the address may ask at once
            say(address)
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn raises what stopped it once more
            with (
                _opened(address) if options.open_browser else contextlib.nullcontext(),
                contextlib.suppress(KeyboardInterrupt),
            ):
                uvicorn.Server(config).run(sockets=[listening])


@contextlib.contextmanager
def open_state(options: Options, course: Course, book: Gradebook) -> Iterator[AppState]:
    """All that the pages work with; what is still to be written is written when it is closed."""
    cache = ClassCache(book, course)
    reports = ReportsOnDisk(book, course, options.folder)

    def looked_again() -> None:
        cache.compare()
        reports.groups = cache.groups or []
        reports.catch_up()

    regrader = Regrader(course, options.gradebook, options.folder, options.sandbox, looked_again)
    threading.Thread(target=looked_again, daemon=True).start()
    try:
        yield AppState(book, course, options.folder, cache, reports, regrader)
    finally:
        regrader.stop()
        reports.close()


def access_rules(options: Options) -> tuple[Rules, str]:
    """Who may come in, and the host's name in the address to print.

    Raises:
        UsageError: a host other than loopback is named, and nothing says who may come in.
    """
    host = options.host or "127.0.0.1"
    users = Users(options.users) if options.users is not None else None
    if users is not None and not users:
        raise UsageError(f"{str(options.users)!r} has no users yet: add one with --add-user NAME.")
    if host not in LOOPBACK and users is None and options.proxy_header is None:
        raise UsageError(
            "--host opens the gradebook to others: say who they are with --users FILE, or with --proxy-header NAME "
            "behind a reverse proxy that checks it."
        )
    if users is not None and options.proxy_header is not None:
        raise UsageError("--users and --proxy-header both say who people are: give one of the two.")
    anywhere = host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    if anywhere and not options.names:
        raise UsageError(f"--host {host} answers to any name: say with --name which are right.")
    names = {*options.names, *([] if anywhere else [host]), *(LOOPBACK if host in LOOPBACK else [])}
    token = secrets.token_urlsafe(24) if users is None and options.proxy_header is None else None
    rules = Rules(
        token=token, name=_own_name(), hosts=frozenset(name.lower() for name in names), users=users,
        header=options.proxy_header, proxy=options.proxy,
    )  # fmt: skip
    return rules, options.names[0] if options.names else host


def _own_name() -> str:
    try:
        return as_text(getpass.getuser())
    except (KeyError, OSError):  # a container's user may have no name
        return "instructor"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise UsageError(f"Port {port} of {host} can't be used ({error.strerror}): choose another.") from error
    return listening


@contextlib.contextmanager
def _only_one(gradebook: str) -> Iterator[None]:
    """One review at a time of an SQLite file; the lock goes with the process, however that ends."""
    path = gradebook.removeprefix("sqlite:///")
    if "://" in path:
        yield
        return
    try:
        lock = FileLock(f"{path}.review-lock").acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"Somebody else is reviewing {path!r}, and an SQLite file has one writer at a time: wait until "
            "they are done, use their server, or keep the gradebook in PostgreSQL."
        ) from error
    except OSError as error:
        raise UsageError(f"{path!r} can't be locked ({error.strerror}): its folder must be writable.") from error
    with lock:
        yield


@contextlib.contextmanager
def _opened(address: str) -> Iterator[None]:
    """Open a browser. The token goes by a file that only its owner reads: everybody sees a program's arguments."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "review.html"
        page.touch(mode=0o600)
        page.write_text(f'<!DOCTYPE html><meta http-equiv="refresh" content="0;url={address}">', encoding="utf-8")
        threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()
        yield
