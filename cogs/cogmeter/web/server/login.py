"""The login page: takes the token once, and gives a session in its place. A plain form, which needs no script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from aiohttp import web

from cogmeter.web.api.problems import Problem
from cogmeter.web.api.request_parsing import read_bytes
from cogmeter.web.api.routing import QueryParams, Route
from cogmeter.web.server.context import guard_of
from cogmeter.web.server.html import page
from cogmeter.web.server.security import LOGIN, LOGOUT, SESSION_S

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

HOME: Final = "/"
MOST_FIELDS: Final = 10
# Paths of ours alone: a second slash or a backslash would lead to another host.
_OWN_PATH: Final = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,500}")


class LoginParams(QueryParams):
    """Where to go when it has worked."""

    next: str = HOME


def _safe(path: str) -> str:
    return path if _OWN_PATH.fullmatch(path) else HOME


def _to(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})


async def login_page(_monitor: Monitor, ask: LoginParams, request: web.Request) -> web.Response:
    """The form; without a token there is nothing to sign in to."""
    if not guard_of(request).has_token:
        return _to(_safe(ask.next))
    return page("login.html", next=_safe(ask.next), wrong="")


async def login(_monitor: Monitor, ask: LoginParams, request: web.Request) -> web.Response:
    """Begin a session, or show the form again."""
    guard = guard_of(request)
    given = (await _form(request)).get("token", "")
    try:
        known = guard.is_token(given, request)
    except Problem as problem:
        made = page("login.html", status=problem.status, next=_safe(ask.next), wrong=problem.detail)
        made.headers.update(problem.headers)
        return made
    if not known:
        wrong = "This is not the token in PERFORMANCE_HTTP_TOKEN"
        return page("login.html", status=401, next=_safe(ask.next), wrong=wrong)
    response = _to(_safe(ask.next))
    _set_cookie(response, request, guard.begin_session(), SESSION_S)
    return response


async def logout(_monitor: Monitor, request: web.Request) -> web.Response:
    """End the session."""
    guard = guard_of(request)
    guard.check_csrf((await _form(request)).get("csrf", ""))
    guard.end_session()
    response = _to(LOGIN)
    _set_cookie(response, request, "", 0)  # del_cookie() of older versions of aiohttp knows no flags
    return response


def _set_cookie(response: web.Response, request: web.Request, value: str, seconds: int) -> None:
    response.set_cookie(
        guard_of(request).cookie,
        value,
        max_age=seconds,
        path="/",
        httponly=True,
        samesite="Strict",
        secure=_by_https(request),
    )


def _by_https(request: web.Request) -> bool:
    """Whether the cookie may insist on https.

    A proxy's X-Forwarded-Proto is believed for this alone: who makes it up gets a cookie that is guarded more, and no
    other site can make a browser send it.
    """
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"


async def _form(request: web.Request) -> dict[str, str]:
    """The fields of a plain form, each once."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem.of(415, "Send the form as application/x-www-form-urlencoded")
    data = await read_bytes(request)
    try:
        fields = parse_qs(data.decode(errors="replace"), max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Problem.of(422, f"The form may have {MOST_FIELDS} fields", parameter="body") from None
    return {name: values[-1] for name, values in fields.items()}


ROUTES: Final = (
    Route("GET", LOGIN, login_page, "The login form", query=LoginParams, documented=False),
    Route("POST", LOGIN, login, "Begin a session", query=LoginParams, documented=False),
    Route("POST", LOGOUT, logout, "End the session", documented=False),
)
