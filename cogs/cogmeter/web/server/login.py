"""The login pages: exchange the token, or a one-time code, for a session. Plain forms that work without scripts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from cogmeter.query.query import now_us
from cogmeter.times import SECOND_US, iso
from cogmeter.web.api.bodies import read_bytes
from cogmeter.web.api.params import QueryParams
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import Route, guard_of, monitor_of
from cogmeter.web.server import login_codes
from cogmeter.web.server.assets import html_response
from cogmeter.web.server.login_codes import OPEN
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


class CodeParams(QueryParams):
    """Parameters: the one-time code."""

    code: str = ""


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


async def open_page(_monitor: Monitor, params: CodeParams, request: web.Request) -> web.Response:
    """Show a button that uses the code. Previews and prefetches only read the page, so that the code stays valid."""
    guard = guard_of(request)
    if not guard.has_token:
        return _redirect(HOME)
    if guard.code_of(params.code, request, use=False) is None:
        return _no_code(request)
    return html_response("open.html", code=params.code)


async def open_dashboard(monitor: Monitor, request: web.Request) -> web.Response:
    """Use the code and start a session."""
    guard = guard_of(request)
    if not guard.has_token:
        return _redirect(HOME)
    code = guard.code_of((await _form(request)).get("code", ""), request, use=True)
    if code is None:
        return _no_code(request)
    until = iso(now_us() + login_codes.SESSION_S * SECOND_US, unit_us=SECOND_US)
    text = f"requested at {iso(code.issued_us, unit_us=SECOND_US)}, session until {until}"
    await login_codes.audit(monitor.store.alerting, code.actor, "use", text)
    response = _redirect(HOME)
    _set_cookie(response, request, guard.start_session(login_codes.SESSION_S), login_codes.SESSION_S)
    return response


def _no_code(request: web.Request) -> web.Response:
    group = monitor_of(request).settings.command_group
    return html_response("open.html", status=410, code="", group=group)


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
    make a browser send it. A proxy that does not send it is known by PERFORMANCE_DASHBOARD_URL.
    """
    known = urlsplit(monitor_of(request).settings.dashboard_url or "")
    by_url = known.scheme == "https" and request.headers.get("Host", "").lower() == known.netloc
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https" or by_url


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
    Route("GET", OPEN, open_page, "Show the page of a one-time code", query=CodeParams, documented=False),
    Route("POST", OPEN, open_dashboard, "Start a session with a one-time code", changes=True, documented=False),
)
