"""One-time codes that start a session: requested in Discord, kept as hashes in memory, valid once and for minutes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cogmeter.query.query import now_us
from cogmeter_storage.alerting import AuditEntry
from cogmeter_storage.base import StorageError

if TYPE_CHECKING:
    from cogmeter_storage.alerting import AlertStore

OPEN: Final = "/performance/open"  # the page of a code
VALID_S: Final = 300
SESSION_S: Final = 12 * 3_600  # of a session that a code started
MOST: Final = 50  # valid codes; the oldest is dropped first
CODE_BYTES: Final = 24

_logger = logging.getLogger("cogmeter.web")


@dataclass(frozen=True, slots=True)
class LoginCode:
    """A code that was issued and not used yet."""

    actor: str  # the display name of the user who requested it
    issued_us: int
    expires_s: float  # of time.perf_counter()
    digest: bytes


class LoginCodes:
    """The valid codes: one for each user. A restart makes all of them invalid."""

    def __init__(self) -> None:
        self._by_user: dict[int, LoginCode] = {}

    def issue(self, user: int, actor: str) -> str:
        """Return a new code for a user; the user's earlier one becomes invalid."""
        text = secrets.token_hex(CODE_BYTES)
        self._by_user.pop(user, None)
        while len(self._by_user) >= MOST:
            del self._by_user[next(iter(self._by_user))]
        self._by_user[user] = LoginCode(actor, now_us(), time.perf_counter() + VALID_S, _digest(text))
        return text

    def find(self, text: str) -> LoginCode | None:
        """Return the valid code with this text; it stays valid."""
        found = self._match(text)
        return None if found is None else self._by_user[found]

    def use(self, text: str) -> LoginCode | None:
        """Return the valid code with this text, which becomes invalid."""
        found = self._match(text)
        return None if found is None else self._by_user.pop(found)

    def _match(self, text: str) -> int | None:
        """Return the user of the valid code with this text. Every code is compared, each in constant time."""
        now_s, digest = time.perf_counter(), _digest(text)
        self._by_user = {user: code for user, code in self._by_user.items() if now_s < code.expires_s}
        matching = [user for user, code in self._by_user.items() if hmac.compare_digest(code.digest, digest)]
        return matching[0] if matching else None


async def audit(alerting: AlertStore, actor: str, action: str, text: str) -> None:
    """Store who requested or used a link. A failing database does not keep the owner out: then it is logged."""
    try:
        await alerting.add_audit(AuditEntry(now_us(), actor, action, "dashboard link", "", text))
    except StorageError as error:
        _logger.warning("%s: %s dashboard link, %s; it is not in the audit log: %s", actor, action, text, error)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
