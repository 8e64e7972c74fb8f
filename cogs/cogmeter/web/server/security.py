"""Access control by token, session, origin and host name. SECURITY.md describes the threats."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

from cogmeter.settings import LOCAL_NAMES
from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import CALLER, Caller
from cogmeter.web.server.limits import RateLimit
from cogmeter.web.server.login_codes import OPEN, LoginCodes

if TYPE_CHECKING:
    from aiohttp import web

    from cogmeter.web.server.login_codes import LoginCode

LOGIN: Final = "/performance/login"
LOGOUT: Final = "/performance/logout"
STATUS: Final = "/status"
STATUS_JSON: Final = "/status.json"
BADGE: Final = "/status/badge.svg"
FORMS: Final = frozenset({LOGIN, LOGOUT, OPEN})  # plain forms cannot send the CSRF header; logout checks its own field
# Served without a token, like the paths below.
PUBLIC: Final = ("/health", "/favicon.ico", LOGIN, OPEN, STATUS, STATUS_JSON, BADGE)
PUBLIC_BELOW: Final = ("/health/", "/performance/static/")
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER: Final = "X-CSRF-Token"
SESSION_S: Final = 7 * 86_400
MOST_ENDED: Final = 1_000  # ended sessions that are remembered
ATTEMPTS: Final = 10  # wrong tokens and codes from one address within ATTEMPTS_S
ATTEMPTS_S: Final = 60.0
FORWARDED: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
# A complete Host header; urllib.parse accepts the first part of invalid ones, such as [::1].evil.
_HOST: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]{1,253}))(?::[0-9]{1,5})?"
)


def is_public(path: str) -> bool:
    """Return True if the path is served without a token."""
    return path in PUBLIC or path.startswith(PUBLIC_BELOW)


class Guard:
    """Admits or refuses requests. All servers of a bot share one."""

    def __init__(self, token: str | None) -> None:
        """Without a token, only this machine is served, and a random secret of this start signs the CSRF tokens."""
        self._token = None if token is None else token.encode()
        secret = secrets.token_bytes(32) if self._token is None else self._token
        # A separate key for each use, so that no sent value reveals the token.
        self._key = hmac.digest(secret, b"cogmeter sessions", "sha256")
        name = hmac.digest(secret, b"cogmeter cookie", "sha256").hex()[:8]
        self.cookie: str = f"cogmeter_{name}"  # two bots on one host name keep separate sessions
        self._ended: dict[str, float] = {}
        self.codes = LoginCodes()
        self._attempts = RateLimit(ATTEMPTS, ATTEMPTS_S)

    @property
    def has_token(self) -> bool:
        """True if a token is configured."""
        return self._token is not None

    def admit(self, request: web.Request) -> None:
        """Admit the request and set its caller.

        Raises:
            Problem: 401 without a token or session, 403 from another site, 429 after too many wrong tokens.
        """
        if not self.has_token:
            self._check_local(request)
        by_token = self._signed_in(request)
        if request.method in SAFE or by_token or request.match_info.http_exception is not None:
            return  # it only reads, carries the token itself, or matches no route
        self.check_origin(request)
        if request.path not in FORMS:
            self.check_csrf(request.headers.get(CSRF_HEADER, ""))

    def _signed_in(self, request: web.Request) -> bool:
        """Return True if the request carries the token itself; sessions and public paths need none."""
        header = request.headers.get("Authorization")
        if self.has_token and header is not None and not is_public(request.path):
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer" or not self.is_token(token.strip(), request):
                raise self._unauthorised("Wrong token. Use the value of PERFORMANCE_HTTP_TOKEN")
            CALLER.set(Caller("api"))
            return True
        session = self.session_of(request.cookies.get(self.cookie, ""))
        if session is None and self.has_token and not is_public(request.path):
            raise self._unauthorised("Send the token as Authorization: Bearer, or sign in at /performance/login")
        CALLER.set(Caller("dashboard", session or ""))
        return False

    def is_token(self, text: str, request: web.Request) -> bool:
        """Return True for the token; count a wrong one for its address.

        The right token is always accepted, so that other clients behind the same proxy cannot lock the owner out.

        Raises:
            Problem: 429; it is wrong, and there were too many wrong ones before.
        """
        if self._token is None or hmac.compare_digest(text.encode(errors="surrogateescape"), self._token):
            return self._token is not None
        self._count_wrong(request, "tokens")
        return False

    def code_of(self, text: str, request: web.Request, *, use: bool) -> LoginCode | None:
        """Return the valid one-time code with this text; ``use`` makes it invalid. Count a wrong one for its address.

        Raises:
            Problem: 429; it is wrong, and there were too many wrong ones before.
        """
        code = self.codes.use(text) if use else self.codes.find(text)
        if code is None:
            self._count_wrong(request, "links")
        return code

    def _count_wrong(self, request: web.Request, what: str) -> None:
        if wait_s := self._attempts.count(request.remote or ""):
            detail = f"Too many wrong {what}. Try again in {wait_s} s"
            raise Problem.of(429, detail, headers={"Retry-After": str(wait_s)})

    @staticmethod
    def _unauthorised(detail: str) -> Problem:
        return Problem.of(401, detail, headers={"WWW-Authenticate": 'Bearer realm="cogmeter"'})

    # Sessions -------------------------------------------------------------------------------------------------

    def start_session(self, length_s: int = SESSION_S) -> str:
        """Return the cookie value of a new session; it is signed and does not contain the token."""
        number = f"{int(time.time()) + length_s}.{secrets.token_urlsafe(16)}"
        return f"{number}.{self._sign('session', number)}"

    def session_of(self, value: str) -> str | None:
        """Return the session number in a cookie value; None if it is forged, expired or ended."""
        number, _, signature = value.rpartition(".")
        expected = self._sign("session", number)
        if not hmac.compare_digest(signature.encode(errors="replace"), expected.encode()):
            return None
        return number if self._is_open(number) else None

    def still_admits(self, caller: Caller) -> bool:
        """Return True while the caller's session is open: a live stream ends with its session."""
        return not self.has_token or caller.actor == "api" or self._is_open(caller.session)

    def _is_open(self, number: str) -> bool:
        return number not in self._ended and int(number.partition(".")[0]) > time.time()

    def end_session(self) -> None:
        """End the caller's session, also for copies of its cookie."""
        number = CALLER.get().session
        if number:
            self._ended = dict(list(self._ended.items())[-MOST_ENDED + 1 :])
            self._ended[number] = time.time()

    def _sign(self, use: str, text: str) -> str:
        return hmac.new(self._key, f"{use}:{text}".encode(errors="replace"), hashlib.sha256).hexdigest()

    # Origin ---------------------------------------------------------------------------------------------------

    def csrf_token(self) -> str:
        """Return the token that our pages send back as X-CSRF-Token with each change; bound to the session."""
        return self._sign("csrf", CALLER.get().session)

    def check_csrf(self, token: str) -> None:
        """Refuse a change that does not come from one of our pages.

        Raises:
            Problem: 403.
        """
        if not hmac.compare_digest(token.encode(errors="replace"), self.csrf_token().encode()):
            raise Problem.of(403, f"The header {CSRF_HEADER} is not valid. Reload the page")

    @staticmethod
    def check_origin(request: web.Request) -> None:
        """Refuse a change that another site sends through a user's browser.

        Raises:
            Problem: 403; it comes from another site, or has no origin.
        """
        fetch = request.headers.get("Sec-Fetch-Site")
        origin = _single(request, "Origin") if "Origin" in request.headers else None
        if fetch is None and origin is None:
            raise Problem.of(403, "A change needs the header Origin, or the token as Authorization: Bearer")
        # The scheme is not compared: behind a proxy that terminates TLS it differs.
        same = origin is None or host_of_origin(origin) == _single(request, "Host").lower()
        if fetch not in {None, "same-origin"} or not same:
            raise Problem.of(403, "Changes from another site are refused. Behind a proxy, forward the Host header")

    @staticmethod
    def _check_local(request: web.Request) -> None:
        """Without a token, refuse other host names (DNS rebinding), proxies, and pages of other sites."""
        if any(name in request.headers for name in FORWARDED):
            raise Problem.of(403, "Behind a proxy, set PERFORMANCE_HTTP_TOKEN")
        # An absolute target would take precedence over the header.
        own_path = request.raw_path.startswith("/") or request.raw_path == "*"
        if host_name(_single(request, "Host")) not in LOCAL_NAMES or not own_path:
            raise Problem.of(403, "Without PERFORMANCE_HTTP_TOKEN, use localhost, 127.0.0.1 or [::1] as the host name")
        # Another site's page could not read the response, but could cause load. Links from it are allowed.
        fetch, mode = request.headers.get("Sec-Fetch-Site"), request.headers.get("Sec-Fetch-Mode")
        if fetch == "cross-site" and mode != "navigate":
            raise Problem.of(403, "Requests from another site's page are refused")


def client_of(request: web.Request) -> str:
    """Return the address of a client; behind a proxy on this machine or in its network, the one that the proxy saw."""
    remote = request.remote or ""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(remote).is_private and "X-Forwarded-For" in request.headers:
            return request.headers.getall("X-Forwarded-For")[-1].rpartition(",")[2].strip()[:64] or remote
    return remote


def host_name(host: str) -> str | None:
    """Return the name in a Host header in lower case, without port and brackets; None if it is malformed."""
    match = _HOST.fullmatch(host)
    return None if match is None else (match["ipv6"] or match["name"]).lower()


def host_of_origin(origin: str) -> str | None:
    """Return the host and port in an Origin header in lower case; None for another scheme or a malformed one."""
    scheme, _, host = origin.partition("://")
    return host.lower() if scheme.lower() in {"http", "https"} and host_name(host) is not None else None


def _single(request: web.Request, name: str) -> str:
    """Return the value of a header; empty where it is missing or sent more than once."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else ""
