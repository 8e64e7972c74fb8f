"""The erasure of a user's data: the same as ``/perf forget``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BeforeValidator, Field

from cogmeter.monitor.erasure import forget_running
from cogmeter.render.erasure_text import result_text
from cogmeter.schemas.erasure import ErasedAnswer
from cogmeter.watch.interactions.erasure import NOT_A_USER_ID, USER_ID, is_user_id
from cogmeter.web.api.bodies import Body
from cogmeter.web.api.routing import Route

if TYPE_CHECKING:
    from cogmeter.monitor.monitor import Monitor


def _checked(value: object) -> object:
    """Refuse a text that is no id with words that say what one is; the schema's pattern says it to programs."""
    if isinstance(value, str) and not is_user_id(value):
        raise ValueError(NOT_A_USER_ID)
    return value


class ForgetBody(Body):
    """Request body: the user."""

    user_id: Annotated[str, Field(pattern=USER_ID, description="The user's Discord id"), BeforeValidator(_checked)]
    name: Annotated[
        str | None, Field(min_length=1, max_length=100, description="Also this display name, in alerts and mutes")
    ] = None


async def forget(monitor: Monitor, body: ForgetBody, actor: str) -> ErasedAnswer:
    """Erase what is stored about a user; what waits in memory is stored first."""
    erased = await forget_running(monitor, body.user_id, body.name, actor=actor)
    return ErasedAnswer.of(erased, result_text(erased))


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
