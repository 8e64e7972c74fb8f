"""Who may ask, and from where: token, session, origin and host name. SECURITY.md says against whom."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

from cogmeter.web.api.problems import Problem
from cogmeter.web.api.routing import CALLER, Caller
from cogmeter.web.server.limits import LoginAttempts

if TYPE_CHECKING:
    from aiohttp import web

LOGIN: Final = "/performance/login"
LOGOUT: Final = "/performance/logout"
FORMS: Final = frozenset({LOGIN, LOGOUT})  # plain forms, which cannot send a header; logout looks at its own field
PUBLIC: Final = ("/health", "/favicon.ico", LOGIN)  # served without a token, and so is what is below
PUBLIC_BELOW: Final = ("/health/", "/performance/static/")
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER: Final = "X-CSRF-Token"
SESSION_S: Final = 7 * 86_400
MOST_ENDED: Final = 1_000  # sessions remembered as ended
FORWARDED: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# A whole Host header; urllib.parse takes the first part of many that are none, such as [::1].evil.
_HOST: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]{1,253}))(?::[0-9]{1,5})?"
)


def is_public(path: str) -> bool:
    """Whether the path is served without a token."""
    return path in PUBLIC or path.startswith(PUBLIC_BELOW)


class Guard:
    """Admits requests or refuses them. All servers of a bot share one."""

    def __init__(self, token: str | None) -> None:
        """Without a token only this machine is served, and changes are held together by a secret of this start."""
        self._token = None if token is None else token.encode()
        secret = secrets.token_bytes(32) if self._token is None else self._token
        # Keys of their own for each use, so that nothing that leaves is the token or leads to it.
        self._key = hmac.digest(secret, b"cogmeter sessions", "sha256")
        name = hmac.digest(secret, b"cogmeter cookie", "sha256").hex()[:8]
        self.cookie: str = f"cogmeter_{name}"  # two bots on one host name do not end each other's sessions
        self._ended: dict[str, float] = {}
        self._tries = LoginAttempts()

    @property
    def has_token(self) -> bool:
        """Whether a token is asked for."""
        return self._token is not None

    def admit(self, request: web.Request) -> None:
        """Let the request pass, noting who it is.

        Raises:
            Problem: 401 without a token or session, 403 from elsewhere, 429 after too many wrong tokens.
        """
        if not self.has_token:
            self._check_local(request)
        by_token = self._signed_in(request)
        if request.method in SAFE or by_token or request.match_info.http_exception is not None:
            return  # it reads, or brings the token itself, or leads nowhere
        self.check_origin(request)
        if request.path not in FORMS:
            self.check_csrf(request.headers.get(CSRF_HEADER, ""))

    def _signed_in(self, request: web.Request) -> bool:
        """Whether the request carries the token itself; a session or a public path does without."""
        given = request.headers.get("Authorization")
        if self.has_token and given is not None and not is_public(request.path):
            scheme, _, token = given.partition(" ")
            if scheme.lower() != "bearer" or not self.is_token(token.strip(), request):
                raise self._unauthorised("The token is not the one in PERFORMANCE_HTTP_TOKEN")
            CALLER.set(Caller("api"))
            return True
        session = self.session_of(request.cookies.get(self.cookie, ""))
        if session is None and self.has_token and not is_public(request.path):
            raise self._unauthorised("Send the token as Authorization: Bearer, or sign in at /performance/login")
        CALLER.set(Caller("dashboard", session or ""))
        return False

    def is_token(self, given: str, request: web.Request) -> bool:
        """Whether this is the token; a wrong one is counted against the address it comes from.

        The right one always passes: it cannot be guessed, and strangers behind the same proxy shall lock nobody out.

        Raises:
            Problem: 429; it is wrong, and so were too many before it.
        """
        if self._token is None or hmac.compare_digest(given.encode(errors="surrogateescape"), self._token):
            return self._token is not None
        wait_s = self._tries.failed(request.remote or "")
        if wait_s:
            headers = {"Retry-After": str(wait_s)}
            raise Problem.of(429, f"Too many wrong tokens; try again in {wait_s} s", headers=headers)
        return False

    @staticmethod
    def _unauthorised(detail: str) -> Problem:
        return Problem.of(401, detail, headers={"WWW-Authenticate": 'Bearer realm="cogmeter"'})

    # Sessions -------------------------------------------------------------------------------------------------

    def begin_session(self) -> str:
        """The cookie's value of a new session; it is signed, and holds nothing of the token."""
        number = f"{int(time.time()) + SESSION_S}.{secrets.token_urlsafe(16)}"
        return f"{number}.{self._sign('session', number)}"

    def session_of(self, value: str) -> str | None:
        """The number of the session that the cookie's value holds; None if it is forged, over or ended."""
        number, _, signature = value.rpartition(".")
        expected = self._sign("session", number)
        if not hmac.compare_digest(signature.encode(errors="replace"), expected.encode()):
            return None
        return number if self._is_open(number) else None

    def holds(self, caller: Caller) -> bool:
        """Whether who was admitted still would be: a live stream ends with its session."""
        return not self.has_token or caller.actor == "api" or self._is_open(caller.session)

    def _is_open(self, number: str) -> bool:
        return number not in self._ended and int(number.partition(".")[0]) > time.time()

    def end_session(self) -> None:
        """Forget the session of who asks, wherever else its cookie may be."""
        number = CALLER.get().session
        if number:
            self._ended = dict(list(self._ended.items())[-MOST_ENDED + 1 :])
            self._ended[number] = time.time()

    def _sign(self, use: str, text: str) -> str:
        return hmac.new(self._key, f"{use}:{text}".encode(errors="replace"), hashlib.sha256).hexdigest()

    # Where it comes from --------------------------------------------------------------------------------------

    def csrf_token(self) -> str:
        """What a page of ours sends back as X-CSRF-Token with each change; bound to its session."""
        return self._sign("csrf", CALLER.get().session)

    def check_csrf(self, given: str) -> None:
        """Refuse a change that does not come from a page of ours.

        Raises:
            Problem: 403.
        """
        if not hmac.compare_digest(given.encode(errors="replace"), self.csrf_token().encode()):
            raise Problem.of(403, f"The page is too old, or not ours: {CSRF_HEADER} does not fit; reload the page")

    @staticmethod
    def check_origin(request: web.Request) -> None:
        """Refuse a change that another site sends through somebody's browser.

        Raises:
            Problem: 403; it comes from elsewhere, or does not say from where.
        """
        fetch = request.headers.get("Sec-Fetch-Site")
        origin = _only(request, "Origin") if "Origin" in request.headers else None
        if fetch is None and origin is None:
            raise Problem.of(403, "A change needs an Origin, or the token as Authorization: Bearer")
        # The scheme is not compared: behind a proxy that ends TLS, it is another one here.
        same = origin is None or host_of_origin(origin) == _only(request, "Host").lower()
        if fetch not in {None, "same-origin"} or not same:
            raise Problem.of(403, "A change from another site is refused; a proxy has to pass the Host header on")

    @staticmethod
    def _check_local(request: web.Request) -> None:
        """Without a token: no name but this machine's own (DNS rebinding), no proxy, and no other site's page."""
        if any(name in request.headers for name in FORWARDED):
            raise Problem.of(403, "Behind a proxy, set PERFORMANCE_HTTP_TOKEN")
        # A target that names a host of its own would count instead of the header.
        own_path = request.raw_path.startswith("/") or request.raw_path == "*"
        if host_name(_only(request, "Host")) not in LOCAL_NAMES or not own_path:
            raise Problem.of(403, "Without PERFORMANCE_HTTP_TOKEN, only localhost, 127.0.0.1 and [::1] are served")
        # It could not read the answer, but have the bot work for it. A link that somebody follows is another matter.
        fetch, mode = request.headers.get("Sec-Fetch-Site"), request.headers.get("Sec-Fetch-Mode")
        if fetch == "cross-site" and mode != "navigate":
            raise Problem.of(403, "Another site's page is not served")


def host_name(host: str) -> str | None:
    """Return the name in a Host header in lower case, without its port and brackets; None if it is malformed."""
    found = _HOST.fullmatch(host)
    return None if found is None else (found["ipv6"] or found["name"]).lower()


def host_of_origin(origin: str) -> str | None:
    """Return the host and port in an Origin header in lower case; None for another scheme or a malformed one."""
    scheme, _, host = origin.partition("://")
    return host.lower() if scheme.lower() in {"http", "https"} and host_name(host) is not None else None


def _only(request: web.Request, name: str) -> str:
    """Return the value of a header; empty where it is missing or sent more than once."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else ""
