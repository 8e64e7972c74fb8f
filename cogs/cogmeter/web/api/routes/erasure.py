"""The erasure of a user's data: the same as ``/perf forget``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from cogmeter.monitor.erasure import forget_running
from cogmeter.schemas.erasure import ErasedAnswer
from cogmeter.web.api.bodies import Body
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


class ForgetBody(Body):
    """Request body: the user."""

    user_id: Annotated[str, Field(pattern=r"^[0-9]{15,20}$", description="The user's Discord id")]
    name: Annotated[
        str | None, Field(min_length=1, max_length=100, description="Also this display name, in alerts and mutes")
    ] = None


async def forget(monitor: Monitor, body: ForgetBody) -> ErasedAnswer:
    """Erase what is stored about a user; what waits in memory is stored first."""
    return ErasedAnswer.of(await forget_running(monitor, body.user_id, body.name))


ROUTES: Final = (
    Route(
        "POST",
        "/api/performance/forget",
        forget,
        "Erase what is stored about one user: the keyed hash, and the id in texts; operations stay, without a user",
        tag="operations",
        body=ForgetBody,
        response=ErasedAnswer,
        changes=True,
    ),
)
