"""The errors page: groups with place, people and trend; and one group with its stacks, to resolve or mute it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field

from cogmeter.query.errors import NO_FAILURES, error_details, error_groups, ungrouped_failures
from cogmeter.recording.service_names import label
from cogmeter.web.api.problems import Problem
from cogmeter.web.pages.alerts import DURATIONS, PageNumber
from cogmeter.web.pages.frame import (
    HOME,
    MenuEntry,
    Page,
    PageParams,
    PageView,
    names_to_choose,
    or_none,
    page_response,
)
from cogmeter.web.pages.sparks import spark
from cogmeter_storage.errors import ErrorKind, UnknownErrorGroupError

if TYPE_CHECKING:
    from aiohttp import web

    from cogmeter.query.errors import ErrorTrend
    from cogmeter.web.pages.sparks import Spark
    from cogmeter_storage.model import Marker

ROWS: Final = 50  # groups per page
PATH: Final = f"{HOME}/errors"
_RESOLVED: Final = {"open": False, "resolved": True, "all": None}


class ErrorsPageParams(PageParams):
    """Parameters: one group, or the kind and state of the groups in the list, and its page."""

    covers_selection: ClassVar[bool] = True
    operation: Annotated[str | None, BeforeValidator(or_none)] = None
    group: Annotated[Annotated[int, Field(ge=1, le=2**53)] | None, BeforeValidator(or_none)] = None
    kind: Annotated[Literal["failed", "logged", "unhandled"] | None, BeforeValidator(or_none)] = None
    state: Literal["open", "resolved", "all"] = "open"
    page: PageNumber = 1


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One group in a table."""

    trend: ErrorTrend
    spark: Spark
    muted: bool

    @classmethod
    def of(cls, trend: ErrorTrend, now_us: int) -> ErrorRow:
        """Build it from a query's group."""
        return cls(trend, spark(trend.days, trend.days), trend.group.is_muted(now_us))


async def top_errors(
    view: PageView[Any], *, service: str | None, operation: str | None = None, limit: int
) -> tuple[list[ErrorRow], Marker | None]:
    """Return the open groups with the most errors, and the last deploy.

    Raises:
        UnknownNameError: the service is not stored.
        StorageError: the store cannot be read.
    """
    services = None if service is None else [service]
    found = await error_groups(
        view.monitor.query, view.span, services=services, operation=operation, resolved=False, limit=limit
    )
    return [ErrorRow.of(trend, view.now_us) for trend in found.groups], found.deploy


async def show_errors(view: PageView[ErrorsPageParams]) -> web.Response:
    """Show the groups, or the selected one."""
    params = view.params
    operation = None if params.service is None else params.operation
    own = {"operation": operation, "kind": params.kind, "state": None if params.state == "open" else params.state}
    view = replace(view, own=own)
    if params.group is not None:
        return await _show_group(view, params.group)
    service = params.service
    found = await error_groups(
        view.monitor.query,
        view.span,
        services=None if service is None else [service],
        operation=operation,
        kinds=None if params.kind is None else [ErrorKind(params.kind)],
        resolved=_RESOLVED[params.state],
        limit=ROWS,
        offset=(params.page - 1) * ROWS,
    )
    with_inner = params.kind in {None, ErrorKind.FAILED.value} and params.page == 1
    ungrouped = NO_FAILURES
    if service is not None and with_inner:
        ungrouped = await ungrouped_failures(view.monitor.query, view.span, [service], operation)
    # Errors outside of any operation belong to services that have none.
    services = {place[0] for trend in found.groups for place in trend.group.places}
    names = await names_to_choose(view)
    services.update(names, () if service is None else (service,))
    return await page_response(
        view,
        "errors.html",
        title="Errors",
        services=sorted(services),
        operation=operation,
        operations=names.get(service or "", ()),
        subject=None if service is None else label(service, operation),
        rows=[ErrorRow.of(trend, view.now_us) for trend in found.groups],
        inner_errors=ungrouped.inner,
        unplaced=ungrouped.unplaced,
        more=found.next_offset is not None,
        deploy=found.deploy,
        params=params,
        states=list(_RESOLVED),
    )


async def _show_group(view: PageView[ErrorsPageParams], number: int) -> web.Response:
    details = await error_details(view.monitor.query, number)
    if details is None:
        raise Problem(404, "Unknown error group", str(UnknownErrorGroupError(number)), parameter="group")
    return await page_response(
        replace(view, own={**view.own, "group": number}),
        "error.html",
        title=f"Error {number}",
        details=details,
        row=ErrorRow.of(details.trend, view.now_us),
        deploy=details.deploy,
        durations=DURATIONS,
        operations=[place[:2] for place in details.trend.group.places],
    )


PAGE: Final = Page(
    "errors",
    PATH,
    "Errors",
    show_errors,
    ErrorsPageParams,
    MenuEntry(2, "Errors", "M12 4l9 16H3zM12 10v4M12 17v.1"),
    words=("exceptions", "failures", "failed", "logs"),
)
