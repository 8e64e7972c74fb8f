"""The login page: exchanges the token for a session. A plain form that works without scripts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from aiohttp import web

from cogmeter.web.api.bodies import read_bytes
from cogmeter.web.api.params import QueryParams
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import Route, guard_of
from cogmeter.web.server.assets import html_response
from cogmeter.web.server.security import LOGIN, LOGOUT, SESSION_S

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor

HOME: Final = "/"
MOST_FIELDS: Final = 10
# Only our own paths: a second slash or a backslash would lead to another host.
_OWN_PATH: Final = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,500}")


class LoginParams(QueryParams):
    """Parameters: the page to open after the login."""

    next: str = HOME


def _safe(path: str) -> str:
    return path if _OWN_PATH.fullmatch(path) else HOME


def _redirect(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})


async def login_page(_monitor: Monitor, params: LoginParams, request: web.Request) -> web.Response:
    """Show the form; without a configured token, redirect at once."""
    if not guard_of(request).has_token:
        return _redirect(_safe(params.next))
    return html_response("login.html", next=_safe(params.next), wrong="")


async def login(_monitor: Monitor, params: LoginParams, request: web.Request) -> web.Response:
    """Start a session, or show the form again."""
    guard = guard_of(request)
    token = (await _form(request)).get("token", "")
    try:
        accepted = guard.is_token(token, request)
    except Problem as problem:
        page = html_response("login.html", status=problem.status, next=_safe(params.next), wrong=problem.detail)
        page.headers.update(problem.headers)
        return page
    if not accepted:
        wrong = "Wrong token. Use the value of PERFORMANCE_HTTP_TOKEN"
        return html_response("login.html", status=401, next=_safe(params.next), wrong=wrong)
    response = _redirect(_safe(params.next))
    _set_cookie(response, request, guard.start_session(), SESSION_S)
    return response


async def logout(_monitor: Monitor, request: web.Request) -> web.Response:
    """End the session."""
    guard = guard_of(request)
    guard.check_csrf((await _form(request)).get("csrf", ""))
    guard.end_session()
    response = _redirect(LOGIN)
    _set_cookie(response, request, "", 0)  # del_cookie() of older aiohttp versions has no flags
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
    """Return True if the cookie may require https.

    Only here a proxy's X-Forwarded-Proto is trusted: forging it only makes the cookie stricter, and another site cannot
    make a browser send it.
    """
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"


async def _form(request: web.Request) -> dict[str, str]:
    """Return the fields of a plain form; of a repeated one, the last value."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem.of(415, "Send the form as application/x-www-form-urlencoded")
    data = await read_bytes(request)
    try:
        fields = parse_qs(data.decode(errors="replace"), max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Problem.of(
            422, f"The form has too many fields. At most {MOST_FIELDS} are allowed", parameter="body"
        ) from None
    return {name: values[-1] for name, values in fields.items()}


ROUTES: Final = (
    Route("GET", LOGIN, login_page, "Show the login form", query=LoginParams, documented=False),
    Route("POST", LOGIN, login, "Start a session", query=LoginParams, documented=False),
    Route("POST", LOGOUT, logout, "End the session", documented=False),
)
