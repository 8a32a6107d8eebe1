"""The application's addresses: which page or action answers which."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from grader.errors import GraderError
from grader.review import actions, pages, static
from grader.review.access import Guard, Rules, Session, parse_form, read_body
from grader.review.app_state import AppState
from grader.review.call import Call, Failed

Page = Callable[[AppState, Call], str]
_Endpoint = Callable[[Request], Awaitable[Response]]

_ACTIONS: dict[str, tuple[Page, Page]] = {
    "/mark": (actions.mark, pages.work),
    "/comment": (actions.comment, pages.work),
    "/dispute": (actions.dispute, pages.work),
    "/settle": (actions.settle, pages.work),
    "/take-back": (actions.take_back, pages.work),
    "/comment-all": (actions.comment_all, pages.class_table),
    "/regrade": (actions.regrade, pages.after_regrade),
    "/feedback": (actions.feedback, pages.feedback),
}
"""Each action, and the page that says why it did nothing."""


_NO_GRADEBOOK = "The gradebook can't be reached, and nothing was saved: go back, and try again in a moment."


def make_app(state: AppState, rules: Rules) -> ASGIApp:
    """The whole application, behind its guard."""
    routes = [
        Route("/", _redirect),
        Route("/queue", _page(state, pages.queue)),
        Route("/item/{key}", _page(state, pages.work)),
        Route("/submission", _page(state, pages.work)),
        Route("/class", _page(state, pages.class_table)),
        Route("/feedback", _page(state, pages.feedback)),
        Route("/regrade", _page(state, pages.regrading)),
        Route("/static/{name}", _static),
        *(Route(path, _action(state, *each), methods=["POST"]) for path, each in _ACTIONS.items()),
    ]
    return Guard(Starlette(routes=routes), rules)


async def _redirect(_: Request) -> Response:
    return RedirectResponse("/queue", 303)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in static.TYPES:
        return PlainTextResponse("There is no such file.", 404)
    kept = static.is_current(name, request.query_params.get("v"))
    caching = {"Cache-Control": "private, max-age=86400"} if kept else {}
    return Response(static.content(name), media_type=static.TYPES[name], headers=caching)


def _page(state: AppState, page: Page) -> _Endpoint:
    async def answer(request: Request) -> Response:
        call = Call(request.url.path, request.query_params, {}, _session(request))
        try:
            text = await run_in_threadpool(page, state, call)
        except pages.NotThere as error:
            return HTMLResponse(await run_in_threadpool(pages.problem, state, call, str(error)), 404)
        except SQLAlchemyError:
            return PlainTextResponse(_NO_GRADEBOOK, 503)
        except GraderError as error:  # a template of the course's own, say
            return PlainTextResponse(str(error), 500)
        return HTMLResponse(text)

    return answer


def _action(state: AppState, action: Page, page: Page) -> _Endpoint:
    async def answer(request: Request) -> Response:
        session = _session(request)
        form = parse_form(await read_body(request))
        call = Call(request.url.path, {}, form, session)
        if not hmac.compare_digest(form.get("csrf", "").encode(), session.csrf.encode()):
            text = "This form is from an earlier session, or too large. Load the page again; nothing was saved."
            return HTMLResponse(await run_in_threadpool(pages.problem, state, call, text), 403)
        try:
            return RedirectResponse(await run_in_threadpool(action, state, call), 303)
        except GraderError as error:
            call.failed = Failed(str(error), form)
        except SQLAlchemyError:
            return PlainTextResponse(_NO_GRADEBOOK, 503)
        try:
            return HTMLResponse(await run_in_threadpool(page, state, call), 409)
        except pages.NotThere:
            return HTMLResponse(await run_in_threadpool(pages.problem, state, call, call.failed.message), 409)

    return answer


def _session(request: Request) -> Session:
    session = request.state.session
    assert isinstance(session, Session)
    return session
