"""Who may use the application, and what a browser may do with its pages.

Everything is refused that doesn't come from a page of ours, under a name of ours, with a session's cookie.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from grader.records import Record
from grader.reports.html import render
from grader.review.users import Users
from grader.timestamps import now

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, Chromium sends `Origin: null` with forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MAX_BODY = 2**20
_SESSIONS = 1000
_ENTRY = (
    '<!DOCTYPE html><html lang="en"><title>Review</title><link rel="icon" href="data:,">'
    '<meta http-equiv="refresh" content="0;url=/queue">'
)
"""A cookie that is SameSite=Strict is not sent along when another site's link led here: this page leads on."""


class Rules(Record, frozen=True, kw_only=True):
    """How people get in.

    Args:
        token: in the address that is printed; None where there are users or a proxy.
        name: who comes with the token.
        hosts: the names under which the server may be asked, without a port.
        users: those who may log in.
        header: the header in which a reverse proxy at `proxy` says who it is.
        cookie: its name; cookies are shared by all ports of a host.
    """

    token: str | None
    name: str
    hosts: Collection[str]
    users: Users | None = None
    header: str | None = None
    proxy: str = "127.0.0.1"
    cookie: str = "grader-review"


class Session:
    """Somebody at work: `flash` is said once on their next page, `since` is when they came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.csrf = secrets.token_urlsafe(24)
        self.flash: str | None = None
        self.since = now()


class Guard:
    """Middleware: answers what must not get through, and puts the `Session` into the request's state.

    Args:
        app: the application.
        rules: how people get in.
    """

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app = app
        self.rules = rules
        self._sessions: dict[str, Session] = {}
        self._by_proxy: dict[str, Session] = {}
        self._guessing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI interface."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope, receive)
        response = self._refused(request) or await self._entering(request)
        if response is not None:
            await response(scope, receive, sent)
            return
        await self.app(scope, receive, sent)

    def _refused(self, request: Request) -> Response | None:
        """Why a request isn't looked at, whoever sends it."""
        if _host(request.headers) not in self.rules.hosts:
            return PlainTextResponse("This server isn't known by that name: add it with --name.", 421)
        if request.method not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("Only GET and POST are answered.", 405)
        if request.method == "POST":
            origin = request.headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
                return PlainTextResponse("This form was sent by a page on another site.", 403)
            if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return PlainTextResponse("This form was sent by a page on another site.", 403)
        return None

    async def _entering(self, request: Request) -> Response | None:
        """What somebody gets who isn't in yet; None for those who are."""
        rules = self.rules
        if request.url.path.startswith("/static/"):
            return None
        if rules.header is not None:
            return self._by_header(request, rules.header)
        session = self._sessions.get(_cookie(request, rules.cookie))
        if session is not None:
            request.scope.setdefault("state", {})["session"] = session
            return None
        if rules.users is not None:
            return await self._by_password(request, rules.users)
        given = parse_qs(request.url.query).get("token", [""])[0]
        if rules.token is not None and hmac.compare_digest(given.encode(), rules.token.encode()):
            return self._let_in(request, rules.name)
        return PlainTextResponse("Open the address that `grader review` printed, with its token.", 403)

    def _by_header(self, request: Request, header: str) -> Response | None:
        name = request.headers.get(header, "").strip()
        if request.client is None or request.client.host != self.rules.proxy:
            return PlainTextResponse("Only the reverse proxy may ask this server.", 403)
        if not name or not name.isprintable() or len(name) > 200:
            return PlainTextResponse(f"The reverse proxy named no user in {header}.", 403)
        session = self._by_proxy.setdefault(name, Session(name))
        request.scope.setdefault("state", {})["session"] = session
        return None

    async def _by_password(self, request: Request, users: Users) -> Response | None:
        if request.method != "POST" or request.url.path != "/login":
            return _login_page(None)
        form = parse_form(await read_body(request))
        name = form.get("name", "").strip()
        async with self._guessing:
            if await run_in_threadpool(users.knows, name, form.get("password", "")):
                return self._let_in(request, name)
            await asyncio.sleep(1)  # one guess a second, whoever guesses
        return _login_page("The name or the password is wrong.")

    def _let_in(self, request: Request, name: str) -> Response:
        if len(self._sessions) >= _SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        key = secrets.token_urlsafe(32)
        self._sessions[key] = Session(name)
        response = HTMLResponse(_ENTRY)
        tls = request.headers.get("x-forwarded-proto") == "https"  # a lie would only keep the cookie from its sender
        response.set_cookie(self.rules.cookie, key, httponly=True, samesite="strict", secure=tls, path="/")
        return response


def _login_page(problem: str | None) -> Response:
    """The form on which people say who they are; `problem` says why the last try failed."""
    return HTMLResponse(render("review/login.html.jinja", None, problem=problem), 401)


async def read_body(request: Request) -> bytes:
    """The body, up to `MAX_BODY`; what is longer is cut off, and then lacks its token."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            return b""
    return body


def parse_form(body: bytes) -> dict[str, str]:
    """A form's fields; of several of one name the last."""
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200)
    except ValueError:  # more fields than any form of ours has
        return {}
    return {name: values[-1] for name, values in fields.items()}


def _host(headers: Headers) -> str:
    """The name under which the server was asked, without its port."""
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _cookie(request: Request, name: str) -> str:
    try:
        morsel = SimpleCookie(request.headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""
